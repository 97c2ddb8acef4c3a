"""Runs of no time, each by ``python -m hw2 record`` in a process that is forked.

PyTorch is imported once, by the process that they are forked from: so many of them can
be stopped within a minute.
"""

import functools
import gzip
import hashlib
import os
import random
import signal
import sys
import time
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from server import Request

PART = 1 << 13  # bytes of a file that a mirror sends at once
IMPORTED = ["hw2.commands", "torchvision.datasets", "forked_runs"]


def begun(root: Path, address: str = "") -> ForkServerProcess:
    """A process that has just begun to record the run ``a`` in the folder ``made``.

    It says what it says in the file ``stderr``. Where the address of a mirror is given,
    it is a run on images, which are downloaded from there to the folder ``home``.
    """
    said = root / "stderr"
    said.unlink(missing_ok=True)
    forks = get_context("forkserver")
    forks.set_forkserver_preload(IMPORTED)
    process = forks.Process(target=_record, args=(root, address))
    with pytest.MonkeyPatch.context() as patch:  # for what they are forked from
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    while not said.exists():
        time.sleep(0.001)
    return process


def ended(process: ForkServerProcess, root: Path) -> tuple[int | None, str]:
    """The exit status of a run and what it has said."""
    process.join(60)
    return process.exitcode, (root / "stderr").read_text()


def _record(root: Path, address: str) -> None:
    import hw2
    import toy
    from hw2 import __main__, commands, summary
    from recorded import checkpoint

    signal.signal(signal.SIGINT, __main__._stop)
    for number, name in ((1, os.devnull), (2, root / "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    os.environ["HW2_TRAIN"] = os.environ["TOY_TRAIN"] = ""
    checkpoint.INTERVAL = 0.0
    hw2.RECORDS = toy.RECORDS = root / "made"
    if address:
        mirrored(root / "home", address)
    experiment = toy.on_images if address else toy.in_steps
    vars(commands).update(RUNS={"a": (experiment, toy.Config())}, LARGE={})
    vars(summary).update(RUNS={}, MAIN=())
    sys.argv[1:] = ["record"]
    __main__.leave(__main__.main())


# FashionMNIST, in the same form but with few images


@functools.cache
def files() -> dict[str, bytes]:
    chance = random.Random(0)
    shapes = {"images-idx3-ubyte": (500, 28, 28), "labels-idx1-ubyte": (500,)}
    found = {}
    for split in ("train", "t10k"):
        for name, shape in shapes.items():
            head = bytes([0, 0, 8, len(shape)])
            sizes = b"".join(size.to_bytes(4, "big") for size in shape)
            size = functools.reduce(int.__mul__, shape)
            content = bytes(chance.choices(range(10), k=size))
            found[f"{split}-{name}"] = head + sizes + content
    return found


@functools.cache
def packed() -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(of, mtime=0) for name, of in files().items()}


def slowly(request: Request) -> None:
    """Answers as a mirror does, a part of a file after the other."""
    content = packed()[request.path.strip("/")]
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    for start in range(0, len(content), PART) if request.command == "GET" else ():
        request.wfile.write(content[start : start + PART])
        time.sleep(0.005)


def mirrored(home: Path, address: str) -> None:
    """Has the images be looked for in a folder, then downloaded from an address."""
    from torchvision.datasets import FashionMNIST

    from hw2 import data

    os.environ.pop("HW2_FASHION_MNIST", None)
    data.DOWNLOADS, data.DEBIAN_FASHION_MNIST = home, home / "debian"
    data.FASHION_MNIST_DIGESTS.update(
        {name: hashlib.sha256(content).hexdigest() for name, content in files().items()}
    )
    FashionMNIST.mirrors = [f"{address}/"]
    FashionMNIST.resources = [
        (name, hashlib.md5(content).hexdigest()) for name, content in packed().items()
    ]
