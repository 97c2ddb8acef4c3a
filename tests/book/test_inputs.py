"""What each chapter depends on: what a change of anything makes execute again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, copied
from portable import inputs, store
from portable.chapter import Piece, read_chapter
from portable.project import read_project

SOURCES = {
    Path(source).stem.partition("-")[0]: source for source in read_project(ROOT).sources
}
Keys = dict[str, str]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def unchanged(clone: Path) -> Keys:
    return keys(clone)


def read(root: Path) -> dict[str, list[Piece]]:
    return {name: read_chapter(root, source) for name, source in SOURCES.items()}


def keys(clone: Path) -> Keys:
    """The key of each chapter, by the first letters of its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(clone / "code"))
        return {name: inputs.key(clone, of) for name, of in read(clone).items()}


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Another text in a file for a while, in place of one that stands there once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("file", "old", "new", "chapters"),
    [
        # prose, a caption, how a cell is shown
        (SOURCES["04"], "# Problem 4.", "# The fourth problem.", ""),
        (SOURCES["02"], "The attention weights $w_{ij}$ to three", "To three", ""),
        (
            SOURCES["02"],
            "#| label: fig-weights\n",
            "#| label: fig-w\n#| echo: false\n",
            "",
        ),
        # a cell, an inline expression
        (SOURCES["02"], "small_norms = (1, 2, 3)", "small_norms = (1, 2, 4)", "02"),
        ("report.qmd", "str(config.dropout)", "str(2 * config.dropout)", "report"),
        # a comment, a docstring, an annotation, the text of an error, of modules
        ("code/hw2/vit/model.py", "# pixels", "# of an image", ""),
        ("code/hw2/attention.py", '"""The norms of y_i - x_i', '"""Norms', ""),
        ("code/hw2/recurrence.py", "sigmoid(z: float) -> float", "sigmoid(z)", ""),
        # code and constants: of one chapter, of several, of another package
        ("code/hw2/exhibits/recurrence.py", '"ha": "center"', '"ha": "left"', "01"),
        ("code/hw2/figures.py", '"font.size": 9', '"font.size": 8', "01 02 03 04 05"),
        (
            "code/recorded/records.py",
            "rel_tol=1e-9",
            "rel_tol=1e-8",
            "03 04 05 a report",
        ),
        ("code/book/variables.py", '"Ada Lovelace"', '"Grace Hopper"', "index"),
        # the digests of data
        ("code/hw2/data.py", '"25401be5', '"35401be5', "05 a report"),
        ("code/hw2/data.py", '"c59f468a', '"d59f468a', "04 a report"),
    ],
)
def test_what_a_change_makes_execute(
    clone: Path, unchanged: Keys, file: str, old: str, new: str, chapters: str
) -> None:
    with edited(clone / file, old, new):
        now = keys(clone)
    different = sorted(name for name in now if now[name] != unchanged[name])
    assert " ".join(different) == chapters


@pytest.fixture(scope="module")
def entries(book: Path) -> dict[str, Any]:
    """What was kept of each chapter when the book was rendered."""
    found = {
        name: store.read(ROOT, SOURCES[name], inputs.key(ROOT, pieces))
        for name, pieces in read(ROOT).items()
    }
    return {name: entry for name, entry in found.items() if entry}


@pytest.mark.parametrize(
    ("file", "old", "new", "chapters"),
    [
        ("records/peers/run.json", '"date"', '"day"', "03 04 a"),
        ("records/sentiment-gap/SHA256SUMS", "  run.json", "  run", "05 a"),
        ("_variables.yml", "Firstname", "First name", "index"),
        # modules whose source is shown, or not
        ("code/hw2/vit/model.py", "# pixels", "# of an image", "04 a"),
        ("code/hw2/recurrence.py", "# milliseconds", "# ms", "01"),
        ("code/hw2/figures.py", "# inches", "# in inches", ""),
    ],
)
def test_what_a_chapter_reads_counts(
    clone: Path, entries: dict[str, Any], file: str, old: str, new: str, chapters: str
) -> None:
    with edited(clone / file, old, new):
        assert outdated(clone, entries) == chapters
    assert outdated(clone, entries) == ""


def test_a_new_record_counts_where_all_are_listed(
    clone: Path, entries: dict[str, Any]
) -> None:
    (clone / "records" / "another").mkdir()
    assert outdated(clone, entries) == "a"
    (clone / "records" / "another").rmdir()


def outdated(root: Path, entries: dict[str, Any]) -> str:
    """The chapters that read something that is different in ``root``."""
    return " ".join(
        name
        for name, entry in sorted(entries.items())
        if inputs.content(root, entry["reads"]) != entry["content"]
    )


def test_every_chapter_with_a_cell_is_kept(entries: dict[str, Any]) -> None:
    cells = {n: any(p.kind == "code" for p in of) for n, of in read(ROOT).items()}
    assert entries.keys() == {name for name, has in cells.items() if has}
