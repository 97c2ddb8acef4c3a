"""The picture in README.md is of the book as it is."""

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from book.picture import picture
from conftest import ROOT


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of the pixels, 0 to 255, at a quarter of the size."""
    small = [image.convert("L").reduce(4) for image in (one, other)]
    return ImageStat.Stat(ImageChops.difference(*small)).mean[0]


def test_the_picture_is_of_this_book(book: Path) -> None:
    now, kept = picture(book / "report.pdf"), Image.open(ROOT / "picture.png")
    assert now.size == kept.size
    # Another page of text differs by 20 or more, a moved line of LaTeX's by less.
    assert difference(now, kept) < 6, "run: .venv/bin/python code/book/picture.py"


def test_another_page_is_noticed() -> None:
    kept = Image.open(ROOT / "picture.png")
    turned = ImageChops.offset(kept.convert("L"), kept.width // 3, 0)
    assert difference(kept, turned) > 12


def test_a_page_that_is_missing_is_named(tmp_path: Path) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "blank.pdf")
    with pytest.raises(ValueError, match=r"blank\.pdf has 'Problem 1\. Recurrent"):
        picture(tmp_path / "blank.pdf")
