"""What ``book:`` says is shown as it is typed, in both formats, as Quarto does it."""

import os
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from conftest import page, words
from portable import RenderError
from portable.book import render
from portable.project import FIXED, read_project

# Below the title; what the formats have to say.
REST = f"""\
  output-file: small
  chapters: [index.qmd, one.qmd]
format:
  html: {{html-math-method: mathml, fig-format: svg}}
  pdf:
    documentclass: scrreprt
    pdf-engine: lualatex
    keywords: [cats & dogs, 'C#', 50% of a_b]
    fig-format: pdf
    fig-pos: "{FIXED["format", "pdf", "fig-pos"]}"
"""
PROJECT = "project: {type: book, output-dir: _book, execute-dir: project}\n"

HARD = r"""book:
  title: 'A & B # C_d 50% x^2 ~ {e} "q" it''s $x^2$ *em* `a<b` < 3 -- end... \& no'
  subtitle: 'Sub & *em* #1 $y_1$'
  author:
    - 'Ada & Bob_x #1 {c} 50% ~ ^ "q" $'
    - name: Grace *Hopper*
    - name: {given: Alan, family: Turing}
  date: 25 March 2024
"""
# What Quarto 1.10 shows of these; of the formula, its words.
TITLE = "A & B # C_d 50% x^2 ~ {e} “q” it’s x2 em a<b < 3 – end… & no"
PLAIN = TITLE.replace("x2", "x^2")  # where a formula can only be its TeX
SUBTITLE = "Sub & em #1 y1"
AUTHORS = ["Ada & Bob_x #1 {c} 50% ~ ^ “q” $", "Grace Hopper", "Alan Turing"]


def write_book(root: Path, book: str, rest: str = REST) -> Path:
    (root / "_quarto.yml").write_text(PROJECT + book + rest)
    (root / "index.qmd").write_text("# Preface {.unnumbered}\n\nHello.\n")
    (root / "one.qmd").write_text("# The first\n\nText.\n")
    return root


def titled(root: Path, line: str) -> Path:
    """A book with a line of ``book:``."""
    title = "" if line.startswith("title:") else "  title: T\n"
    return write_book(root, f"book:\n{title}  {line}\n")


def said(element: Tag) -> str:
    """The words of an element, without the TeX of its formulas."""
    copy = BeautifulSoup(str(element), "html.parser")
    for tex in copy.select("annotation"):
        tex.decompose()
    return words(copy.get_text())


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_book(tmp_path_factory.mktemp("hard"), HARD)
    render(root, ["html", "pdf"])
    return root / "_book"


def test_title_block_of_the_first_page(hard: Path) -> None:
    home = page(hard / "index.html")
    shown = {
        name: [said(found) for found in home.select(f".title .{name}")]
        for name in ("book", "subtitle", "author", "date")
    }
    assert shown == {
        "book": [TITLE],
        "subtitle": [SUBTITLE],
        "author": AUTHORS,
        "date": ["March 25, 2024"],
    }
    assert home.select(".title .book em") and home.select(".title .book math")
    assert "Authors: Ada" in home.select(".title")[0].get_text()
    assert not page(hard / "one.html").select(".title")


def test_head_and_menu(hard: Path) -> None:
    home, one = page(hard / "index.html"), page(hard / "one.html")
    for soup, title in ((home, "Preface"), (one, "The first")):
        assert soup.title and soup.title.string == f"{title} – {PLAIN}"
        assert [said(link) for link in soup.select(".bar .home")] == [TITLE]
    metas = [meta["content"] for meta in home.select('meta[name="author"]')]
    assert metas == AUTHORS
    assert home.select('meta[name="dcterms.date"][content="2024-03-25"]')


def test_title_page_and_metadata_of_the_pdf(hard: Path) -> None:
    reader = PdfReader(hard / "small.pdf")
    shown = words(reader.pages[0].extract_text())
    for text in (TITLE, SUBTITLE, *AUTHORS, "2024-03-25"):
        assert text in shown.translate({0x1D465: "x", 0x1D466: "y"})
    about = reader.metadata
    assert about and about.title == PLAIN.replace("“q”", "``q''").replace("’", "'")
    assert about.author == "; ".join(AUTHORS).replace("“q”", "``q''")
    assert str(about["/Keywords"]) == "cats & dogs, C#, 50% of a_b"


