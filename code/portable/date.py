"""One date for all that is rendered, so that the same commit gives the same bytes."""

import os
import re
import subprocess
from pathlib import Path

from portable import RenderError


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
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = done.stdout.strip()
        if "dubious ownership" in done.stderr:  # git does not say the date, either
            why = done.stderr.splitlines()[0].removeprefix("fatal: ")
            print(f"git: {why}: the book is dated by 1970", flush=True)
    except OSError:  # no git
        seconds = ""
    os.environ["SOURCE_DATE_EPOCH"] = seconds or "0"
