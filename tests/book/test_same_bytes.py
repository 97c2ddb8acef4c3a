"""The same commit gives the same book, to the byte, whatever folder it is in."""

from pathlib import Path

import pytest

from conftest import copied, digests
from portable.book import render


def test_the_same_files_give_the_same_bytes(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path / "elsewhere")
    monkeypatch.setenv("HW2_TRAIN", "never")
    monkeypatch.setenv("PYTHONPATH", str(folder / "code"))  # for the cells
    render(folder)
    one, other = digests(book), digests(folder / "_book")
    assert one.keys() == other.keys() and len(one) > 30
    assert [name for name in one if one[name] != other[name]] == []