@pytest.mark.skipif(not shutil.which("quarto"), reason="quarto is not on the PATH")
def test_quarto_shows_the_same(
    tmp_path: Path, hard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_book(tmp_path, HARD)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    done = subprocess.run(
        ["quarto", "render"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    home = page(root / "_book/index.html")
    block = home.select("#title-block-header")[0]
    assert [said(of) for of in block.select("h1, .subtitle")] == [TITLE, SUBTITLE]
    shown = [said(of) for of in block.select(".quarto-title-meta-contents p")]
    assert shown == [*AUTHORS, "March 25, 2024"]
    assert said(home.select(".sidebar-title a")[0]) == TITLE
    assert home.title and home.title.string == PLAIN
    metas = [meta["content"] for meta in home.select('meta[name="author"]')]
    assert metas == AUTHORS
    one, other = (PdfReader(of / "small.pdf") for of in (root / "_book", hard))
    about, same = one.metadata, other.metadata
    assert about and same
    for key in ("/Title", "/Author"):
        assert about[key] == same[key]
    texts = [words(of.pages[0].extract_text()) for of in (one, other)]
    assert texts[0] == texts[1]


# Each value by itself. Quarto 1.10 shows these as they are typed, too, but takes those
# marked for a number or a truth value, and refuses them.
TYPED = ["No", "yes", "off", "12:30", "2024-03-25", "1_000", "0o17x", "=", "a: b"]
REFUSED_BY_QUARTO = ["012345", "1.50", "1e3", "0x1F", "true", ".inf"]


@pytest.mark.parametrize("value", [*TYPED, *REFUSED_BY_QUARTO])
def test_values_are_as_typed(tmp_path: Path, value: str) -> None:
    quoted = f"'{value}'" if ": " in value else value
    book = read_project(titled(tmp_path, f"title: {quoted}")).book
    assert book["title"] == value
    author = read_project(titled(tmp_path, f"author: {quoted}")).book["author"]
    assert author == [value]


def test_values_are_as_typed_on_the_page(tmp_path: Path) -> None:
    root = write_book(
        tmp_path, "book:\n  title: 012345\n  subtitle: No\n  author: [12:30, 1.50]\n"
    )
    render(root, ["html"])
    title = page(root / "_book/index.html").select(".title")[0]
    assert words(title.get_text()) == "012345 No Authors: 12:30, 1.50"


@pytest.mark.parametrize(
    ("author", "shown"),
    [
        ("Ada & Co", "Author: Ada & Co"),
        ("'- Ada'", "Author: - Ada"),
        ("|\n    Ada\n\n    Lovelace\n", "Author: Ada Lovelace"),
        ("[Ada]", "Author: Ada"),
        ("{name: Ada}", "Author: Ada"),
        ("[Ada, {name: Bob}]", "Authors: Ada, Bob"),
        # To Quarto, too, this is one name.
        (
            "Ada Lovelace and Bob Miller, Carl",
            "Author: Ada Lovelace and Bob Miller, Carl",
        ),
    ],
)
def test_forms_of_authors(tmp_path: Path, author: str, shown: str) -> None:
    root = titled(tmp_path, f"author: {author}")
    render(root, ["html"])
    title = page(root / "_book/index.html").select(".title")[0]
    assert words(title.get_text()) == f"T {shown}"


@pytest.mark.parametrize(
    ("typed", "language", "shown"),
    [
        ("2024-03-25", "en", "March 25, 2024"),
        ("2024-3-5", "en", "March 5, 2024"),
        ("03/25/2024", "en", "March 25, 2024"),
        ("March 25, 2024", "en-US", "March 25, 2024"),
        ("25 March 2024", "en-GB", "25 March 2024"),
        ("5 Mar 2024", "en", "March 5, 2024"),
        ("last-modified", "en", "February 1, 2021"),
    ],
)
def test_forms_of_dates(tmp_path: Path, typed: str, language: str, shown: str) -> None:
    root = titled(tmp_path, f"date: {typed}")
    with (root / "_quarto.yml").open("a") as file:
        file.write(f"lang: {language}\n")
    os.utime(root / "index.qmd", (1_000_000_000, 1_000_000_000))
    os.utime(root / "one.qmd", (1_612_180_800, 1_612_180_800))
    render(root, ["html"])
    (found,) = page(root / "_book/index.html").select(".title .date")
    assert found.string == shown


@pytest.mark.parametrize("typed", ["today", "now"])
def test_today_is_that_of_the_clock(tmp_path: Path, typed: str) -> None:
    """As Quarto's, and not the day of the last commit, of which figures are."""
    before = date.today()
    root = titled(tmp_path, f"date: {typed}")
    render(root, ["html"])
    (found,) = page(root / "_book/index.html").select('meta[name="dcterms.date"]')
    assert before.isoformat() <= str(found["content"]) <= date.today().isoformat()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("title:", "_quarto.yml:3: book.title is empty, expected text"),
        ("title: ''", "_quarto.yml:3: book.title is empty, expected text"),
        ("title: ~", "_quarto.yml:3: book.title is empty, expected text"),
        ("title: [a, b]", "_quarto.yml:3: book.title is a list, expected text"),
        ("title: {a: b}", "_quarto.yml:3: book.title is a mapping, expected text"),
        ("title: A <b>x</b>", "_quarto.yml:3: raw html is not supported: <b>"),
        (r"title: A \LaTeX", r"_quarto.yml:3: raw tex is not supported: \LaTeX"),
        ("title: '{{< meta a >}}'", "_quarto.yml:3: book.title has a shortcode"),
        ("subtitle:", "_quarto.yml:4: book.subtitle is empty"),
        ("author:", "_quarto.yml:4: book.author is empty"),
        ("author: []", "_quarto.yml:4: book.author is empty"),
        ("author: [Ada, '']", "_quarto.yml:4: book.author is empty"),
        ("author: {name: A, email: b}", "_quarto.yml:4: book.author.email is not supp"),
        ("author: {name: {literal: A}}", "_quarto.yml:4: book.author.name has literal"),
        # Quarto shows "Invalid Date" for the first, and January 1, 2024 for the second.
        ("date: spring term", "_quarto.yml:4: book.date is 'spring term', expected "),
        ("date: Spring 2024", "_quarto.yml:4: book.date is 'Spring 2024', expected "),
        ("date: 25.03.2024", "_quarto.yml:4: book.date is '25.03.2024', expected "),
        ("date: 2024", "_quarto.yml:4: book.date is '2024', expected today"),
        ("date: [today]", "_quarto.yml:4: book.date is a list, expected text"),
        ("date-format: full", "_quarto.yml:4: book.date-format is not supported"),
        ("title: T\n  title: U", "_quarto.yml:4: book.title is there twice"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(RenderError, match=re.escape(message)):
        render(titled(tmp_path, line), ["html"])


def test_a_book_without_a_title_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"_quarto\.yml: the book has no title"):
        read_project(write_book(tmp_path, "book:\n"))


def test_another_language_is_refused(tmp_path: Path) -> None:
    root = titled(tmp_path, "subtitle: x")
    with (root / "_quarto.yml").open("a") as file:
        file.write("lang: no\n")
    with pytest.raises(RenderError, match="lang is 'no', supported are en, en-US and"):
        read_project(root)


@pytest.mark.parametrize(
    ("title", "file", "name"),
    [
        ("A & B's: *C*", "", "A---B-s---C-.pdf"),
        ("T", "  output-file: Ada Lovelace_50% ü\n", "Ada-Lovelace_50%-ü.pdf"),
        ("T", "  output-file: 01234\n", "01234.pdf"),
    ],
)
def test_name_of_the_pdf(tmp_path: Path, title: str, file: str, name: str) -> None:
    """Quarto's."""
    rest = REST.replace("  output-file: small\n", file)
    root = write_book(tmp_path, f'book:\n  title: "{title}"\n', rest)
    assert read_project(root).pdf_name == name
    if "%" in name:
        render(root, ["html", "pdf"])
        assert (root / "_book" / name).is_file()
        (link,) = page(root / "_book/one.html").select('.downloads a[href$="pdf"]')
        assert link["href"] == "Ada-Lovelace_50%25-%C3%BC.pdf"
