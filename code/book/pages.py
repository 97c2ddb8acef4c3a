"""Completes the pages of the rendered HTML book, the same for both renderers.

A page gets a description and a card for where a link to it is shown, the search, and
the scripts of its widgets; the folders ``scripts``, ``widgets`` and ``cards`` hold what
these load. Of Quarto's pages, blanks in titles and unused icons are taken out. Quarto
and ``portable`` run it after rendering, with the book's folder in the variable
``QUARTO_PROJECT_OUTPUT_DIR``. The address at which the book is published, if it is, is
in ``BOOK_URL``: who shows a link asks for the address of its card.
"""

import base64
import html
import json
import logging
import os
import re
import shutil
import textwrap
from importlib.util import find_spec
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
RECORDS = HERE.parents[1] / "records"
# The record whose weights a widget loads when it is asked for, as a script.
WEIGHTS = {"vit": "vit-small"}
DESCRIPTION = 200  # characters, about as many as are shown of it
CARD = (1200, 630)  # pixels, as messengers show it
COMPLETE = '<meta property="og:title"'  # what a page has that is complete
# What Quarto puts before the title of a chapter, which says its number by itself. The
# number is hidden on the page; a space that may not be left out would take its place.
IN_TITLE = re.compile(r"<title>\d+&nbsp; ")
IN_HEADING = re.compile(r'(<span class="chapter-number">\w+</span>)&nbsp; ')
# The link that has the title of the book, in the pages of portable and of Quarto.
OF_BOOK = re.compile(
    r'(?:<a class="home"|class="sidebar-title[^>]*>\s*<a)[^>]*>(.*?)</a>', re.DOTALL
)
LEFT_OUT = "script, nav, summary, .notebook"


def complete(book: Path, address: str = "") -> None:
    """Completes the pages in the folder ``book`` that are not complete yet.

    ``address`` is that of the published book. Raises ``ValueError`` for a page without
    a head or a title, and where Quarto's icons have other names than are known.
    """
    address = address and address.rstrip("/") + "/"
    for folder in ("scripts", "widgets"):
        shutil.copytree(HERE / folder, book / folder, dirs_exist_ok=True)
    for widget, record in WEIGHTS.items():
        weights = (RECORDS / record / "weights.safetensors").read_bytes()
        script = f'window.playWeights = "{base64.b64encode(weights).decode()}";\n'
        (book / "widgets" / f"{widget}-weights.js").write_text(script, encoding="utf-8")
    (book / "cards").mkdir(exist_ok=True)
    words: list[dict[str, str]] = []
    for path in sorted(book.rglob("*.html")):
        name = path.relative_to(book).as_posix()
        text = IN_TITLE.sub("<title>", path.read_text(encoding="utf-8"))
        text = IN_HEADING.sub(r"\1 ", text)
        soup = BeautifulSoup(readable(text), "html.parser")
        if not soup.main:  # Quarto's, which leads to a chapter that was rendered alone
            continue
        if not soup.title or "</head>" not in text:
            raise ValueError(f"{path} has no head with a title")
        title, of_book = titles(_text(soup.title), text)
        if COMPLETE not in text:
            card = f"cards/{name.removesuffix('.html').replace('/', '-')}.png"
            draw_card(title, of_book, book / card)
            added = head(soup, name, title, address + card)
            path.write_text(
                text.replace("</head>", f"{added}\n</head>", 1), encoding="utf-8"
            )
        words += sections(soup, name, title)  # which takes the page apart
    for font in book.glob("site_libs/bootstrap/bootstrap-icons.woff"):
        shrink(font, book)
    script = f"window.bookWords = {json.dumps(words, ensure_ascii=False)};\n"
    (book / "scripts" / "words.js").write_text(script, encoding="utf-8")


def titles(title: str, text: str) -> tuple[str, str]:
    """The title of a page by itself, and that of its book, which may have dashes."""
    link = OF_BOOK.search(text)
    formula = r"<math\b.*?<annotation[^>]*>(.*?)</annotation>.*?</math>"
    shown = re.sub(formula, r"\1", link[1] if link else "", flags=re.DOTALL)
    of_book = " ".join(html.unescape(re.sub(r"<[^>]*>", "", shown)).split())
    if title == of_book:  # of Quarto's first page
        return title, title
    if title.endswith(f" – {of_book}"):
        return title.removesuffix(f" – {of_book}"), of_book
    title, _, of_book = title.rpartition(" – ")
    return title or of_book, of_book


def readable(text: str) -> str:
    """A page without code, and with formulas as words, which is parsed much sooner."""

    def in_words(formula: re.Match[str]) -> str:
        shown = re.sub(r"<annotation.*?</annotation>", "", formula[0], flags=re.DOTALL)
        return re.sub(r"<[^>]*>", " ", shown)

    text = re.sub(r"<pre\b.*?</pre>", "", text, flags=re.DOTALL)
    return re.sub(r"<math\b.*?</math>", in_words, text, flags=re.DOTALL)


