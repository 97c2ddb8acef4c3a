"""The PDF is the hand-in: short, complete by itself, numbered as the HTML book."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
import yaml
from pypdf import PdfReader
from pypdf.generic import Destination

from book import checks
from book.variables import FIELDS, Variables, cover, read
from conftest import ROOT, bookmarks, page, words
from portable.chapter import REFERENCES
from portable.pandoc import pandoc
from portable.project import read_project

SOURCES = read_project(ROOT).sources
LABEL = rf"(?:{'|'.join(REFERENCES)})-[\w-]+"
HTML_ONLY = '::: {.content-visible when-format="html"}'
# A block that only HTML shows, without headings and labels, in which a widget is made.
WIDGET = re.compile(
    rf"^{re.escape(HTML_ONLY)}$(?:(?!^#+ |^:::|label: |\{{#)[\s\S])*?"
    r"\.playable\w*\((?:(?!^#+ |^:::|label: |\{#)[\s\S])*?^:::$",
    re.MULTILINE,
)
KINDS = "Figure|Table|Theorem|Lemma|Corollary|Proposition|Definition"


@pytest.fixture(scope="module")
def pdf(book: Path) -> PdfReader:
    return PdfReader(book / "report.pdf")


def parts(source: str) -> tuple[str, str]:
    """A chapter as both readers see it, and what only the HTML book has at its end.

    What puts a widget into the place of a figure is in neither.
    """
    both, _, html = WIDGET.sub("", (ROOT / source).read_text()).partition(HTML_ONLY)
    return both, html


def labels(text: str) -> set[str]:
    return set(re.findall(rf"(?:label: |\{{#)({LABEL})", text))


def references(text: str) -> list[str]:
    linked = re.findall(r"\.qmd#([\w-]+)", text)
    return linked + re.findall(rf"@({LABEL})", text)


@pytest.mark.parametrize("source", SOURCES)
def test_what_only_html_shows_comes_last(source: str) -> None:
    text = WIDGET.sub("", (ROOT / source).read_text())
    assert text.count("content-visible") + text.count("content-hidden") <= 1
    if HTML_ONLY in text:
        assert text.rstrip().endswith("\n:::")
        inside = parts(source)[1]
        opened = len(re.findall(r"^::: +\S", inside, re.M))
        closed = len(re.findall(r"^:::$", inside, re.M))
        assert closed == opened + 1, "something stands after what only HTML shows"


@pytest.mark.parametrize("source", SOURCES)
def test_what_both_show_refers_to_nothing_hidden(source: str) -> None:
    hidden = {label for other in SOURCES for label in labels(parts(other)[1])}
    assert len(hidden) > 20
    assert [name for name in references(parts(source)[0]) if name in hidden] == []


def test_it_can_be_read_in_ten_minutes(pdf: PdfReader) -> None:
    assert len(pdf.pages) <= 30


def test_every_page_says_whose_it_is_and_its_number(pdf: PdfReader) -> None:
    about = read(ROOT)
    for number, sheet in enumerate(pdf.pages, 1):
        head = words(sheet.extract_text())[:200]
        for text in (about.author, about.netid, about.homework, f"Page {number}"):
            assert text in head, (number, head)


def test_page_1_says_what_it_is_and_answers(pdf: PdfReader) -> None:
    text = words(pdf.pages[0].extract_text())
    about = read(ROOT)
    expected = [about.author, about.netid, about.course, about.homework, about.due]
    for word in [*expected, "Collaborators", "Answers at a glance", "Problem 1"]:
        assert word in text, word


def test_each_problem_begins_on_a_page_of_its_own(pdf: PdfReader) -> None:
    problems = [
        item
        for item in pdf.outline
        if isinstance(item, Destination) and str(item.title).startswith("Problem ")
    ]
    assert [str(item.title)[:9] for item in problems] == [
        f"Problem {number}" for number in range(1, 6)
    ]
    for item in problems:
        number = pdf.get_destination_page_number(item)
        assert number is not None
        _, _, rest = words(pdf.pages[number].extract_text()).partition(
            f"Page {number + 1} "
        )
        assert rest.startswith(words(str(item.title)))


def test_each_item_of_the_notebook_has_a_bookmark(pdf: PdfReader) -> None:
    found = [re.match(r"Q\d[a-d]?", title) for title in bookmarks(pdf)]
    names = [match[0] for match in found if match]
    items = "Q1 Q1a Q1b Q2 Q2a Q2b Q2c Q3 Q3a Q3b Q3c Q3d Q4 Q4a Q4b"
    assert names == items.split()


def test_numbers_are_those_of_the_html_book(book: Path, pdf: PdfReader) -> None:
    """Each figure, table and theorem of the PDF has the number that HTML gives it."""
    here = [words(sheet.extract_text()) for sheet in pdf.pages]
    compared = 0
    for source in SOURCES:
        shown = page(book / source.replace(".qmd", ".html"))
        for label in labels(parts(source)[0]):
            if not re.match("fig|tbl|thm|lem|cor|prp|def", label):
                continue
            element = shown.find(id=label)
            assert element, label
            caption = element.find("figcaption") or element
            text = words(caption.get_text())
            match = re.match(rf"(?:{KINDS}) [A-Z\d]\.\d+", text)
            assert match, text
            # Formulas are written in other ways: the words before the first of them.
            plain = re.match(r"[\w ,’-]*", text[match.end() :].lstrip(" :(."))
            begins = " ".join(plain[0].split()[:2]) if plain else ""
            pattern = re.escape(match[0]) + r"[ :(.]+" + re.escape(begins)
            assert any(re.search(pattern, sheet) for sheet in here), text
            compared += 1
    assert compared > 25


def test_nothing_that_only_html_shows_is_in_the_pdf(pdf: PdfReader) -> None:
    marks = bookmarks(pdf)
    for source in SOURCES:
        for heading in re.findall(r"^##+ (.*?)(?: \{.*\})?$", parts(source)[1], re.M):
            assert heading not in marks, heading


def filled(path: Path) -> Iterator[float]:
    """How far down each page of a PDF is filled, as a fraction of the page."""
    for sheet in pypdfium2.PdfDocument(path):
        rows = np.asarray(sheet.render(scale=0.5).to_pil().convert("L")).min(axis=1)
        yield float(np.flatnonzero(rows < 200).max()) / len(rows)


def test_no_page_is_a_third_empty_but_the_last_of_a_problem(
    book: Path, pdf: PdfReader
) -> None:
    starts = {
        pdf.get_destination_page_number(item)
        for item in pdf.outline
        if isinstance(item, Destination)
    }
    last = len(pdf.pages) - 1
    for number, down in enumerate(filled(book / "report.pdf")):
        if number != last and number + 1 not in starts:
            assert down > 2 / 3, f"page {number + 1} is filled down to {down:.0%}"


PAPERS = {"a4": (595.3, 841.9), "letter": (612.0, 792.0)}


@pytest.mark.parametrize("paper", PAPERS)
def test_the_pages_are_the_same_on_either_paper(paper: str) -> None:
    """The size of the text does not depend on the paper, and fits on it."""
    geometry = read_project(ROOT).format("pdf")["geometry"]
    assert [option.partition("=")[0] for option in geometry] == [
        *("textwidth", "textheight", "vmarginratio")
    ]
    margins = checks.margins(geometry, *PAPERS[paper])
    assert len(margins) == 4 and min(margins.values()) > 10 * 72 / 25.4  # 10 mm


def test_the_paper_is_the_one_that_is_asked_for(pdf: PdfReader) -> None:
    width, height = PAPERS[read_project(ROOT).format("pdf")["papersize"]]
    for sheet in pdf.pages:
        box = sheet.mediabox
        assert abs(box.width - width) < 1 and abs(box.height - height) < 1


def test_it_says_what_it_is_to_machines(pdf: PdfReader) -> None:
    about, says = read(ROOT), pdf.metadata
    assert says
    assert says.title == read_project(ROOT).book["title"]
    assert says.author == about.author
    assert says.subject == f"{about.course}, {about.homework}"
    assert "attention" in str(says.get("/Keywords"))
    assert str(pdf.root_object["/Lang"]) == "en"


def test_every_figure_has_its_description(pdf: PdfReader) -> None:
    expected = [
        str(yaml.safe_load(described))
        for source in SOURCES
        for described in re.findall(r"^#\| fig-alt: (.*)$", parts(source)[0], re.M)
    ]
    streams = [sheet.get_contents() for sheet in pdf.pages]
    found = [
        str(operands[1]["/Alt"])
        for stream in streams
        if stream is not None
        for operands, operator in stream.operations
        if operator == b"BDC" and "/Alt" in operands[1]
    ]
    # LaTeX writes an apostrophe or a minus in its own way.
    plain = [[re.sub(r"\W", "", text) for text in kind] for kind in (found, expected)]
    assert sorted(plain[0]) == sorted(plain[1]) and len(found) > 10


# Names


HOSTILE = {
    "author": r"José O'Neill-Łuk \input{x} & 100%_#1 ~^ $x$",
    "netid": "0123",
    "course": '"Deep" <b>Learning</b> {{< var x >}}',
    "homework": "*Homework* @fig-x 2: `{python} 1/0`",
    "due": "2024-03-25",
}


def test_names_are_shown_as_written_and_are_no_code() -> None:
    about = Variables(**HOSTILE, collaborators=("Ann & Bob", r"\C_{d}"))
    arguments = ["--from=markdown", "--metadata=title=T"]
    html = words(pandoc([*arguments, "--to=plain", "--wrap=none"], cover(about)))
    tex = pandoc(
        [*arguments, "--to=latex", f"--lua-filter={ROOT / 'code/book/pdf.lua'}"],
        cover(about),
    )
    for name in FIELDS:
        texts = about.collaborators if name == "collaborators" else [HOSTILE[name]]
        for text in texts:
            assert text in html
    for raw in (r"\input{", " & ", "100%", "$x$", "_{", " #"):
        assert raw not in tex, raw
    assert r"\textbackslash" in tex and "0123" in tex
