"""Renderings, trainings and downloads that are stopped or killed at any moment."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, digests

STOPS = 50  # of each kind
MARK = "OF_THIS_TEST"  # a variable of the environment of all that a test starts

QUARTO_YML = """\
project: {type: book, output-dir: _book, execute-dir: project}
book: {title: Büchlein, output-file: small, chapters: [index.qmd, other.qmd]}
format:
  html: {html-math-method: mathml, fig-format: svg}
  pdf: {fig-format: pdf, fig-pos: "!htb", documentclass: scrreprt}
"""
CHAPTER = "# A chapter\n\n```{python}\nimport time; time.sleep(0.3); print('ü')\n```\n"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two chapters, as ``python -m portable`` renders it undisturbed."""
    root = tmp_path_factory.mktemp("rendered")
    (root / "_quarto.yml").write_text(QUARTO_YML)
    for name in ("index.qmd", "other.qmd"):
        (root / name).write_text(CHAPTER)
    assert wait(start(portable(), root), root, 120) == (0, "")
    return root


def portable(*options: str) -> list[str]:
    return [sys.executable, "-m", "portable", "--renderer", "portable", *options]


def start(command: list[str], root: Path, **variables: str) -> subprocess.Popen[str]:
    """A command as a terminal starts it: the leader of a group of processes."""
    return subprocess.Popen(
        command,
        cwd=root,
        env=os.environ
        | {"PYTHONPATH": str(ROOT / "code"), MARK: str(root)}
        | {"TMPDIR": str(root.parent), "SOURCE_DATE_EPOCH": "0"}
        | variables,
        stdout=subprocess.DEVNULL,
        stderr=(root.parent / "stderr").open("w"),
        text=True,
        process_group=0,
    )


def wait(process: subprocess.Popen[str], root: Path, seconds: float) -> tuple[int, str]:
    """Its exit status and what it has said on stderr."""
    return process.wait(seconds), (root.parent / "stderr").read_text()


def left(root: Path, patience: float) -> list[str]:
    """What still runs of what was started for a folder, when it had time to end."""
    end = time.monotonic() + patience
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                ours = f"{MARK}={root}\0" in (folder / "environ").read_text() + "\0"
                command = (folder / "cmdline").read_text().replace("\0", " ")
            except (OSError, UnicodeDecodeError):
                continue
            if ours and command:
                found.append(command)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)


def stop(
    command: list[str], root: Path, by: signal.Signals, after: float, **variables: str
) -> None:
    """Starts a command, and stops it as Ctrl-C or ``kill -9`` does after seconds."""
    process = start(command, root, **variables)
    time.sleep(after)
    sent = time.monotonic()
    if by == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(process.pid, by)
        status, said = wait(process, root, 60)
        seconds = time.monotonic() - sent
        if after > 0.1:  # before that Python may not have begun with the program
            assert (status, said) in [(130, "stopped\n"), (0, "")], after
        assert seconds < 5, f"stopped after {after:.2f} s, it ended in {seconds:.1f} s"
        assert not left(root, 3)
    else:
        process.kill()
        process.wait(60)
        assert not left(root, 30)


def moments(seconds: float, count: int = STOPS) -> list[float]:
    chance = random.Random(int(seconds))
    return [chance.uniform(0, seconds) for _ in range(count)]


@pytest.mark.fault(
    "process",
    provoked="A rendering is stopped by Ctrl-C, or killed, at random moments.",
    result="Ctrl-C ends it in one line; nothing goes on running. The next is the same.",
    kept="The previous book, until the new one is whole.",
)
@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_stopped_rendering_is_rendered_by_the_next(
    rendered: Path, tmp_path: Path, by: signal.Signals, fresh: bool
) -> None:
    """At random moments: of executing and writing, and in some also of LaTeX."""
    root = Path(shutil.copytree(rendered, tmp_path / "book"))
    known = digests(rendered / "_book")
    began = time.monotonic()
    assert wait(start(portable(*["--fresh"] * fresh), root), root, 120) == (0, "")
    took = time.monotonic() - began
    for after in moments(took, STOPS // 5 if fresh else STOPS):
        if not fresh:
            shutil.rmtree(root / ".portable" / "index.qmd")
        stop(portable(*["--fresh"] * fresh), root, by, after)
        assert digests(root / "_book") == known or not (root / "_book").exists()
        assert wait(start(portable(), root), root, 120) == (0, "")
        assert digests(root / "_book") == known
    if by == signal.SIGINT:  # what kill -9 leaves, the system removes
        assert sorted(path.name for path in tmp_path.iterdir()) == ["book", "stderr"]
    assert sorted(path.name for path in root.iterdir()) == sorted(
        path.name for path in rendered.iterdir()
    )