def head(soup: BeautifulSoup, name: str, title: str, card: str) -> str:
    """What the head of a page gets. ``name`` is its path in the book."""
    up = "../" * name.count("/")
    if not re.match(r"https?:", card):
        card = up + card
    about = description(soup)
    lines = [
        f'<meta name="description" content="{html.escape(about)}">',
        f'{COMPLETE} content="{html.escape(title)}">',
        '<meta property="og:type" content="article">',
        f'<meta property="og:description" content="{html.escape(about)}">',
        f'<meta property="og:image" content="{html.escape(card)}">',
        '<meta name="twitter:card" content="summary_large_image">',
        f'<script src="{up}scripts/scrolling.js" defer></script>',
        f'<script src="{up}scripts/search.js" data-up="{up}" defer></script>',
    ]
    widgets = [tag.name for tag in soup.find_all(re.compile("^play-"))]
    for file in dict.fromkeys(["kit", *widgets] if widgets else []):
        at = f"{up}widgets/{file.removeprefix('play-')}"
        lines.append(f'<link rel="stylesheet" href="{at}.css">')
        lines.append(f'<script src="{at}.js" defer></script>')
    return "\n".join(lines)


def description(soup: BeautifulSoup) -> str:
    """What a page is about: how its first paragraph begins, to the end of a word."""
    for paragraph in soup.select("main p"):
        text = re.sub(r"^Question\. (\([^)]*\) )?", "", _text(paragraph))
        if len(text) > 40:
            return textwrap.shorten(text, DESCRIPTION, placeholder=" …")
    return _text(soup.title)


def sections(soup: BeautifulSoup, name: str, chapter: str) -> list[dict[str, str]]:
    """The sections of a page, to be searched: where, of which chapter, title, text.

    The text is without code, and without that of the sections within. It is taken out
    of the page.
    """
    main = soup.main
    assert main is not None
    # From the innermost outwards, so that each has lost those within.
    found = []
    for part in [*reversed(main.select("section[id]")), main]:
        heading = part.find(re.compile("^h[1-6]$"))
        title = _text(heading) if heading else chapter
        for other in part.select(LEFT_OUT):
            other.decompose()
        at = name + (f"#{part['id']}" if part is not main else "")
        text = _text(part)
        if text:
            found.append({"href": at, "chapter": chapter, "title": title, "text": text})
        if part is not main:
            part.decompose()
    return found[::-1]


def draw_card(title: str, of_book: str, path: Path) -> None:
    """Draws the card of a page: its title above that of the book."""
    matplotlib = find_spec("matplotlib")  # which is slow to import
    assert matplotlib and matplotlib.origin
    fonts = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"
    large, small = (
        ImageFont.truetype(fonts / name, size)
        for name, size in (("DejaVuSans-Bold.ttf", 68), ("DejaVuSans.ttf", 36))
    )
    card = Image.new("RGB", CARD, "#0b3a5e")
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 0, 24, CARD[1]), fill="#e69f00")
    lines = textwrap.fill(title, 26, max_lines=4, placeholder=" …")
    draw.multiline_text((90, 100), lines, fill="white", font=large, spacing=20)
    draw.text((90, 520), of_book, fill="#c9d6e0", font=small)
    card.quantize(16).save(path, optimize=True)


def shrink(font: Path, book: Path) -> None:
    """Leaves of Quarto's two thousand icons those that the book's files name.

    The font would otherwise be half of what the first page loads. Raises
    ``ValueError`` where none of its names is found.
    """
    from fontTools import subset  # half a second, for Quarto alone

    files = [*book.rglob("*.html"), *book.glob("site_libs/**/*.js")]
    named = {
        name
        for file in files
        for name in re.findall(r"\bbi-([\w-]+)", file.read_text(encoding="utf-8"))
    }
    codes = re.findall(
        r'\.bi-([\w-]+)::before { content: "\\(\w+)"',
        font.with_suffix(".css").read_text(encoding="utf-8"),
    )
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of this font
    points = [int(code, 16) for name, code in codes if name in named]
    if not points:
        raise ValueError(f"{font} has none of the icons {', '.join(sorted(named))}")
    options = subset.Options(flavor="woff")
    face = subset.load_font(font, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=points)
    subsetter.subset(face)
    subset.save_font(face, font, options)


def _text(tag: Tag | None) -> str:
    return " ".join(tag.get_text(" ").split()) if tag else ""


if __name__ == "__main__":
    output = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
    if (output / "index.html").exists():  # else it was the PDF alone
        complete(output, os.environ.get("BOOK_URL", ""))
