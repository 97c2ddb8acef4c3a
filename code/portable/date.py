"""One date for all that is rendered, so that the same commit gives the same bytes."""

import os
import subprocess
from pathlib import Path


def fix_date(root: Path) -> None:
    """Dates figures and PDF by the last commit in ``root``, and where none is, by 1970.

    A date that is already in the variable ``SOURCE_DATE_EPOCH`` stays.
    https://reproducible-builds.org/specs/source-date-epoch/
    """
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = done.stdout.strip()
    except FileNotFoundError:  # no git
        seconds = ""
    os.environ.setdefault("SOURCE_DATE_EPOCH", seconds or "0")
