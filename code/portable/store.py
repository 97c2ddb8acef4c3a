"""Keeps what takes long to make, under a key of what it is made from.

An entry is a file, ``.portable/<name>/<key>``: the SHA-256 of what follows in one line,
then JSON. It appears as a whole, by a rename, so two renderings at once do not disturb
each other.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = ".portable"
KEPT = 8  # entries of a name


class Damaged(ValueError):
    """An entry that is not what was written."""


def read(root: Path, name: str, key: str) -> Any:
    """What is kept of a name under a key, a JSON value, or None.

    Raises ``Damaged``.
    """
    path = _folder(root, name) / key
    if not path.is_file():
        return None
    first, _, text = path.read_bytes().partition(b"\n")
    if first.decode(errors="replace") != hashlib.sha256(text).hexdigest():
        raise Damaged(f"{path.relative_to(root)} is not as it was written")
    entry = json.loads(text)
    if (entry["name"], entry["key"]) != (name, key):
        raise Damaged(f"{path.relative_to(root)} is not the entry of {name}")
    with suppress(OSError):  # as on a disk that may only be read
        os.utime(path)  # those longest out of use are removed
    return entry["content"]


def write(root: Path, name: str, key: str, content: Any) -> None:
    """Keeps a JSON value, on the disk as a whole or not at all.

    Of the other values of this name those used last stay. Raises ``OSError``.
    """
    folder = _folder(root, name)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"name": name, "key": key, "content": content}).encode()
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as draft:
        try:
            draft.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
            draft.flush()
            os.fsync(draft.fileno())
            os.replace(draft.name, folder / key)
        except BaseException:
            os.unlink(draft.name)
            raise
    # Drafts of what was killed are among them.
    for path in sorted(folder.iterdir(), key=_used)[:-KEPT]:
        path.unlink(missing_ok=True)


def _folder(root: Path, name: str) -> Path:
    return root / FOLDER / name.replace("/", "-")


def _used(path: Path) -> float:
    """When an entry was used last; now, where another process has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
