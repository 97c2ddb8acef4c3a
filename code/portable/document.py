"""Makes one document of a book's chapters, as pandoc's JSON.

Pandoc reads each chapter by itself. So a footnote, a link's definition, an example or a
heading may have the same name in two of them, and what a chapter leaves open ends with
it, as on Quarto's pages.
"""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from portable import RenderError
from portable.date import day, in_words
from portable.pandoc import PandocError, pandoc, walk, words
from portable.project import Project
from portable.values import FILE

READER = "--from=markdown-implicit_figures"


def joined(project: Project, texts: dict[str, str], folder: Path) -> dict[str, Any]:
    """The document of the chapters ``texts``, Markdown by source, in their order.

    Each is a Div of class ``chapter``. Title, subtitle, authors and keywords are in its
    metadata. Raises ``RenderError`` with file and line for what can't be read.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for its pandoc
        titles = pool.submit(_titles, project)
        chapters = pool.map(
            partial(_chapter, project, folder), texts.keys(), texts.values()
        )
        return titles.result() | {"blocks": list(chapters)}


def dated(project: Project, document: dict[str, Any], name: str) -> dict[str, Any]:
    """The document with the book's date in its metadata, as a format shows it."""
    text = project.book.get("date")
    if text is None:
        return document
    of = day(text, [project.root / source for source in project.sources])
    shown = in_words(of, project.language) if name == "html" else of.isoformat()
    dates = {"date": {"t": "MetaString", "c": shown}}
    dates["date-meta"] = {"t": "MetaString", "c": of.isoformat()}
    return document | {"meta": document["meta"] | dates}


def _titles(project: Project) -> dict[str, Any]:
    """A document without blocks; what its metadata say is Markdown, as to Quarto."""
    shown: dict[str, Any] = {
        key: project.book[key]
        for key in ("title", "subtitle", "author")
        if key in project.book
    }
    if "keywords" in project.format("pdf"):
        shown["keywords"] = project.format("pdf")["keywords"]
    text = f"---\n{json.dumps(shown, ensure_ascii=False)}\n---\n"
    try:
        read: dict[str, Any] = json.loads(pandoc([READER, "--to=json"], text))
    except PandocError as error:
        raise RenderError(f"{FILE}: {'; '.join(error.complaints)}") from None
    for element in walk(read["meta"]):
        if element["t"] in ("RawInline", "RawBlock"):
            form, markup = element["c"]
            number = _line(project.root / FILE, re.escape(markup))
            raise RenderError(f"{FILE}:{number}: raw {form} is not supported: {markup}")
    return read


def _chapter(project: Project, folder: Path, source: str, text: str) -> dict[str, Any]:
    path = project.root / source
    try:
        read = json.loads(pandoc([READER, "--to=json"], text, folder=folder))
    except PandocError as error:
        places = [f"{source}:{_placed(path, one)}" for one in error.complaints]
        raise RenderError("\n".join(places)) from None
    for key in read["meta"]:  # from what a cell gives
        number = _line(path, rf"{re.escape(key)}:")
        raise RenderError(f"{source}:{number}: metadata is not supported: {key}")
    _check_headings(source, path, read["blocks"])
    figures = project.figures(source)
    for element in walk(read["blocks"]):
        if element["t"] == "Image" and element["c"][2][0].startswith("figures/"):
            element["c"][2][0] = element["c"][2][0].replace("figures", figures, 1)
    kind = "appendix" if source in project.appendices else "numbered"
    attributes = [["kind", kind], ["source", source]]
    return {"t": "Div", "c": [["", ["chapter"], attributes], read["blocks"]]}


def _check_headings(source: str, path: Path, blocks: list[dict[str, Any]]) -> None:
    """Stops where Quarto's pages and its PDF say different things.

    Its pages put the heading above what stands before it, and the PDF does not. On its
    pages a second heading has the number of the next file, and in the PDF its own.
    """
    shown = [block for block in blocks if not _is_empty(block)]
    if shown and (shown[0]["t"], shown[0]["c"][0]) != ("Header", 1):
        raise RenderError(
            f"{source}:1: the chapter does not begin with its heading, as in # Title"
        )
    for heading in _headings(shown[1:]):
        title = words(heading["c"][2])
        number = _line(path, rf"^\W*# .*{re.escape(title.split()[0])}") if title else 1
        raise RenderError(
            f"{source}:{number}: a second chapter in the file: {title}; put it into a "
            "file of its own, or begin its heading with ##"
        )


def _headings(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The headings of chapters in some blocks."""
    for element in walk(blocks):
        if element["t"] == "Header" and element["c"][0] == 1:
            yield element


def _is_empty(block: dict[str, Any]) -> bool:
    """Whether a block shows nothing, as a mark or a comment."""
    if block["t"] == "Div":
        return all(map(_is_empty, block["c"][1]))
    return bool(block["t"] == "RawBlock" and block["c"][1].startswith("<!--"))


def _placed(path: Path, complaint: str) -> str:
    """A complaint of pandoc's, after the line of the file that it is about."""
    message = re.sub(r"^\[\w+\] | at line \d+ column \d+", "", complaint)
    for about, definition in (
        (r"[Nn]ote (?:reference|with key) '(.*?)'", r"^\[\^{}\]:"),
        (r"link reference '\[(.*?)\]'", r"^\[{}\]:"),
        (r"Duplicate identifier '(.*?)'", r"\{{[^}}]*#{}[\s}}]"),
    ):
        if named := re.search(about, message):
            line = _line(path, definition.format(re.escape(named[1])))
            return f"{line}: {message}"
    return f"1: {message}"


def _line(path: Path, pattern: str) -> int:
    """The number of the last line of a file that matches, or 1."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return max((n for n, line in lines if re.search(pattern, line)), default=1)
