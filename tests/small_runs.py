"""``python -m hw2 record`` for a run of problem 4 or 5 that is small."""

import os
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT

COMMAND = """
import sys
from dataclasses import replace
from pathlib import Path

sys.path.append(sys.argv[2])
import hw2
from hw2 import commands, data, summary
from small_sentiment import long_halves
from small_vit import some_bytes

name, changes = sys.argv[3], eval(sys.argv[4])
experiment, config = commands.RUNS[name]
hw2.RECORDS, data.imdb = Path(sys.argv[1]), long_halves
data.fashion_mnist = lambda split: some_bytes(60_000 if split == "train" else 10_000)
commands.RUNS, commands.LARGE = {name: (experiment, replace(config, **changes))}, {}
summary.RUNS, summary.MAIN = {}, ()
sys.exit(commands.main(["record"]))
"""


def recording(folder: Path, name: str, **changes: Any) -> list[str]:
    """The command for a run with other options, whose record is in a folder."""
    tests = str(ROOT / "tests")
    return [sys.executable, "-c", COMMAND, str(folder), tests, name, repr(changes)]


def variables() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "code"), "HW2_TRAIN": ""}
