"""The book by Quarto and by ``portable`` says the same. Skipped where Quarto is not."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff
from functools import cache
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from book import places
from conftest import (
    ROOT,
    bookmarks,
    copied,
    digests,
    git,
    lost_links,
    page,
    pdf_text,
    remote_requests,
    words,
)
from portable.project import read_project
from portable.quarto import render_with_quarto

pytestmark = pytest.mark.skipif(
    not shutil.which("quarto"), reason="quarto is not on the PATH"
)
PAGES = [source.removesuffix(".qmd") for source in read_project(ROOT).sources]


def test_quarto_warns_of_nothing(log: str) -> None:
    lines = re.sub(r"'(fig|tbl)-[\w-]+'", "", log).splitlines()  # but labels of cells
    assert [line for line in lines if re.search("warn|error", line, re.I)] == []


def test_nothing_is_left_beside_the_book(clone: Path, log: str) -> None:
    status = git(clone, "status", "--porcelain", "--ignored").splitlines()
    kept = ["!! .portable/", "!! .quarto/", "!! _book/", "!! _freeze/"]
    assert [line for line in status if line[1] != " "] == kept


def test_each_chapter_is_executed_once(log: str) -> None:
    """Before rendering; the notebooks are of what was kept, and Quarto runs no cell."""
    sources = read_project(ROOT).sources
    for source in set(sources) - {"references.qmd"}:  # which has no cell
        how = re.findall(rf"\] {source} (\d+\.\d s|as kept)$", log, re.MULTILINE)
        assert len(how) == 2 and how[0] != "as kept" and how[1] == "as kept", source
    assert "Executing" not in log and "Starting python3 kernel" not in log


def test_quartos_pages_are_whole(by_quarto: Path) -> None:
    assert lost_links(by_quarto) == []
    assert remote_requests(by_quarto) == []
    for name in PAGES:
        path = by_quarto / f"{name}.html"
        (notebook,) = page(path).select(".notebook a")
        assert (path.parent / str(notebook["href"])).is_file()
        assert page(path).select("a[href$='report.pdf']")


# What is compared


def shown(path: Path) -> Tag:
    """What a page says, without the frame around it and what is a matter of looks."""
    main = BeautifulSoup(path.read_text(), "html.parser").select_one("main")
    assert main
    frame = "nav, button, .notebook, .title:not(h1), annotation, details > summary"
    hidden = "[style*='display: none']"  # the references, on every page of Quarto's
    book_title = "#title-block-header" if path.name == "index.html" else "no-element"
    for element in main.select(f"{frame}, {hidden}, {book_title}"):
        element.decompose()
    for link in main.select("a[href]"):  # one to a chapter may name its heading or not
        href = str(link["href"]).removeprefix("./")
        file, _, label = href.partition("#")
        link["href"] = file if label and begins(path.parent / file, label) else href
    return main


@cache
def begins(path: Path, label: str) -> bool:
    """Whether a label is that of the first heading of a page."""
    place = page(path).find(id=label) if path.is_file() else None
    return isinstance(place, Tag) and bool(
        place.select("h1") or place.find_parent("h1")
    )


def said(element: Tag) -> str:
    """The words of an element, in the spelling that both renderings are brought to."""
    text = words(element.get_text().replace("\u2060", "").replace("\u200b", ""))
    return re.sub(r"(Appendix [A-Z]) — ", r"\1 ", text)


def texts(selector: str) -> Callable[[Tag], list[str]]:
    return lambda main: [said(element) for element in main.select(selector)]


def links(main: Tag) -> list[str]:
    return [
        f"{said(link)} -> {link['href']}" for link in main.select("a[href]:not(pre a)")
    ]


def numbered(main: Tag) -> list[str]:
    """The labels of the equations, with their numbers."""
    found = []
    for place in main.select("[id^='eq-']"):
        number = re.findall(r"\(([A-Z\d]+\.\d+)\)", place.get_text())
        found.append(f"{place['id']} {number}")
    return found


def pictures(main: Tag) -> list[str]:
    return [words(str(image.get("alt"))) for image in main.select("img")]


KINDS: dict[str, Callable[[Tag], list[str]]] = {
    "headings": texts("h1, h2, h3, h4"),
    "captions": texts("figcaption"),
    "equations": numbered,
    "theorems": texts(".theorem-title"),
    "links": links,
    "citations": texts(".citation"),
    "references": texts(".csl-entry"),
    "code": texts("pre"),
    "tables": texts("td, th"),
    "prose": texts("p, li, blockquote"),
    "pictures": pictures,
}


def lines_of(book: Path, name: str) -> Iterator[str]:
    main = shown(book / f"{name}.html")
    for kind, find in KINDS.items():
        for text in find(main):
            yield f"{kind}: {text}"


@pytest.mark.parametrize("name", PAGES)
def test_both_say_the_same(by_quarto: Path, book: Path, name: str) -> None:
    one, other = (list(lines_of(folder, name)) for folder in (by_quarto, book))
    assert len(one) > 5
    different = "\n".join(unified_diff(one, other, "quarto", "portable", n=0))
    assert one == other, different


def test_both_pdfs_say_the_same(by_quarto: Path, book: Path) -> None:
    readers = [PdfReader(folder / "report.pdf") for folder in (by_quarto, book)]
    one, other = (bookmarks(reader) for reader in readers)
    assert [title for title in one if title != "Appendices"] == other  # a part
    label = r"\b(?:Figure|Table|Theorem|Lemma|Corollary|Proposition) [A\d]\.\d+"
    found, same = (set(re.findall(label, pdf_text(reader))) for reader in readers)
    assert found == same and len(found) > 20


def test_both_pdfs_have_the_same_pages(by_quarto: Path, book: Path) -> None:
    """Each section begins on the same page, and each page has the same words."""
    one, other = (folder / "report.pdf" for folder in (by_quarto, book))
    begins = [
        [(section.title, section.start.page) for section in places.read(pdf).sections]
        for pdf in (one, other)
    ]
    assert [start for start in begins[0] if start[0] != "Appendices"] == begins[1]
    for number, sheets in enumerate(
        zip(PdfReader(one).pages, PdfReader(other).pages, strict=True), 1
    ):
        found, same = (set(re.findall(r"\w+", of.extract_text())) for of in sheets)
        assert len(found ^ same) <= 3, f"page {number}: {sorted(found ^ same)}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that Quarto renders with nothing handed to it, executing all by itself."""
    folder = copied(tmp_path_factory.mktemp("alone"))
    options = folder / "_quarto.yml"
    text = options.read_text()
    handing = "  pre-render: code/book/executed.py\n"
    assert handing in text
    options.write_text(text.replace(handing, ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW2_TRAIN", "never")
        patch.setenv("PYTHONPATH", str(folder / "code"))
        patch.setenv("SOURCE_DATE_EPOCH", "0")
        render_with_quarto(folder)
    return folder


def test_what_is_handed_over_is_what_quarto_would_execute(
    clone: Path, log: str, alone: Path
) -> None:
    names = [path.relative_to(alone) for path in alone.glob("_freeze/**/*.json")]
    assert len(names) == 2 * (len(PAGES) - 1)  # HTML and PDF of each but references
    for name in names:
        handed, own = (json.loads((root / name).read_text()) for root in (clone, alone))
        assert handed["hash"] == own["hash"]
        one, other = (of["result"].pop("markdown") for of in (handed, own))
        assert blocks(one) == blocks(other), name
        own["result"].pop("includes", None)
        assert handed["result"] == own["result"]


def blocks(markdown: str) -> list[str]:
    """Markdown without empty lines and random identifiers."""
    text = re.sub(r"#[0-9a-f]{8} \.cell", ".cell", markdown)
    return [line for line in text.splitlines() if line.strip()]


def test_the_same_files_give_the_same_bytes(by_quarto: Path, alone: Path) -> None:
    """In another folder, and whether Quarto executes the cells or is handed them.

    But for pixels in figures, of which Quarto has its own number to an inch.
    """
    one, other = digests(alone / "_book"), digests(by_quarto)
    assert one.keys() == other.keys() and len(one) > 50
    different = {Path(name) for name in one if one[name] != other[name]}
    figures = different - {Path("report.pdf")}  # which has some of them
    assert figures < {path.relative_to(by_quarto) for path in by_quarto.rglob("*.svg")}
    for name in figures:
        texts = [(folder / name).read_text() for folder in (alone / "_book", by_quarto)]
        drawn, same = (
            re.sub('<image [^>]*>|"data:image/png[^"]*"', "", t) for t in texts
        )
        assert drawn == same, name


def test_a_chapter_alone_is_executed_by_quarto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path / "copy")
    monkeypatch.setenv("PYTHONPATH", str(folder / "code"))
    monkeypatch.setenv("QUARTO_PYTHON", sys.executable)
    command = ["quarto", "render", "chapters/02-attention.qmd", "--to", "html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "as kept" not in done.stdout + done.stderr
    assert page(folder / "_book/chapters/02-attention.html").select("figure img")
