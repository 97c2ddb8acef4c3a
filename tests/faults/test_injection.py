"""A review and a name that are code: the book with them, its pages and its PDF."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

import browser
from conftest import copied
from conftest import page as parsed
from hw2.sentiment.reviews import OWN

RAN = "document.title = 'it ran'"
REVIEW = (
    f'A <script>{RAN}</script> <img src=x onerror="{RAN}"> film, </script> '
    r"\input{/etc/passwd} $x_1$ 100% `{python} 1` {{< var due >}} "
    "\u202eémigré\u202c ❤️ 🎬"
)
AUTHOR = r"</script><b>Ada</b> \input{/etc/passwd} $x$ 100% 🎬"


def escaped(text: str, characters: str) -> str:
    for one in characters:
        text = text.replace(one, ascii(one)[1:-1])
    return text


def squeezed(text: str) -> str:
    """Without white space, of which a PDF has none, and with straight quotes.

    Nor with the marks of where a line of what a cell prints is broken.
    """
    straight = str.maketrans("“”‘’`", "\"\"'''")
    return "".join(text.replace("↪", "").split()).translate(straight)


SEEN = escaped(REVIEW, "\u202e\u202c")
PICTOGRAPHS = "❤\ufe0f🎬"  # of which the PDF has no font, nor a figure


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of a student who wrote such a review, and has such a name."""
    root = copied(tmp_path_factory.mktemp("clone"))
    reviews = root / "code/hw2/sentiment/reviews.py"
    text = reviews.read_text(encoding="utf-8")
    assert text.count(repr(OWN[0]).replace("'", '"')) == 1
    reviews.write_text(
        text.replace(repr(OWN[0]).replace("'", '"'), repr(REVIEW)), encoding="utf-8"
    )
    fields = root / "_variables.yml"
    text = fields.read_text(encoding="utf-8")
    assert text.count("Firstname Lastname") == 1
    name = f"'{AUTHOR}'"
    fields.write_text(text.replace("Firstname Lastname", name), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "portable", "--renderer", "portable"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root / "code"), "HW2_TRAIN": "never"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return root / "_book"


HOSTILE = pytest.mark.fault(
    "injection",
    provoked="The whole book is rendered with a review of one's own and an author's "
    "name that have HTML, LaTeX, a formula, a shortcode, a cell's code, emoji and "
    "marks that turn the direction of the text.",
    result="They are shown as they are written, and never run, on pages and in the "
    "PDF; emoji are escaped in the PDF and in figures, hidden marks everywhere.",
    kept="The text round them.",
)


@HOSTILE
@pytest.mark.slow
def test_pages_show_and_do_not_run_it(rendered: Path) -> None:
    if not browser.CHROMIUM:
        pytest.skip("Chromium is not installed")
    titles = {
        path: parsed(path).title.text  # type: ignore[union-attr]
        for path in (rendered / "index.html", *rendered.glob("*/05-*.html"))
    }
    with browser.browser() as found:
        for path, title in titles.items():
            with browser.opened(found, path) as page:
                assert page.title() == title
                assert page.locator("img[onerror]").count() == 0
                assert page.locator("body script:not([src]):not([type])").count() == 0
                text = squeezed(page.locator("main").inner_text())
                assert squeezed(AUTHOR if path.name == "index.html" else SEEN) in text
                if path.name != "index.html":
                    token = page.locator("play-sentiment .text").first
                    assert squeezed(token.inner_text()) == squeezed(SEEN)


@HOSTILE
@pytest.mark.slow
def test_the_pdf_shows_and_does_not_run_it(rendered: Path) -> None:
    pages = [page.extract_text() for page in PdfReader(rendered / "report.pdf").pages]
    text = squeezed("".join(pages))
    # Among the answers, in the chapter, and over the figure.
    assert text.count(squeezed(escaped(SEEN, PICTOGRAPHS))) == 3
    assert text.count(squeezed(escaped(repr(REVIEW), PICTOGRAPHS))) == 1  # printed
    assert squeezed(escaped(AUTHOR, PICTOGRAPHS)) in squeezed(pages[0])
    assert "root:" not in text
