"""``python code/book/picture.py``: makes picture.png, for README.md, of the book.

The book has to be rendered before.
"""

import re
from pathlib import Path

import pypdfium2
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[2]
# The answers, a theorem with its proof, and results: pages by what stands on them.
SHOWN = ("Problem 1. Recurrent network", "Theorem 2.1 (Error", "Figure 4.3:")
SCALE = 1.0  # pixels of a point: a page of A4 is 595 wide


def picture(pdf: Path) -> Image.Image:
    """The pages side by side; each is the first of the book that has its words.

    Raises ``ValueError`` where no page has them.
    """
    document = pypdfium2.PdfDocument(pdf)
    texts = [page.get_textpage().get_text_bounded() for page in document]
    pages = []
    for words in SHOWN:
        found = [
            n for n, text in enumerate(texts) if words in re.sub(r"\s+", " ", text)
        ]
        if not found:
            raise ValueError(f"no page of {pdf} has {words!r}")
        image = document[found[0]].render(scale=SCALE).to_pil().convert("RGB")
        pages.append(ImageOps.expand(image, border=1, fill="darkgrey"))
    gap = pages[0].width // 30
    width = sum(page.width for page in pages) + gap * (len(pages) - 1)
    whole = Image.new("RGB", (width, pages[0].height), "white")
    left = 0
    for page in pages:
        whole.paste(page, (left, 0))
        left += page.width + gap
    return whole.quantize(128)  # colours, for a smaller file


if __name__ == "__main__":
    picture(ROOT / "_book" / "report.pdf").save(ROOT / "picture.png", optimize=True)
