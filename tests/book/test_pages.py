"""What ``book.pages`` adds to the pages, and the pages as a reader meets them."""

import base64
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from PIL import Image

from book.pages import COMPLETE, complete, titles
from browser import SCHEMES, WIDTHS, fits, opened
from conftest import ROOT, digests, page
from portable.project import read_project

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from playwright.sync_api import Browser, Page

NAMES = [f"{source.removesuffix('.qmd')}.html" for source in read_project(ROOT).sources]
WEIGHTS = "vit-weights.js"  # loaded when it is asked for
KB = 1000
FORMULA = "<math><mi>x</mi><annotation>x^2</annotation></math>"
SIDEBAR = '<div class="sidebar-title mb-0">\n  '

TOY = """<html><head><title>2&nbsp; Ties &amp; sums – A book</title></head>
<body><main><h1>Ties &amp; sums</h1><p>Short.</p>
<p>Question. (3 points) A "network" compares two sums, and says <em>which</em> is larger
of them, for integers of any size and for sequences of any even length, in one pass,
with one hidden unit, which is linear, and one output unit, which is a sigmoid.</p>
<section id="one"><h2>1.1 One</h2><p>First<math><mi>x</mi>
<annotation>x_TeX</annotation></math>.</p>
<section id="two"><h3>Two</h3><p>Second.</p><pre>code</pre></section>
<p>Third.</p></section></main></body></html>"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name in ("index.html", "chapters/one.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(TOY)
    return tmp_path


def head(path: Path, name: str) -> str:
    """The content of a ``meta`` element."""
    soup = page(path)
    (tag,) = [
        *soup.select(f"meta[name='{name}']"),
        *soup.select(f"[property='{name}']"),
    ]
    return str(tag["content"])


def words_of(book: Path) -> list[dict[str, str]]:
    text = (book / "scripts" / "words.js").read_text()
    found: list[dict[str, str]] = json.loads(text.partition(" = ")[2].rstrip(";\n"))
    return found


def test_a_page_is_described(toy: Path) -> None:
    complete(toy)
    for name, up in (("index.html", ""), ("chapters/one.html", "../")):
        about = head(toy / name, "description")
        assert about.startswith('A "network" compares two sums')
        assert about.endswith(" …") and 150 < len(about) <= 200
        assert head(toy / name, "og:description") == about
        assert head(toy / name, "og:title") == "Ties & sums"
        card = head(toy / name, "og:image")
        assert card == f"{up}cards/{name.removesuffix('.html').replace('/', '-')}.png"
        assert Image.open((toy / name).parent / card).size == (1200, 630)


@pytest.mark.parametrize(
    ("title", "link", "found"),
    [
        ("One – Two", "", ("One", "Two")),
        ("One – A – B", '<a class="home" href="x">A – B</a>', ("One", "A – B")),
        (
            "O – 1 – A & x^2",
            f'<a class="home">A &amp; {FORMULA}</a>',
            ("O – 1", "A & x^2"),
        ),
        ("1 O – A – B", f"{SIDEBAR}<a href='./'>A – <em>B</em></a>", ("1 O", "A – B")),
        ("A – B", f"{SIDEBAR}<a href='./'>A – B</a>", ("A – B", "A – B")),
        ("A", "", ("A", "A")),
    ],
)
def test_titles_with_dashes(title: str, link: str, found: tuple[str, str]) -> None:
    assert titles(title, link) == found


def test_a_published_card_has_a_whole_address(toy: Path) -> None:
    complete(toy, "https://example.org/book/")
    card = head(toy / "chapters/one.html", "og:image")
    assert card == "https://example.org/book/cards/chapters-one.png"


def test_a_page_is_completed_once(toy: Path) -> None:
    complete(toy)
    first = digests(toy)
    complete(toy)
    assert digests(toy) == first
    assert (toy / "index.html").read_text().count(COMPLETE) == 1


def test_sections_are_told_apart(toy: Path) -> None:
    complete(toy)
    found = [part for part in words_of(toy) if part["href"].startswith("index")]
    assert [(part["href"], part["title"]) for part in found] == [
        ("index.html", "Ties & sums"),
        ("index.html#one", "1.1 One"),
        ("index.html#two", "Two"),
    ]
    first, second, third = (part["text"] for part in found)
    assert first.startswith("Ties & sums Short.") and first.endswith("a sigmoid.")
    # Formulas as they are read, not in TeX, and no code.
    assert (second, third) == ("1.1 One First x . Third.", "Two Second.")


def test_a_page_without_a_head_is_refused(toy: Path) -> None:
    (toy / "other.html").write_text("<main><p>no page</p></main>")
    with pytest.raises(ValueError, match=r"other\.html has no head with a title"):
        complete(toy)


def test_a_page_that_leads_elsewhere_stays_as_it_is(toy: Path) -> None:
    text = (
        "<html><head><meta http-equiv='refresh' content='0;URL=a.html'></head></html>"
    )
    (toy / "index.html").write_text(text)
    complete(toy)
    assert (toy / "index.html").read_text() == text
    assert {part["href"].partition("#")[0] for part in words_of(toy)} == {
        "chapters/one.html"
    }


def test_only_a_page_with_a_widget_loads_it(toy: Path) -> None:
    with_widget = TOY.replace("<p>Third", '<play-vit for="x"></play-vit><p>Third')
    (toy / "index.html").write_text(with_widget)
    complete(toy)

    def scripts(soup: "BeautifulSoup") -> list[str]:
        return [Path(str(tag["src"])).name for tag in soup.select("script[src]")]

    assert scripts(page(toy / "index.html"))[-2:] == ["kit.js", "vit.js"]
    assert scripts(page(toy / "chapters/one.html")) == ["scrolling.js", "search.js"]


def test_the_weights_are_those_of_the_record(toy: Path) -> None:
    complete(toy)
    text = (toy / "widgets" / WEIGHTS).read_text().split('"')[1]
    record = ROOT / "records" / "vit-small" / "weights.safetensors"
    assert base64.b64decode(text) == record.read_bytes()


def test_of_quartos_icons_those_that_are_named_are_left(toy: Path) -> None:
    libraries = toy / "site_libs" / "bootstrap"
    libraries.mkdir(parents=True)
    font = FontBuilder(1000)
    names = [".notdef", "list", "moon", "sun"]
    font.setupGlyphOrder(names)
    font.setupCharacterMap({0xF100 + k: name for k, name in enumerate(names[1:])})
    font.setupGlyf({name: TTGlyphPen(None).glyph() for name in names})
    font.setupHorizontalMetrics({name: (500, 0) for name in names})
    font.setupHorizontalHeader()
    font.setupPost()
    font.font.flavor = "woff"
    font.save(libraries / "bootstrap-icons.woff")
    rules = [
        f'.bi-{name}::before {{ content: "\\{0xF100 + k:x}"; }}'
        for k, name in enumerate(names[1:])
    ]
    (libraries / "bootstrap-icons.css").write_text("\n".join(rules))
    with pytest.raises(ValueError, match="has none of the icons"):
        complete(toy)
    (toy / "site_libs" / "quarto.js").write_text('show("bi bi-moon")')
    complete(toy)
    left = TTFont(libraries / "bootstrap-icons.woff").getBestCmap()
    assert list(left) == [0xF101]


def test_every_page_of_the_book_is_described(pages: Path) -> None:
    about = {name: head(pages / name, "description") for name in NAMES}
    assert len(set(about.values())) == len(NAMES)
    for name, text in about.items():
        assert 40 < len(text) <= 200, name
        assert head(pages / name, "og:title")
        card = head(pages / name, "og:image")
        assert ((pages / name).parent / card).resolve().is_file()


def test_problems_are_not_numbered_twice(pages: Path) -> None:
    soup = page(pages / "chapters" / "01-recurrence.html")
    assert soup.title and soup.title.get_text().startswith("Problem 1.")
    for number in soup.select("h1 .chapter-number, nav .chapter-number"):
        # A plain space at the beginning of a line takes no place.
        assert not str(number.next_sibling).startswith("\xa0")


def test_widgets_are_small() -> None:
    files = sorted((ROOT / "code" / "book" / "widgets").glob("*.js"))
    assert len(files) >= 6
    for file in files:
        assert file.stat().st_size < 12 * KB, file.name


# In a browser


def transferred(path: Path) -> int:
    """The bytes of a file as a web server sends it, which compresses text."""
    text = path.suffix in (".html", ".css", ".js", ".svg", ".json", ".map")
    data = path.read_bytes()
    return len(gzip.compress(data, 6)) if text else len(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_light(chromium: "Browser", pages: Path, name: str) -> None:
    files = set()
    with opened(chromium, pages / name) as shown:
        shown.on("request", lambda asked: files.add(asked.url))
        shown.reload()
    files = {Path(unquote(urlparse(address).path)) for address in files}
    size = sum(map(transferred, files))
    assert len(files) > 3 and not any(file.name == WEIGHTS for file in files)
    assert size < (300 if name == "index.html" else 1000) * KB, size


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_serious_is_found_by_axe(
    chromium: "Browser", pages: Path, name: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # Formulas and code, most of its time, are looked into for what concerns them.
    formulas, code = ["math"], ["pre"]
    looks: list[tuple[int, Any, Any]] = [(WIDTHS[-1], {"exclude": [formulas]}, {})]
    if scheme == "light":
        scrolls = {"runOnly": ["scrollable-region-focusable"]}
        looks.append((WIDTHS[0], {"exclude": [formulas, code]}, {}))
        looks.append((WIDTHS[0], None, scrolls))
    for width, context, options in looks:
        with opened(chromium, pages / name, scheme, width) as shown:
            shown.evaluate(
                "document.querySelectorAll('details').forEach(part => part.open = true)"
            )
            shown.wait_for_timeout(100)  # for what listens to that
            # Else it would fetch the style sheets, which it may not from the disk.
            options |= {"preload": False}
            found = Axe().run(shown, context, options).response["violations"]
        serious = [
            f"{rule['id']}: {rule['nodes'][0]['html'][:200]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == []


@pytest.mark.parametrize("name", NAMES)
def test_no_list_of_contents_is_empty(
    chromium: "Browser", pages: Path, name: str
) -> None:
    with opened(chromium, pages / name) as shown:
        for contents in shown.locator("nav.contents, nav#TOC").all():
            assert contents.locator("a").count() > 1 or not contents.is_visible()


@pytest.mark.parametrize("name", NAMES)
def test_no_page_scrolls_aside(chromium: "Browser", pages: Path, name: str) -> None:
    for width in WIDTHS:
        with opened(chromium, pages / name, width=width) as shown:
            assert fits(shown, "main"), width


@pytest.mark.parametrize("name", NAMES)
def test_figures_do_not_glare(chromium: "Browser", pages: Path, name: str) -> None:
    with opened(chromium, pages / name, "dark") as shown:
        shown.add_style_tag(content=".play { display: none !important }")
        shown.add_style_tag(content=".play-printed { display: inline !important }")
        images = shown.locator("figure img").all()
        assert images or not re.search(r"chapters/0", name)
        for image in images:
            pixels = Image.open(io.BytesIO(image.screenshot())).convert("L")
            light = sum(pixels.histogram()[205:]) / (pixels.width * pixels.height)
            assert light < 0.1, (image.get_attribute("src"), light)


def test_where_a_widget_fails_the_figure_stands(
    chromium: "Browser", tmp_path: Path
) -> None:
    complete(tmp_path)
    (tmp_path / "page.html").write_text("""<!DOCTYPE html><link rel="stylesheet"
