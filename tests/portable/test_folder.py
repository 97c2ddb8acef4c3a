"""A folder is replaced as a whole or not at all, whoever else replaces it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from portable.folder import replace, restore

# Replaces "book" by "made", and is killed before a step of that.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from portable.folder import replace

def kill(*_): os.kill(os.getpid(), signal.SIGKILL)

rename = Path.rename
if sys.argv[1] == "copy":
    shutil.copytree = lambda new, draft: (draft.mkdir(), kill())
elif sys.argv[1] == "remove":
    shutil.rmtree = lambda path, **_: path.exists() and kill()
else:
    Path.rename = lambda path, to: (
        kill() if path.name == sys.argv[1] else rename(path, to)
    )
replace(Path("made"), Path("book"))
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.fault(
    "process",
    provoked="A rendering is killed at each step of putting the new book in its place.",
    result="The next start puts back what was taken away, and removes the rest.",
    kept="The previous book, or else the new one.",
)
@pytest.mark.parametrize(
    ("step", "left"),
    [("copy", "old"), ("book", "old"), (".book-new", "old"), ("remove", "new")],
)
def test_a_killed_replacement_loses_nothing(
    tmp_path: Path, step: str, left: str
) -> None:
    write(tmp_path / "book/old", "")
    write(tmp_path / "made/new", "")
    done = subprocess.run([sys.executable, "-c", KILLED, step], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) > 2
    restore(tmp_path / "book")
    assert names(tmp_path) == ["book", "made"] and names(tmp_path / "book") == [left]
    replace(tmp_path / "made", tmp_path / "book")
    assert names(tmp_path) == ["book", "made"] and names(tmp_path / "book") == ["new"]


def test_the_old_folder_stays_where_a_new_one_can_not_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "book/old", "")
    write(tmp_path / "made/new", "")
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.name == ".book-new":
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="no space left"):
        replace(tmp_path / "made", tmp_path / "book")
    assert names(tmp_path) == ["book", "made"] and names(tmp_path / "book") == ["old"]


@pytest.mark.fault(
    "process",
    provoked="Several renderings put their book into one folder at once.",
    result="Each is put there, one after the other.",
    kept="A book that is whole.",
)
def test_replacements_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from portable.folder import replace\n"
        "for _ in range(50): replace(Path(sys.argv[1]), Path('book'))"
    )
    for name in ("a", "b", "c"):
        for part in range(20):
            write(tmp_path / name / f"{part}", name)
    processes = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path)
        for name in ("a", "b", "c")
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert names(tmp_path) == ["a", "b", "book", "c"]
    texts = [path.read_text() for path in (tmp_path / "book").iterdir()]
    assert len(texts) == 20 and len(set(texts)) == 1
