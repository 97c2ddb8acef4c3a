"""Disks that are full, or may not be written to, in the middle of each command."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import small_runs
from conftest import ROOT, digests
from forked_runs import begun, ended, files, packed, slowly
from server import serving
from small_book import error, record, rendering, written
from small_disk import mount, small_disk

FULL = "No space left on device"


@pytest.fixture
def root(rendered: Path, tmp_path: Path) -> Path:
    """A copy of a book that was rendered, in which one chapter has changed since."""
    root = Path(shutil.copytree(rendered, tmp_path / "book"))
    edit(root)
    return root


def edit(root: Path) -> None:
    text = (root / "index.qmd").read_text(encoding="utf-8")
    (root / "index.qmd").write_text(text.replace("# Über", "# Neu"), encoding="utf-8")


@pytest.mark.fault(
    "disk",
    provoked="The disk of temporary files is full: at once, for pandoc, for LaTeX.",
    result="A line says so, and how much space each disk has left.",
    kept="The previous book.",
)
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 40, 80, 120, 160, 200, 240])
def test_temporary_files_have_no_space(
    root: Path, tmp_path: Path, kilobytes: int
) -> None:
    known = digests(root / "_book")
    with small_disk(tmp_path / "tmp", kilobytes) as small:
        done = rendering(root, "--fresh", TMPDIR=str(small))
        line = error(done)
        assert FULL in line and f"{small} has 0." in line, line
        assert not list(small.iterdir())
    assert digests(root / "_book") == known
    assert rendering(root).returncode == 0
    assert "Neu" in (root / "_book/index.html").read_text(encoding="utf-8")


@pytest.mark.fault(
    "disk",
    provoked="The disk of the book is full when the new book is put there.",
    result="A line says so, and how much space each disk has left.",
    kept="The previous book; nothing of the new one is left beside it.",
)
@pytest.mark.slow
def test_the_book_has_no_space(rendered: Path, tmp_path: Path) -> None:
    needed = sum(file.stat().st_size for file in (rendered / "_book").rglob("*"))
    with small_disk(tmp_path / "small", 40 + needed * 3 // 2048) as small:
        root = written(small / "book")
        shutil.copytree(rendered / "_book", root / "_book")
        known = digests(root / "_book")
        edit(root)
        done = rendering(root)
        line = error(done)
        assert FULL in line and f"{root} has 0." in line, line
        assert "not kept: " in done.stdout
        assert digests(root / "_book") == known
        assert not list(root.glob("._book*"))
        mount("-o", "remount,size=100m", small)
        assert rendering(root).returncode == 0


@pytest.mark.fault(
    "disk",
    provoked="The disk is full when an executed chapter is kept.",
    result="The book is made, and a line says what is not kept and why.",
    kept="What was kept before.",
)
@pytest.mark.slow
def test_what_is_kept_has_no_space(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / ".portable")
    with small_disk(root / ".portable", 4):
        done = rendering(root)
        assert done.returncode == 0 and done.stderr == ""
        lines = [line for line in done.stdout.splitlines() if FULL in line]
        assert "other.qmd" in lines[0] and "not kept: " in lines[0]
        assert lines[-1].startswith("small.aux is not kept: ")
    assert rendering(root).returncode == 0


@pytest.mark.fault(
    "disk",
    provoked="The folder of the book may only be read.",
    result="A line names what can't be written.",
    kept="The previous book.",
)
@pytest.mark.slow
def test_a_checkout_that_may_only_be_read(root: Path) -> None:
    known = digests(root / "_book")
    try:
        mount("--bind", root, root)
        mount("-o", "remount,bind,ro", root)
    except (OSError, subprocess.CalledProcessError) as failed:
        pytest.skip(f"nothing can be mounted here: {failed}")
    try:
        done = rendering(root)
        assert "Read-only file system: " in error(done) and "_book" in error(done)
        assert digests(root / "_book") == known
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


@pytest.mark.fault(
    "disk",
    provoked="The disk is full when a checkpoint or a record is written.",
    result="A line names the file. The same command then goes on where it stopped.",
    kept="The last checkpoint; no record that is half written.",
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kilobytes", "file"), [(70, "steps.draft"), (190, "predictions.safetensors")]
)
def test_a_record_has_no_space(tmp_path: Path, kilobytes: int, file: str) -> None:
    with small_disk(tmp_path / "small", kilobytes) as small:
        done = record(small)
        assert done.returncode == 1
        line = done.stderr.splitlines()[-1]
        assert line.startswith(f"error: [Errno 28] {FULL}: ") and file in line
        assert not (small / "a").exists()
        mount("-o", "remount,size=10m", small)
        done = record(small)
        assert done.returncode == 0, done.stderr
        assert record(tmp_path / "whole").returncode == 0
        name = "a/predictions.safetensors"
        assert (small / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.fault(
    "disk",
    provoked="The disk has no room for the states of the encoder.",
    result="A line says, before the encoder begins, how much is needed and how much is "
    "free.",
    kept="What is there; nothing of the states is left.",
)
@pytest.mark.slow
def test_states_have_no_space(tmp_path: Path) -> None:
    few = {"train_size": 2, "valid_size": 2, "test_size": 2, "seeds": 1, "epochs": 1}
    with small_disk(tmp_path / "small", 500) as small:

        def record() -> subprocess.CompletedProcess[str]:
            command = small_runs.recording(small, "sentiment-frozen", **few)
            return subprocess.run(
                command, env=small_runs.variables(), capture_output=True, text=True
            )

        done = record()
        line = done.stderr.splitlines()[-1]
        assert done.returncode == 1, done
        assert line.startswith(f"error: [Errno 28] {FULL}: the states of the encoder ")
        assert f" need {2 * 512 * 384 * 2:,} bytes, and " in line and ".states" in line
        assert not list(small.glob(".states/*/states"))
        mount("-o", "remount,size=100m", small)
        done = record()
        assert done.returncode == 0, done.stderr
        assert (small / "sentiment-frozen").is_dir()


@pytest.mark.fault(
    "disk",
    provoked="The disk is full while FashionMNIST is downloaded or unpacked.",
    result="A line says so, and names the folder. When there is space the same command "
    "goes on.",
    kept="The files that were whole; one that is half there is not taken.",
)
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 100, 300, 700])
def test_a_download_has_no_space(tmp_path: Path, kilobytes: int) -> None:
    with (
        small_disk(tmp_path / "home", kilobytes) as small,
        serving(slowly) as address,
    ):
        raw = small / "FashionMNIST" / "raw"
        for _ in range(2):
            status, said = ended(begun(tmp_path, address), tmp_path)
            line = said.splitlines()[-1]
            assert status == 1 and "Traceback" not in said
            assert line.startswith("error: t10k-images-idx3-ubyte of FashionMNIST is")
            assert f"could not be downloaded to {raw} (" in line and FULL in line
            assert not (tmp_path / "made" / "a").exists()
        mount("-o", "remount,size=10m", small)
        status, said = ended(begun(tmp_path, address), tmp_path)
        assert status == 0, said
        found = {path.name: path.read_bytes() for path in raw.iterdir()}
        assert found == files() | packed()


BACKEND = """
import zipfile
from pathlib import Path