href="widgets/kit.css"><figure id="fig-a"><img alt="A" width="9" height="9" src="">
</figure><play-a for="fig-a"><script type="application/json">{}</script></play-a>
<script src="widgets/kit.js"></script><script>play.define("a", (root, data) => {
root.append("half"); data.missing.length; });</script>""")
    with (
        pytest.raises(AssertionError, match="Cannot read properties of undefined"),
        opened(chromium, tmp_path / "page.html") as shown,
    ):
        assert shown.locator("img").is_visible()
        assert shown.locator("play-a").count() == 0
        assert "half" not in shown.locator("body").inner_text()


QUERIES = {
    "tie": ["chapters/01-recurrence.html"],
    "crossover": ["chapters/03-linear-attention.html", "chapters/02-attention.html"],
    "Q2c": ["chapters/05-sentiment.html#q2c-parameters-with-bert-frozen"],
    "confusion matrix": ["chapters/04-vision-transformer.html"],
    "softmx": ["chapters/03-linear-attention.html#why-softmax-attention-resists"],
}


@pytest.fixture
def searched(chromium: "Browser", pages: Path) -> "Iterator[Page]":
    with opened(chromium, pages / "chapters" / "02-attention.html") as shown:
        yield shown


def results(shown: "Page", query: str) -> list[str]:
    """Where the results of a query lead, from the folder of the book."""
    shown.locator("#book-search").fill(query)
    shown.locator(".book-search .count:not(:empty)").wait_for()
    found: list[Any] = shown.locator(".book-search a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    return [str(address).removeprefix("../") for address in found]


@pytest.mark.parametrize("query", QUERIES)
def test_what_a_student_would_type_is_found(searched: "Page", query: str) -> None:
    found = results(searched, query)
    for expected in QUERIES[query]:
        assert any(address.startswith(expected) for address in found[:5]), found


def test_a_result_shows_the_words_around_what_is_found(searched: "Page") -> None:
    for query in ("tie", "muon", "confusion matrix"):
        results(searched, query)
        for text in searched.locator(".book-search li").all_inner_texts():
            assert re.search(rf"(?i)(?<!\w){query.split()[0]}", text), text
    results(searched, "attention")
    count = searched.locator(".book-search .count").inner_text()
    assert re.fullmatch(r"\d+ sections, of which the first 12:", count)
    assert searched.locator(".book-search li").count() == 12


def test_the_search_needs_no_mouse(searched: "Page", pages: Path) -> None:
    assert results(searched, "zzzz") == []
    assert "Nothing is found for “zzzz”" in searched.locator(".count").inner_text()
    first, second, *_ = results(searched, "muon")
    searched.locator("#book-search").focus()
    for _ in range(2):
        searched.keyboard.press("ArrowDown")
    searched.keyboard.press("Enter")
    searched.wait_for_url(f"**/{second}")
    searched.go_back()
    results(searched, "muon")
    searched.locator("#book-search").press("Enter")
    searched.wait_for_url(f"**/{first}")


def test_all_sections_that_are_searched_are_there(pages: Path) -> None:
    found = words_of(pages)
    assert len(found) > 60
    parsed = {name: page(pages / name) for name in NAMES}
    for part in found:
        name, _, anchor = part["href"].partition("#")
        assert not anchor or parsed[name].find(id=anchor), part["href"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_paper_has_neither_menus_nor_widgets(
    chromium: "Browser", pages: Path, scheme: str
) -> None:
    with opened(chromium, pages / "chapters" / "01-recurrence.html", scheme) as shown:
        shown.emulate_media(media="print")
        for hidden in (".book-search", ".play", ".play-remark", "nav"):
            elements = shown.locator(hidden).all()
            assert elements, hidden
            for element in elements:
                assert not element.is_visible(), hidden
        assert shown.locator("#fig-unrolled img").is_visible()
