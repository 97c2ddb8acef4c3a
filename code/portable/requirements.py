"""Whether this Python has what the book needs; it needs nothing else itself."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from portable import RenderError


def check_python(root: Path) -> None:
    """Raises ``RenderError`` where this Python lacks a dependency of the project.

    These are read from ``pyproject.toml`` in ``root``, if there is one; of their
    versions nothing is asked here.
    """
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    entries = tomllib.loads(text).get("project", {}).get("dependencies", [])
    names = [re.split(r"[^\w.-]", entry)[0] for entry in entries]
    missing = [name for name in names if not _installed(name)]
    if missing:
        raise RenderError(
            f"{sys.executable} lacks {', '.join(missing)}; run "
            f"{sys.executable} -m pip install --editable {root}"
        )


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