NAME = "small-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n"

def build_editable(folder, settings=None, metadata=None):
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.writestr(f"{NAME}/METADATA", METADATA)
        wheel.writestr(f"{NAME}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{NAME}/RECORD", "")
    return name
"""


@pytest.mark.fault(
    "disk",
    provoked="The disk is full when the environment is made, or packages installed.",
    result="The command ends with what Python or pip says of it.",
    kept="No environment that counts as ready; the next try makes it.",
)
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [6_000, 30_000])
def test_an_environment_has_no_space(tmp_path: Path, kilobytes: int) -> None:
    wheel = tmp_path / "large-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for number in range(40):
            packed.writestr(f"large/{number}", b"x" * 1_000_000)
        about = "Metadata-Version: 2.1\nName: large\nVersion: 1.0\n"
        packed.writestr("large-1.0.dist-info/METADATA", about)
        packed.writestr("large-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        packed.writestr("large-1.0.dist-info/RECORD", "")
    with small_disk(tmp_path / "small", kilobytes) as small:
        shutil.copy(ROOT / "Makefile", small)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        wanted = f"large @ file://{wheel} --hash=sha256:{digest}\n"
        (small / "requirements.txt").write_text(wanted)
        (small / "backend.py").write_text(BACKEND)
        (small / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
            'backend-path = ["."]\n[project]\nname = "small"\nversion = "1.0"\n'
        )

        def make() -> subprocess.CompletedProcess[str]:
            python = Path(sys.executable).resolve()
            return subprocess.run(
                ["make", ".venv/ready", f"PYTHON={python}", "-o", "latex"],
                cwd=small,
                capture_output=True,
                text=True,
            )

        done = make()
        assert done.returncode == 2 and not (small / ".venv/ready").exists()
        assert "Error 1" in done.stderr, done.stderr
        mount("-o", "remount,size=200m", small)
        done = make()
        assert done.returncode == 0, done.stderr
        assert (small / ".venv/ready").exists()
