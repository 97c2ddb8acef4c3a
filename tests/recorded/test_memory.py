"""What is free, as Linux says it, and what is said where a run needs more."""

import math
from pathlib import Path

import pytest
import torch

import toy
from recorded import make, run
from recorded.memory import GIB, free, shortage
from toy import Config, count_up

SYSTEM = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n"
OLD = "9:name=systemd:/\n4:memory:/a/b\n3:cpuset:/\n0::/\n"
NEW = "0::/a/b\n"


def machine(root: Path, groups: str, **limits: str) -> Path:
    """A machine with 8 GiB, whose control groups are allowed this."""
    for name, text in {"meminfo": SYSTEM, "self/cgroup": groups}.items():
        (root / "proc" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "proc" / name).write_text(text)
    for group, limit in limits.items():
        file = root / "sys/fs/cgroup" / group
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    return root


@pytest.mark.parametrize(
    ("groups", "limits", "gib"),
    [
        (NEW, {}, 8),
        (NEW, {"a/b/memory.max": "max", "a/memory.max": "max"}, 8),
        (NEW, {"a/b/memory.max": "max", "a/memory.max": f"{4 * GIB}"}, 4),
        (NEW, {"a/b/memory.max": f"{2 * GIB}", "memory.max": f"{4 * GIB}"}, 2),
        (NEW, {"memory.max": f"{4 * GIB}"}, 4),  # as a container sees it
        (NEW, {"c/memory.max": f"{4 * GIB}"}, 8),
        (OLD, {"memory/a/b/memory.limit_in_bytes": f"{1 << 63}"}, 8),
        (OLD, {"memory/a/memory.limit_in_bytes": f"{3 * GIB}"}, 3),
        (OLD, {"memory/memory.limit_in_bytes": f"{3 * GIB}"}, 3),
        (OLD, {"cpuset/memory.limit_in_bytes": f"{3 * GIB}"}, 8),
    ],
)
def test_what_is_free(
    tmp_path: Path, groups: str, limits: dict[str, str], gib: int
) -> None:
    assert free(machine(tmp_path, groups, **limits)) == gib * GIB


def test_what_is_free_is_not_known(tmp_path: Path) -> None:
    assert free(tmp_path) == math.inf
    assert free(machine(tmp_path, "", meminfo="")) == 8 * GIB
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\n")
    assert free(tmp_path) == math.inf


def test_what_is_free_here_is_a_part_of_the_memory() -> None:
    assert 0 < free() < 1 << 50 or not Path("/proc/meminfo").exists()


@pytest.mark.usefixtures("toy_records")
@pytest.mark.fault(
    "memory",
    provoked="A run is to be made, and less memory is free than it needs.",
    result="A line says before how much it needs, and how much is free.",
    kept="Everything; the run is begun.",
)
def test_a_run_needs_more_than_is_free(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(toy, "MEMORY", {"a": 5, "b": 3}, raising=False)
    monkeypatch.setattr("recorded.memory.free", lambda: 3.14 * GIB)
    line = (
        "run a needs 5 GiB of memory on a processor, and 3.1 GiB are free: the system "
        "may end it without a word; made again, it goes on from its last checkpoint"
    )
    for name, said in (("a", [line]), ("b", []), ("c", []), ("a", [])):
        run(name, count_up, Config(), train=True)
        assert capsys.readouterr().err.splitlines()[1:] == said
    make(tmp_path / "a", count_up, Config())  # as to reproduce it
    assert capsys.readouterr().err.splitlines() == [line]


def test_an_accelerator_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorded.memory.free", lambda: GIB)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert shortage("a", 2).startswith("run a needs 2 GiB of memory on a processor")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert shortage("a", 2) == ""
