"""``python -m hw2 record`` asks the Hub for IMDB, which fails in every way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset

from hw2.data import IMDB_REVISION
from server import Request, serving

# The command, as it is but for a shorter patience, another folder of records, and
# digests of other reviews.
COMMAND = """
import hashlib, sys
from pathlib import Path
import hw2
from hw2 import commands, data, files
from hw2.runs import RUNS
import recorded

hw2.RECORDS, files.PATIENCE = Path(sys.argv[1]), 9.0
if sys.argv[2] == "no names":
    import socket, threading
    socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
if sys.argv[2] == "resumes":
    row = hashlib.sha256(b"0\\tBad.\\n1\\tGood.\\n").hexdigest()
    data.IMDB_DIGESTS.update(train=row, test=row)
    print(data.imdb("train")[0], data.imdb("test")[0])
else:
    sys.exit(commands.main(["record", "sentiment-tfidf"]))
"""


def asked(home: Path, address: str, kind: str = "") -> tuple[int, str, float]:
    """The status of the command, what it says, and the seconds that it took."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, home / "records", kind],
        env={k: v for k, v in os.environ.items() if k not in ("HW2_IMDB", "HW2_TRAIN")}
        | {"HF_ENDPOINT": address, "HF_HOME": str(home / "hub")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, time.monotonic() - begin


def refused(home: Path, address: str, said: str, kind: str = "") -> None:
    status, text, seconds = asked(home, address, kind)
    last = text.splitlines()[-1]
    assert status == 1 and "Traceback" not in text and seconds < 200
    assert last.startswith("error: IMDB is not here and the Hub does not give it (")
    assert said in last and "set HW2_IMDB to a folder" in last
    assert not (home / "records" / "sentiment-tfidf").exists()


HUB = pytest.mark.fault(
    "network",
    provoked="The Hub gives an error, does not answer, or stalls within a file.",
    result="The command ends in a bounded time, in a line that says why and what to "
    "do.",
    kept="The records, and what was downloaded.",
)
FILE = {"ETag": f'"{"a" * 40}"', "X-Repo-Commit": IMDB_REVISION}
ANSWERS: dict[str, tuple[Callable[[Request], None], str]] = {
    "an error": (lambda r: r.reply(b"", 500), "it answers 500"),
    "no answer": (lambda r: r.stall(), "timed out"),
    "a file that stalls": (
        lambda r: r.reply(bytes(999), headers=FILE, stops=99, stalls=True),
        "nothing came for 9 seconds",
    ),
}


@HUB
@pytest.mark.slow
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_hub_that_fails_is_told(tmp_path: Path, kind: str) -> None:
    answer, said = ANSWERS[kind]
    with serving(answer) as address:
        refused(tmp_path, address, said)


@HUB
@pytest.mark.slow
def test_a_hub_that_is_not_in_reach_is_told(tmp_path: Path) -> None:
    with serving(lambda r: r.reply(b"")) as address:
        pass  # nobody listens there now
    refused(tmp_path, address, "refused")


@pytest.mark.fault(
    "network",
    provoked="Looking for the name of the Hub never ends.",
    result="The command ends in a bounded time, in a line that says why and what to "
    "do.",
    kept="The records.",
)
@pytest.mark.slow
def test_a_name_server_that_hangs_is_told(tmp_path: Path) -> None:
    said = "nothing came for 9 seconds"
    refused(tmp_path, "http://hub.invalid", said, "no names")


@pytest.mark.fault(
    "network",
    provoked="The Hub breaks off half way through a file, once.",
    result="The file is asked for again, from there or whole, and the command goes on.",
    kept="The files that had come.",
)
@pytest.mark.slow
def test_what_broke_off_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    Dataset.from_dict({"text": ["Good.", "Bad."], "label": [1, 0]}).to_parquet(file)
    content = file.read_bytes()
    ranges: list[str] = []  # of a file that were asked for

    def answer(request: Request) -> None:
        begin = request.headers.get("Range", "")
        if request.command == "HEAD" or not ranges:
            if request.command == "GET":
                ranges.append(begin)
                request.close_connection = True
            request.reply(content, headers=FILE, stops=len(content) // 2)
            return
        ranges.append(begin)
        start = int(begin.removeprefix("bytes=").partition("-")[0] or 0)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        status = 206 if begin else 200
        request.reply(content[start:], status, FILE | {"Content-Range": span})

    with serving(answer) as address:
        status, text, _ = asked(tmp_path, address, "resumes")
    assert status == 0, text
    assert text.splitlines()[-1] == "['Bad.', 'Good.'] ['Bad.', 'Good.']"
    assert len(ranges) > 1  # it was asked for again
