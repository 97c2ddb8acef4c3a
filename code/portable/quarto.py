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

# Quarto only warns of these, and makes a book in which something is missing or wrong;
# here they end the rendering. Of what else it warns the book is whole.
COMPLAINTS = re.compile(
    r"Unable to resolve|[Cc]itation \S+ not found|Could not (fetch|find)|Shortcode "
    r"|Unknown (var|meta|brand)|[Mm]issing character|Duplicate (identifier|note|link)"
    r"|[Ii]nvalid|Malformed|likely going to be incorrect"
)

COLOUR = re.compile(r"\x1b\[[\d;]*m")


def find_quarto() -> str | None:
    """The version of the ``quarto`` on the PATH, or ``None``.

    Raises ``RenderError`` where it is older than the oldest one supported.
    """
    found = shutil.which("quarto")
    if not found:
        return None
    try:
        # By its place: where it can't be run, another one on the PATH would be.
        done = subprocess.run(
            [found, "--version"], capture_output=True, encoding="utf-8"
        )
        version = "" if done.returncode else done.stdout.strip()
    except OSError:
        version = ""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise RenderError(
            f"quarto is {version or 'broken'}, expected {'.'.join(map(str, OLDEST))} "
            "or newer; update it, or take it off the PATH to render without it"
        )
    return version


def render_with_quarto(root: Path, fresh: bool = False) -> None:
    """Runs ``quarto render`` in ``root`` with this Python, showing what it prints.

    ``fresh`` is handed to the book's scripts, in ``PORTABLE_FRESH``.

    Raises ``RenderError`` where it fails, or warns of what the book lacks.
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
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            if COMPLAINTS.search(line):
                complaints.append(COLOUR.sub("", line).strip())
    if process.returncode or complaints:
        what = "; ".join(complaints) or f"exit status {process.returncode}"
        raise RenderError(f"quarto render: {what}")
