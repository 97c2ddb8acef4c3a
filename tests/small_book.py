"""A book of two chapters, and the command that renders it, as a user gives it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

QUARTO_YML = """\
project: {type: book, output-dir: _book, execute-dir: project}
book: {title: Büchlein, output-file: small, chapters: [index.qmd, other.qmd]}
format:
  html: {html-math-method: mathml, fig-format: svg}
  pdf: {fig-format: pdf, fig-pos: "!htb", documentclass: scrreprt}
"""
INDEX = "# Über\n\n```{python}\nimport time; time.sleep(0.3); print('ü')\n```\n"
OTHER = """\
# Figures

```{python}
#| label: fig-a
#| fig-cap: "Größe"
#| fig-alt: "a line"
import matplotlib.pyplot as plt
plt.rcParams["svg.hashsalt"] = "the same names in it each time"
_ = plt.plot([1, 2])
```
"""


def written(root: Path) -> Path:
    """The sources of the book in a folder, which is made."""
    root.mkdir(parents=True)
    for name, text in (
        ("_quarto.yml", QUARTO_YML),
        ("index.qmd", INDEX),
        ("other.qmd", OTHER),
    ):
        (root / name).write_text(text, encoding="utf-8")
    return root


def portable(*options: str) -> list[str]:
    return [sys.executable, "-m", "portable", "--renderer", "portable", *options]


def variables(given: dict[str, str]) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT / "code"), "SOURCE_DATE_EPOCH": "0"}
    return os.environ | own | given


def rendering(
    root: Path, *options: str, before: tuple[str, ...] = (), **given: str
) -> subprocess.CompletedProcess[str]:
    """Renders; ``before`` are a command and its options that run the command."""
    return subprocess.run(
        [*before, *portable(*options)],
        cwd=root,
        env=variables(given),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def with_makefile(root: Path) -> None:
    """Has ``make report`` render a book, in an environment that is ready."""
    shutil.copy(ROOT / "Makefile", root)
    (root / ".venv/bin").mkdir(parents=True)
    for name in ("pyproject.toml", "requirements.txt", ".venv/ready"):
        (root / name).touch()
    script(root / ".venv/bin/python", f'exec {sys.executable} "$@"')


def without_quarto() -> str:
    """The PATH without folders that have Quarto."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(of for of in folders if not Path(of, "quarto").exists())


RECORD = """
import signal, sys
from pathlib import Path

sys.path.append(sys.argv[2])
import hw2
from hw2 import __main__

signal.signal(signal.SIGINT, __main__._stop)  # as it does before what follows
import toy
from hw2 import commands, summary
from recorded import checkpoint

checkpoint.INTERVAL = 0.0
hw2.RECORDS = toy.RECORDS = Path(sys.argv[1])
commands.RUNS, commands.LARGE = {"a": (toy.in_steps, toy.Config())}, {}
summary.RUNS, summary.MAIN = {}, ()
sys.argv[1:] = ["record"]
__main__.leave(__main__.main())
"""


def recording(folder: Path) -> list[str]:
    """``python -m hw2 record``, with one small run, whose record is in a folder."""
    return [sys.executable, "-c", RECORD, str(folder), str(ROOT / "tests")]


def record(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        recording(folder),
        env=variables({"HW2_TRAIN": "", "TOY_TRAIN": ""}),
        capture_output=True,
        text=True,
    )


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command ends in."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line
