"""Writes ``answers.json`` beside the rendered book: every answer, for machines to read.

It reads the page "Answers at a glance" as a reader does: the table rows under the
heading of each problem, with the link to the place where the answer stands, and finds
the page of that place in the PDF. Quarto and ``portable`` run it after rendering, with
the book's folder in the variable ``QUARTO_PROJECT_OUTPUT_DIR``, and
``QUARTO_PROJECT_RENDER_ALL`` where that was the whole book, not a page of it.
"""

import json
import os
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader
from pypdf.generic import Destination


def answers(book: Path) -> list[dict[str, Any]]:
    """An entry for each row of the answers page in the folder ``book``.

    Keys: ``question``; ``problem``, its number; ``points``, of the question where the
    assignment gives it points of its own; ``problem_points``; ``answer``, formulas in
    LaTeX between dollars; ``anchor``, a link within the HTML book; ``page``, in the
    PDF, None without one; ``records``, the names of the runs that it rests on. Raises
    ``ValueError`` where a row lacks one of these.
    """
    main = BeautifulSoup((book / "report.html").read_text(), "html.parser").main
    if not main:
        raise ValueError(f"{book / 'report.html'} has no main part")
    for element in main.select(".notebook"):  # a link that the PDF has not
        element.decompose()
    for formula in main.select("math"):
        tex = formula.select_one("annotation")
        formula.replace_with(f"${tex.text if tex else formula.text}$")
    links = [str(link["href"]) for link in main.select("td a[href]")]
    page_of = _pages(book / "report.pdf", links)
    entries = []
    for heading in main.select("h2"):
        number, whole, parts = _points(heading.get_text())
        table = heading.find_next("table")
        if not table:
            raise ValueError(f"no table follows {heading.get_text()!r}")
        for row in table.select("tbody tr"):
            question, answer, place = row.find_all("td")
            name, link = _text(question), place.find("a")
            if not isinstance(link, Tag) or not _text(answer):
                raise ValueError(f"question {name} has no answer, or leads nowhere")
            records = [code.get_text() for code in place.find_all("code")]
            anchor = str(link["href"]).removeprefix("./")
            entries.append(
                {
                    "question": name,
                    "problem": number,
                    "points": whole if name == str(number) else parts.get(name[-1]),
                    "problem_points": whole,
                    "answer": _text(answer),
                    "anchor": anchor,
                    "page": page_of[str(link["href"])],
                    "records": records,
                }
            )
    return entries


def _points(heading: str) -> tuple[int, int, dict[str, float]]:
    """Number and points of "Problem 2. Title (3 points: a 0.5, b 2, c 0.5)"."""
    found = re.search(
        r"Problem (\d+)\..*\((\d+) points(?:: (.*))?\)", _one_line(heading)
    )
    if not found:
        raise ValueError(f"heading {heading!r} has no number and points of a problem")
    parts = dict(re.findall(r"([a-z]) ([\d.]+)", found[3] or ""))
    return int(found[1]), int(found[2]), {name: float(p) for name, p in parts.items()}


def _text(tag: Tag) -> str:
    return _one_line(tag.get_text())


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _pages(pdf: Path, links: list[str]) -> dict[str, int | None]:
    """The pages of the PDF that the links of the answers page lead to.

    The chapter of the PDF has the same links in the same order, but for those that are
    broken over two lines, which it has twice.
    """
    if not pdf.exists():
        return dict.fromkeys(links)
    reader = PdfReader(pdf)
    chapters = [item for item in reader.outline if isinstance(item, Destination)]
    starts = [reader.get_destination_page_number(chapter) or 0 for chapter in chapters]
    titles = [_one_line(str(chapter.title)) for chapter in chapters]
    here = titles.index("Answers at a glance")
    names = [
        annotation.get_object()["/A"]["/D"]
        for sheet in reader.pages[starts[here] : starts[here + 1]]
        for annotation in sheet.get("/Annots", [])
        if "/D" in annotation.get_object().get("/A", {})
    ]
    once, there = ([item for item, _ in groupby(items)] for items in (links, names))
    if len(once) != len(there):
        raise ValueError(
            f"the answers have {len(once)} links in HTML and {len(there)} in the PDF"
        )
    numbers = [
        reader.get_destination_page_number(reader.named_destinations[name])
        for name in there
    ]
    return {
        link: number + 1
        for link, number in zip(once, numbers, strict=True)
        if number is not None
    }


if __name__ == "__main__":
    book = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
    # Not after a page alone, which the PDF may not fit, nor after the PDF alone.
    if "QUARTO_PROJECT_RENDER_ALL" in os.environ and (book / "report.html").exists():
        text = json.dumps(answers(book), indent=1, ensure_ascii=False)
        (book / "answers.json").write_text(text + "\n")
