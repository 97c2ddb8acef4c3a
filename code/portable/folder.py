"""Puts a folder in the place of another, which is not lost whatever happens."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace(new: Path, target: Path) -> None:
    """Puts a copy of the folder ``new`` in the place of ``target``.

    Where that fails, the previous one stays as it is. Raises ``OSError``.
    """
    draft, old = _beside(target)
    with _alone(target.parent):
        _restore(target)
        try:
            shutil.copytree(new, draft)
            if target.exists():
                target.rename(old)
            draft.rename(target)
        finally:
            _restore(target)


def restore(target: Path) -> None:
    """Puts back what a process that was killed has taken from ``target``.

    What it had not put there yet is removed.
    """
    if any(path.exists() for path in _beside(target)):
        with _alone(target.parent):
            _restore(target)


def _restore(target: Path) -> None:
    draft, old = _beside(target)
    if old.exists() and not target.exists():
        old.rename(target)
    for path in (draft, old):
        shutil.rmtree(path, ignore_errors=True)


def _beside(target: Path) -> tuple[Path, Path]:
    """Where the new folder is made, and where the old one is until it is removed."""
    return (
        target.with_name(f".{target.name}-new"),
        target.with_name(f".{target.name}-old"),
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for other processes that replace a folder in this one.

    The folder itself is locked, so no file of a lock is left; and where a process is
    killed, the system unlocks it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
