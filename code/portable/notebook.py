"""Writes each chapter as an executed notebook that plain Jupyter shows as it is meant.

Jupyter knows none of Quarto's Markdown. So what the pass that numbers the book made of
each cell is written as Markdown that it knows: theorems, equations and references with
their numbers, citations in words, and a caption after the cell that has one.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

from portable.assemble import CELL, OUTPUT, unmarked
from portable.chapter import Piece
from portable.pandoc import pandoc, walk, words
from portable.shown import shown

MARKDOWN = "commonmark+pipe_tables+strikeout+tex_math_dollars-raw_html"
BETWEEN = "between0the0parts"  # on a line of its own, between two texts

Element = dict[str, Any]  # of pandoc's JSON, as are the lists of them


class Chapter(NamedTuple):
    """An executed chapter; its cells correspond to its pieces."""

    source: str
    name: str
    pieces: list[Piece]
    notebook: NotebookNode


def write_notebooks(
    document: dict[str, Any], chapters: list[Chapter], folder: Path
) -> None:
    """Writes the notebooks of ``chapters`` to a folder.

    ``document`` is the numbered book as pandoc's JSON, with the marks that ``assemble``
    puts before each cell and around each output.
    """
    places: list[tuple[int, int, str]] = []  # chapter, cell, which of its texts
    texts: list[list[Element]] = []
    for number, element in enumerate(document["blocks"]):
        for cell, blocks in _cells(element["c"][1]):
            code = chapters[number].pieces[cell].kind == "code"
            for name, text in _parts(blocks) if code else [("text", blocks)]:
                places.append((number, cell, name))
                texts.append(text)
    written = dict(zip(places, _markdown(document, texts), strict=True))
    for number, chapter in enumerate(chapters):
        made = {
            place[1:]: text for place, text in written.items() if place[0] == number
        }
        notebook = _rewritten(chapter, made)
        nbformat.write(notebook, folder / f"{chapter.name}.ipynb")


def _rewritten(chapter: Chapter, made: dict[tuple[int, str], str]) -> NotebookNode:
    """The notebook of a chapter, with the texts of each cell, by index and name."""
    cells = []
    for index, (piece, cell) in enumerate(
        zip(chapter.pieces, chapter.notebook.cells, strict=True)
    ):
        if piece.kind == "markdown":
            cell.source = made.get((index, "text"), "")
            if cell.source:  # else it was the end of a block, or is not for this format
                cells.append(cell)
            continue
        cell.metadata["options"] = piece.options
        if not all(
            piece.options.get(key, True) for key in ("warning", "output", "include")
        ):
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        displayed = [output for output in cell.outputs if "data" in output]
        for number, output in enumerate(displayed):
            output.data.pop("application/pdf", None)  # the SVG is there
            text = made.get((index, f"output {number}"))
            if text == "":  # it was HTML
                cell.outputs.remove(output)
            elif text is not None:
                output.data["text/markdown"] = text
        cell.outputs = shown(cell.outputs, {}, "html")
        cells.append(cell)
        if caption := made.get((index, "caption")):
            cells.append(nbformat.v4.new_markdown_cell(caption))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # else a random one
    chapter.notebook.cells = cells
    return chapter.notebook


def _cells(blocks: list[Element]) -> Iterator[tuple[int, list[Element]]]:
    """The index of each cell of a chapter, and the blocks that come from it."""
    index, found = None, list[Element]()
    for block in _plain(blocks):
        mark = _mark(block, CELL)
        if mark is None:
            found.append(block)
            continue
        if index is not None:
            yield index, found
        index, found = mark, []
    if index is not None:
        yield index, found


def _parts(blocks: list[Element]) -> Iterator[tuple[str, list[Element]]]:
    """The texts of a code cell: its outputs in Markdown, and a caption."""
    for element in walk(blocks):
        mark = _mark(element, OUTPUT)
        if mark is not None:
            yield f"output {mark}", element["c"][1]
    for block in blocks:
        if block["t"] == "Figure":
            captions = [e["c"][1][1] for e in walk([block]) if e["t"] == "Figure"]
            (first, *parts) = [caption for caption in captions if caption]
            inlines = first[0]["c"]
            for part in parts:
                inlines = [*inlines, {"t": "Space"}, *part[0]["c"]]
            yield "caption", [{"t": "Para", "c": inlines}]


def _markdown(document: dict[str, Any], texts: list[list[Element]]) -> list[str]:
    """Each text, a list of blocks, as Markdown."""
    blocks: list[Element] = []
    for text in texts:
        blocks += [*unmarked(text), {"t": "Para", "c": [_str(BETWEEN)]}]
    together = json.dumps(document | {"blocks": blocks, "meta": {}})
    markdown = pandoc(["--from=json", f"--to={MARKDOWN}", "--wrap=preserve"], together)
    found = re.split(rf"^{BETWEEN}$", markdown, flags=re.MULTILINE)
    return [text.strip("\n") for text in found[:-1]]


def _plain(node: Any) -> Any:
    """A part of pandoc's JSON without what plain Markdown has no words for.

    Of a block, a span, a citation or a link within the book its content is left.
    """
    if isinstance(node, list):
        found: list[Any] = []
        for child in node:
            if isinstance(child, dict) and "t" in child:
                found += _element(child)
            else:
                found.append(_plain(child))
        return found
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    return node


def _element(element: Element) -> list[Element]:
    kind, content = element["t"], element.get("c")
    if not content:
        return [element]
    if kind == "RawBlock":  # HTML, with scripts that Jupyter would not run
        return []
    classes = content[0][1] if kind in ("Div", "Span") else []
    if CELL in classes or OUTPUT in classes:
        return [{"t": kind, "c": [content[0], _plain(content[1])]}]
    if "equation" in classes:
        formula, number = content[1]
        how, tex = formula["c"]
        tag = f"\\tag{{{words(number).strip('()')}}}"
        return [{"t": "Math", "c": [how, f"{tex.rstrip()} {tag}\n"]}]
    if "theorem-title" in classes:
        return [{"t": "Strong", "c": [*_plain(content[1]), _str(".")]}]
    if "number" in classes and words(content[1]).endswith(":"):  # of a caption
        return [{"t": "Strong", "c": [_str(words(content[1])[:-1] + ".")]}]
    if kind in ("Div", "Span", "Cite"):
        return list(_plain(content[1]))
    if kind == "Link" and content[2][0].startswith(("#", "book:")):
        return list(_plain(content[1]))
    if kind == "Note":
        inner = [inline for block in content for inline in block["c"]]
        return [_str(" ("), *_plain(inner), _str(")")]
    if kind == "Header":
        return [
            {"t": kind, "c": [content[0], ["", [], []], _plain(_title(content[2]))]}
        ]
    return [{"t": kind, "c": _plain(content)}]


def _title(inlines: list[Element]) -> list[Element]:
    """The words of a heading, without a number that they have already."""
    if inlines and inlines[0]["t"] == "Span" and "number" in inlines[0]["c"][0][1]:
        number, title = words(inlines[:1]), words(inlines[1:])
        if number in re.findall(r"\w+", title):
            return inlines[2:]  # after the space, too
    return inlines


def _mark(element: Element, kind: str) -> int | None:
    """The number that a mark of ``assemble`` has; None for another element."""
    if element["t"] != "Div" or kind not in element["c"][0][1]:
        return None
    return int(dict(element["c"][0][2])["n"])


def _str(text: str) -> Element:
    return {"t": "Str", "c": text}
