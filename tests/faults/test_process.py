"""Renderings, trainings and downloads that are stopped or killed at any moment."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import digests, visible
from forked_runs import begun, ended, files, packed, slowly
from server import serving
from small_book import (
    portable,
    recording,
    variables,
    with_makefile,
    without_quarto,
    written,
)

STOPS = 50  # of each kind
# Seconds until what is stopped has ended: mostly half of one, but a library that is
# being loaded, or a machine with much else to do, can't be hurried.
PATIENCE = 5.0
MARK = "OF_THIS_TEST"  # a variable of the environment of all that a test starts


@pytest.fixture(scope="module", autouse=True)
def _heeding() -> Iterator[None]:
    """What is started heeds Ctrl-C, even where a shell runs the tests beside others."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two chapters, as ``python -m portable`` renders it undisturbed."""
    root = written(tmp_path_factory.mktemp("rendered") / "book")
    assert wait(start(portable(), root), root, 120) == (0, "")
    return root


def start(command: list[str], root: Path, **given: str) -> subprocess.Popen[str]:
    """A command as a terminal starts it: the leader of a group of processes."""
    return subprocess.Popen(
        command,
        cwd=root,
        env=variables({MARK: str(root), "TMPDIR": str(root.parent)} | given),
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
    command: list[str], root: Path, by: signal.Signals, after: float, **given: str
) -> None:
    """Starts a command, and stops it as Ctrl-C or ``kill -9`` does after seconds."""
    process = start(command, root, **given)
    time.sleep(after)
    sent = time.monotonic()
    if by == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(process.pid, by)
        status, said = wait(process, root, 60)
        seconds = time.monotonic() - sent
        if after > 0.2:  # before that Python may not have begun with the program
            assert status in (130, 0) and "Traceback" not in said, said
            assert status == 0 or "stopped" in said.splitlines()[-1], said
        assert seconds < PATIENCE, f"stopped after {after:.2f} s: {seconds:.1f} s"
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


@pytest.mark.fault(
    "process",
    provoked="`make report` is stopped by Ctrl-C.",
    result="One line says that it was stopped, beside that of make itself.",
    kept="The previous book, until the new one is whole.",
)
@pytest.mark.slow
def test_make_report_is_stopped(rendered: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(rendered, tmp_path / "book"))
    with_makefile(root)
    known = digests(rendered / "_book")

    def make() -> subprocess.Popen[str]:
        shutil.rmtree(root / ".portable" / "index.qmd")
        return start(["make", "report", "-o", "latex"], root, PATH=without_quarto())

    began = time.monotonic()
    assert wait(make(), root, 120) == (0, "")
    took = time.monotonic() - began
    stopped = 0
    for part in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):  # before that Python begins
        process = make()
        time.sleep(part * took)
        os.killpg(process.pid, signal.SIGINT)
        status, said = wait(process, root, 60)
        own = [line for line in said.splitlines() if not line.startswith("make: ")]
        # Without a line where Python had not begun with the program.
        assert (status, own) in ((0, []), (-2, [])) or own == ["stopped"], said
        stopped += own == ["stopped"]
        assert not left(root, 3)
        assert digests(root / "_book") == known
        (root / ".portable" / "index.qmd").mkdir(exist_ok=True)
    assert stopped > 2
    assert wait(make(), root, 120) == (0, "")
    assert digests(root / "_book") == known


