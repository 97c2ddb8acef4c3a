"""Renders the book with Quarto, where it is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from portable import RenderError
from portable.date import fix_date

OLDEST = (1, 5)

# Quarto only warns of these; here they end the rendering.
COMPLAINTS = re.compile(
    r"Unable to resolve crossref|[Cc]itation \S+ not found|WARN(ING)?\b"
)

COLOUR = re.compile(r"\x1b\[[\d;]*m")


def find_quarto() -> str | None:
    """The version of the ``quarto`` on the PATH, or ``None``.

    Raises ``RenderError`` where it is older than the oldest one supported.
    """
    if not shutil.which("quarto"):
        return None
    done = subprocess.run(["quarto", "--version"], capture_output=True, text=True)
    version = done.stdout.strip()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if done.returncode or numbers < OLDEST:
        raise RenderError(
            f"quarto is {version or 'broken'}, expected {'.'.join(map(str, OLDEST))} "
            "or newer; update it, or take it off the PATH to render without it"
        )
    return version


def render_with_quarto(root: Path, fresh: bool = False) -> None:
    """Runs ``quarto render`` in ``root`` with this Python, showing what it prints.

    ``fresh`` is handed to the book's scripts, in ``PORTABLE_FRESH``.

    Raises ``RenderError`` where it fails or warns.
    """
    fix_date(root)
    complaints = []
    with subprocess.Popen(
        ["quarto", "render"],
        cwd=root,
        env={**os.environ, "QUARTO_PYTHON": sys.executable}
        | ({"PORTABLE_FRESH": "1"} if fresh else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            if COMPLAINTS.search(line):
                complaints.append(COLOUR.sub("", line).strip())
    if process.returncode or complaints:
        what = "; ".join(complaints) or f"exit status {process.returncode}"
        raise RenderError(f"quarto render: {what}")
