"""The picture in README.md is of the book as it is."""

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from book.picture import picture
from conftest import ROOT


def difference(one: Image.Image, other: Image.Image) -> float:
    """Of the page that differs most, the mean over its pixels, 0 to 255.

    At a quarter of the size, so that the hinting of fonts does not count.
    """
    small = [image.convert("L").reduce(4) for image in (one, other)]
    difference, third = ImageChops.difference(*small), small[0].width / 3
    pages = [(i * third, 0, (i + 1) * third, small[0].height) for i in range(3)]
    return max(ImageStat.Stat(difference.crop(page)).mean[0] for page in pages)


def test_the_picture_is_of_this_book(book: Path) -> None:
    now, kept = picture(book / "report.pdf"), Image.open(ROOT / "picture.png")
    assert now.size == kept.size
    assert difference(now, kept) < 4, "run: .venv/bin/python code/book/picture.py"


def test_a_line_that_moved_is_noticed() -> None:
    kept = Image.open(ROOT / "picture.png").convert("L")
    assert difference(kept, ImageChops.offset(kept, 0, 12)) > 8


def test_a_page_that_is_missing_is_named(tmp_path: Path) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "blank.pdf")
    with pytest.raises(ValueError, match=r"blank\.pdf has 'Problem 1\. Recurrent"):
        picture(tmp_path / "blank.pdf")