@pytest.mark.fault(
    "process",
    provoked="What makes a record is stopped by Ctrl-C, or killed, at random moments.",
    result="The same command goes on, and makes the same record.",
    kept="The checkpoint before; no record that is half made.",
)
@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_is_made_up_for_by_the_next(
    tmp_path: Path, by: signal.Signals
) -> None:
    """The command as a user starts it, mostly while it imports what it needs."""
    root = tmp_path / "project"
    root.mkdir()
    allowed = {"HW2_TRAIN": "", "TOY_TRAIN": ""}
    made = root / "made"
    began = time.monotonic()
    assert wait(start(recording(made), root, **allowed), root, 120)[0] == 0
    took = time.monotonic() - began
    known = sums(made / "a")
    for after in moments(took, STOPS // 10):
        shutil.rmtree(made, ignore_errors=True)
        stop(recording(made), root, by, after, **allowed)
        assert not (made / "a").exists() or sums(made / "a") == known
    status, said = wait(start(recording(made), root, **allowed), root, 120)
    assert status == 0, said
    assert sums(made / "a") == known


def stop_run(
    root: Path, by: signal.Signals, after: float, address: str = ""
) -> int | None:
    """Begins a run and stops it after seconds."""
    process = begun(root, address)
    time.sleep(after)
    sent = time.monotonic()
    with suppress(ProcessLookupError):  # it has ended
        os.kill(process.pid or 0, by)
    status, said = ended(process, root)
    seconds = time.monotonic() - sent
    assert seconds < PATIENCE, f"stopped after {after:.2f} s, it took {seconds:.1f} s"
    if by == signal.SIGINT:
        assert status in (130, 0) and "Traceback" not in said, said
        assert status == 0 or "stopped" in said.splitlines()[-1], said
    else:
        assert status in (-by, 0)
    return status


@pytest.mark.fault(
    "process",
    provoked="What makes a record is stopped by Ctrl-C, or killed, at random moments.",
    result="The same command goes on, and makes the same record.",
    kept="The checkpoint before; no record that is half made.",
)
@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_is_made_by_the_next(tmp_path: Path, by: signal.Signals) -> None:
    made = tmp_path / "made"
    assert ended(begun(tmp_path), tmp_path)[0] == 0  # what is forked is there now
    shutil.rmtree(made)
    began = time.monotonic()
    assert ended(begun(tmp_path), tmp_path)[0] == 0
    took = time.monotonic() - began
    known = sums(made / "a")
    stopped = half_made = 0
    for after in moments(took):
        shutil.rmtree(made)
        stopped += stop_run(tmp_path, by, after) != 0
        half_made += (made / ".unfinished" / "a").exists()
        assert not (made / "a").exists() or sums(made / "a") == known
        whole = (made / "a").exists()
        status, said = ended(begun(tmp_path), tmp_path)
        assert status == 0, said
        assert sums(made / "a") == known
        assert whole or not list(made.glob(".unfinished/*"))
    assert stopped >= half_made > STOPS // 5


@pytest.mark.fault(
    "process",
    provoked="A download of FashionMNIST is stopped by Ctrl-C, or killed, at random "
    "moments.",
    result="The same command goes on, and has the published images.",
    kept="The files that were whole; one that is half there is not taken.",
)
@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_download_is_made_by_the_next(
    tmp_path: Path, by: signal.Signals
) -> None:
    made, raw = tmp_path / "made", tmp_path / "home" / "FashionMNIST" / "raw"
    whole = files() | packed()
    with serving(slowly) as address:
        assert ended(begun(tmp_path, address), tmp_path)[0] == 0
        shutil.rmtree(made)
        shutil.rmtree(tmp_path / "home")
        began = time.monotonic()
        assert ended(begun(tmp_path, address), tmp_path)[0] == 0
        took = time.monotonic() - began
        known = sums(made / "a")
        stopped = half_there = 0
        for after in moments(took):
            shutil.rmtree(made)
            shutil.rmtree(tmp_path / "home")
            stopped += stop_run(tmp_path, by, after, address) != 0
            found = {path.name: path.read_bytes() for path in raw.glob("*")}
            half_there += any(whole[name] != found[name] for name in found)
            assert not (made / "a").exists() or sums(made / "a") == known
            status, said = ended(begun(tmp_path, address), tmp_path)
            assert status == 0, said
            assert sums(made / "a") == known
            # Where these are whole, they are not unpacked to the disk again.
            assert {name: (raw / name).read_bytes() for name in packed()} == packed()
    assert stopped >= half_there > STOPS // 5


def sums(record: Path) -> dict[str, str]:
    """The SHA-256 of what a record holds, without the time that it took."""
    found = digests(record)
    del found["run.json"], found["SHA256SUMS"]
    return found


@pytest.mark.fault(
    "process",
    provoked="Several renderings run in one folder at once.",
    result="Each of them ends with the same book.",
    kept="A book that is whole.",
)
@pytest.mark.slow
def test_renderings_at_once_both_succeed(rendered: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(rendered, tmp_path / "book"))
    shutil.rmtree(root / ".portable" / "index.qmd")
    processes = [start(portable(), root) for _ in range(3)]
    assert [wait(process, root, 120) for process in processes] == [(0, "")] * 3
    assert digests(root / "_book") == digests(rendered / "_book")
    assert not list(root.glob("._book*"))


@pytest.mark.fault(
    "process",
    provoked="Two commands make the same record at once.",
    result="One makes it; the other says that it waits, and takes it.",
    kept="One record.",
)
@pytest.mark.slow
def test_two_that_make_a_record_at_once(tmp_path: Path) -> None:
    """The second one waits, says so, and takes the record of the first."""
    root = tmp_path / "project"
    root.mkdir()
    allowed = {"HW2_TRAIN": "", "TOY_TRAIN": ""}
    processes = [start(recording(root / "made"), root, **allowed) for _ in range(2)]
    for process in processes:
        assert wait(process, root, 120)[0] == 0
    assert visible(root / "made") == ["README.md", "a"]  # the table of the runs, too
