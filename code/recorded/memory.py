"""Whether a run finds the memory that it needs.

A system ends without a word what finds too little, so it is said before.
"""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GIB = 1 << 30


def shortage(name: str, needed: float) -> str:
    """A line where a run needs more GiB than are free; empty where it does not.

    What it needs is on a processor, so it is empty where there is an accelerator.
    """
    import torch

    there = free() / GIB
    if there >= needed or torch.accelerator.is_available():
        return ""
    return (
        f"run {name} needs {needed:g} GiB of memory on a processor, and {there:.1f} "
        "GiB are free: the system may end it without a word; made again, it goes on "
        "from its last checkpoint"
    )


def free(root: Path = Path("/")) -> float:
    """The bytes that this process can still have on Linux; elsewhere infinite.

    They are what the system can give, or less where a control group over this process
    is allowed less. Other systems do not end a process that needs more.
    """
    try:
        system = (root / "proc/meminfo").read_text(encoding="utf-8")
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return math.inf
    found = re.search(r"^MemAvailable: +(\d+) kB$", system, re.MULTILINE)
    available = int(found[1]) * 1024 if found else math.inf
    return min(available, *_allowed(root / "sys/fs/cgroup", groups))


def _allowed(folder: Path, groups: str) -> Iterator[float]:
    """What the control groups over this process are allowed, by version 2 or 1."""
    for line in groups.splitlines():
        _, controllers, group = line.split(":", maxsplit=2)
        if not controllers:
            path, file = folder / group.strip("/"), "memory.max"
        elif "memory" in controllers.split(","):
            path, file = folder / "memory" / group.strip("/"), "memory.limit_in_bytes"
        else:
            continue
        for each in (path, *path.parents):
            # A group that is named otherwise in a container; no limit, which is "max".
            with suppress(OSError, ValueError):
                yield float((each / file).read_text(encoding="utf-8"))
    yield math.inf
