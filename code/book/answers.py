"""Writes ``answers.json`` beside the rendered book: every answer, for machines to read.

It reads the page "Answers at a glance" as a reader does: the table rows under the
heading of each problem, with the links to where the answer stands, and finds its pages
in the PDF. Quarto and ``portable`` run it after rendering, with the book's folder in
the variable ``QUARTO_PROJECT_OUTPUT_DIR``, and ``QUARTO_PROJECT_RENDER_ALL`` where that
was the whole book, not a page of it.
"""

import json
import os
import re
from itertools import islice
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag

from book import places


def answers(book: Path) -> list[dict[str, Any]]:
    """An entry for each row of the answers page in the folder ``book``.

    Keys: ``question``; ``problem``, its number; ``points``, of the question where the
    assignment gives it points of its own; ``problem_points``; ``answer``, formulas in
    LaTeX between dollars; ``anchor``, a link within the HTML book; ``page``, that this
    link leads to in the PDF, and ``pages``, the first and the last of the answer, both
    None without a PDF; ``records``, the names of the runs that it rests on. Raises
    ``ValueError`` where a row lacks one of these.
    """
    main = BeautifulSoup(
        (book / "report.html").read_text(encoding="utf-8"), "html.parser"
    ).main
    if not main:
        raise ValueError(f"{book / 'report.html'} has no main part")
    for formula in main.select("math"):
        tex = formula.select_one("annotation")
        formula.replace_with(f"${tex.text if tex else formula.text}$")
    pdf = book / "report.pdf"
    found = places.read(pdf) if pdf.exists() else None
    links = main.select("tbody td:last-child a[href]")
    leads = iter(found.matched([_text(link) for link in links]) if found else [])
    entries = []
    for heading in main.select("h2"):
        number, whole, parts = _points(heading.get_text())
        table = heading.find_next("table")
        if not table:
            raise ValueError(f"no table follows {heading.get_text()!r}")
        for row in table.select("tbody tr"):
            question, answer, place = row.find_all("td")
            name, links = _text(question), place.select("a[href]")
            if not links or not _text(answer):
                raise ValueError(f"question {name} has no answer, or leads nowhere")
            whole_problem = name == str(number)
            there = list(islice(leads, len(links)))
            records = [code.get_text() for code in place.find_all("code")]
            anchor = str(links[0]["href"]).removeprefix("./")
            entries.append(
                {
                    "question": name,
                    "problem": number,
                    "points": whole if whole_problem else parts.get(name[-1]),
                    "problem_points": whole,
                    "answer": _text(answer),
                    "anchor": anchor,
                    "page": there[0].page if found else None,
                    "pages": found.range(there, whole_problem) if found else None,
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


if __name__ == "__main__":
    book = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
    # Not after a page alone, which the PDF may not fit, nor after the PDF alone.
    if "QUARTO_PROJECT_RENDER_ALL" in os.environ and (book / "report.html").exists():
        text = json.dumps(answers(book), indent=1, ensure_ascii=False)
        (book / "answers.json").write_text(text + "\n", encoding="utf-8")
