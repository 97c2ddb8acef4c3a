"""Notes what the cells of a chapter read of the project; runs in their kernel.

It stands alone, because a kernel need not be able to import this package.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any


def watch(root: str) -> Callable[[], dict[str, list[str]]]:
    """Begin to note what is read in the folder ``root``.

    The answer gives what was read so far: ``files`` that were opened for reading, there
    or not, and ``folders`` that were listed, by their paths within ``root``. Not noted
    are what Python reads to import it, since code counts by what it does, what has a
    hidden name, and the installed packages.

    Python tells by its audit events, so what a library reads past Python, or another
    process, is not seen. https://docs.python.org/3/library/audit_events.html
    """
    top, installed = os.path.realpath(root), os.path.realpath(sys.prefix)
    seen: dict[str, set[str]] = {"files": set(), "folders": set()}

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not arguments[2] & os.O_WRONLY:
            place, kind = arguments[0], "files"
        elif event in ("os.listdir", "os.scandir"):
            place, kind = arguments[0] or ".", "folders"
        else:
            return
        if isinstance(place, int):
            return
        path = os.path.realpath(os.fsdecode(place))
        inner = os.path.relpath(path, top)
        hidden = any(part.startswith(".") for part in Path(inner).parts)  # or outside
        code = kind == "folders" or path.endswith((".py", ".pyc"))
        if hidden or path.startswith(installed + os.sep):
            return
        if not (code and _importing(sys._getframe(1))):
            seen[kind].add(inner)

    sys.addaudithook(note)
    return lambda: {kind: sorted(paths) for kind, paths in seen.items()}


def _importing(frame: FrameType | None) -> bool:
    """Whether this is done to import a module, or to see which are installed."""
    while frame:
        if "importlib" in str(frame.f_globals.get("__name__")):
            return True
        frame = frame.f_back
    return False
