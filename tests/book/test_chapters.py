"""Chapters hold argument and short cells; methods stand in ``hw2``, where tests are."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from conftest import ROOT
from portable.chapter import Piece, read_chapter
from portable.project import read_project

SOURCES = read_project(ROOT).sources


def cells(source: str) -> Iterator[Piece]:
    return (piece for piece in read_chapter(ROOT, source) if piece.kind == "code")


def lines(cell: Piece) -> int:
    return sum(bool(line.strip()) for line in cell.text.splitlines())


def is_hidden(cell: Piece) -> bool:
    return False in (cell.options.get("include"), cell.options.get("echo"))


def functions(cell: Piece) -> list[ast.FunctionDef]:
    nodes = ast.walk(ast.parse(cell.text))
    return [node for node in nodes if isinstance(node, ast.FunctionDef)]


def test_little_is_hidden() -> None:
    hidden = {
        source: sum(lines(cell) for cell in cells(source) if is_hidden(cell))
        for source in SOURCES
    }
    assert sum(hidden.values()) < 300, hidden


def test_no_function_is_defined_in_two_chapters() -> None:
    names = Counter(
        name
        for source in SOURCES
        for name in {f.name for cell in cells(source) for f in functions(cell)}
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_hidden_or_folded_is_short(source: str) -> None:
    """Hidden functions only format; longer drawings and tables are functions of hw2."""
    for cell in cells(source):
        if is_hidden(cell):
            for function in functions(cell):
                length = (function.end_lineno or 0) - function.lineno + 1
                assert length <= 9, f"{cell.name}: {function.name}"
        elif cell.options.get("code-fold") and not re.search("^import ", cell.text):
            assert lines(cell) <= 28, cell.name
