"""Runs on a machine that has little memory: a control group of Linux."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hw2
import small_runs

GIB = 1 << 30
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group whose processes have 4 GiB together, the cache of files too."""
    old = (GROUPS / "memory").is_dir()  # version 1
    group = (GROUPS / "memory" if old else GROUPS) / f"hw2-{os.getpid()}"
    try:
        group.mkdir()
        limit = "memory.limit_in_bytes" if old else "memory.max"
        (group / limit).write_text(str(4 * GIB))
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    yield group
    group.rmdir()


@pytest.mark.fault(
    "memory",
    provoked="The machine has 4 GiB: some reviews are encoded and a head is trained on "
    "them, as in `sentiment-frozen`, or a Vision Transformer, as in `vit-small`.",
    result="The run is made, and where all reviews would need more, a line says so "
    "before; the states of reviews are on the disk, mapped to memory.",
    kept="Everything.",
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sentiment-frozen", {"train_size": 300, "valid_size": 50, "test_size": 50}),
        ("vit-small", {}),
    ],
)
def test_four_gibibytes_are_enough(
    tmp_path: Path, group: Path, name: str, changes: dict[str, Any]
) -> None:
    command = small_runs.recording(tmp_path, name, epochs=1, seeds=1, **changes)
    into = f'echo $$ > "{group}/cgroup.procs" && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", into, "sh", *command],
        env=small_runs.variables(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name / "run.json").exists()
    said = f"run {name} needs {hw2.MEMORY.get(name, 4)} GiB of memory on a processor"
    assert (said in done.stderr) == (name in hw2.MEMORY)
