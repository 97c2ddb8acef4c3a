"""One date for all that is rendered, so that the same commit gives the same bytes.

A book that says its own date has that one on its pages.
"""

import os
import re
import subprocess
from datetime import date, datetime
from pathlib import Path

from portable import RenderError

FORMS = ("%Y-%m-%d", "%m/%d/%Y", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y")


def fix_date(root: Path) -> None:
    """Dates figures and PDF by the last commit in ``root``, and where none is, by 1970.

    A date that is already in the variable ``SOURCE_DATE_EPOCH`` stays. Raises
    ``RenderError`` where it is none.
    https://reproducible-builds.org/specs/source-date-epoch/
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        if not re.fullmatch(r"[0-9]{1,11}", given):
            raise RenderError(
                f"SOURCE_DATE_EPOCH is {given!r}, expected seconds since 1970"
            )
        return
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        seconds = done.stdout.strip()
        if "dubious ownership" in done.stderr:  # git does not say the date, either
            why = done.stderr.splitlines()[0].removeprefix("fatal: ")
            print(f"git: {why}: the book is dated by 1970", flush=True)
    except OSError:  # no git
        seconds = ""
    os.environ["SOURCE_DATE_EPOCH"] = seconds or "0"


def day(text: str, files: list[Path]) -> date:
    """The day that a book's date means: ``today``, ``now``, ``last-modified`` or a day.

    ``last-modified`` is that of the last change to ``files``. These are days of the
    clock, as Quarto's are, not of the commit. Raises ``ValueError`` for what Quarto
    would show as another day, or as none.
    """
    if text in ("today", "now"):
        return date.today()
    if text == "last-modified":
        times = [path.stat().st_mtime for path in files]
        return datetime.fromtimestamp(max(times, default=0)).date()
    for form in FORMS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise ValueError("expected today, last-modified or a day, as in 2024-03-25")


def in_words(of: date, language: str) -> str:
    """A day in English, as ``en-GB`` writes it or else as ``en`` does."""
    month = f"{of:%B}"
    if language == "en-GB":
        return f"{of.day} {month} {of.year}"
    return f"{month} {of.day}, {of.year}"
