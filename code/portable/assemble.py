"""Makes Markdown of an executed chapter, and writes out its figures."""

import base64
import re
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from portable import RenderError
from portable.chapter import Piece

CELL, OUTPUT = "begins-cell", "is-output"  # the classes of marks, for the notebooks


def unmarked(node: Any) -> Any:
    """A part of the book as pandoc's JSON without the marks that ``assemble`` made."""
    if isinstance(node, dict):
        return {key: unmarked(value) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    found: list[Any] = []
    for child in node:
        if isinstance(child, dict) and child.get("t") == "Div":
            (_, classes, _), blocks = child["c"]
            if CELL in classes or OUTPUT in classes:
                found += unmarked(blocks)
                continue
        found.append(unmarked(child))
    return found


def assemble(
    source: str,
    pieces: list[Piece],
    notebook: NotebookNode,
    figures: Path,
) -> str:
    """The Markdown of a chapter; its figures go to the folder ``figures``.

    An image is written as both ``.svg`` and ``.pdf`` where it is a vector figure, and
    named with ``.svg``. An empty block of the class ``CELL`` stands before each cell,
    and a block of the class ``OUTPUT`` around each output that is Markdown; the
    attribute ``n`` counts the cells of the chapter, and the outputs of the cell.
    """
    parts = []
    for index, (piece, cell) in enumerate(zip(pieces, notebook.cells, strict=True)):
        parts.append(_marked(CELL, index, ""))
        if piece.kind == "markdown":
            parts.append(cell.source)
        elif piece.options.get("include", True):
            parts.append(_cell(source, piece, cell, figures))
    return "\n\n".join(parts)


def _cell(source: str, piece: Piece, cell: NotebookNode, figures: Path) -> str:
    options = piece.options
    parts = []
    if options.get("echo", True) and piece.text:
        fold = ""
        if options.get("code-fold"):
            summary = _attribute(options.get("code-summary", "Code"))
            shown = "show" if options["code-fold"] == "show" else "true"
            fold = f'code-fold="{shown}" code-summary="{summary}"'
        parts.append(_code(piece.text, "python cell-code", fold))
    if options.get("output", True):
        parts += _outputs(source, piece, cell, figures)
    return "\n\n".join(parts)


def _outputs(source: str, piece: Piece, cell: NotebookNode, figures: Path) -> list[str]:
    options = piece.options
    label = str(options.get("label", ""))
    texts: list[str] = []
    images: list[Path] = []
    number = -1  # of the outputs but the streams
    for output in cell.outputs:
        number += output.output_type != "stream"
        if output.output_type == "stream":
            if output.name == "stdout" or options.get("warning", True):
                texts.append(_code(output.text.rstrip("\n"), f"output {output.name}"))
            continue
        data = output.data
        stem = f"{Path(source).stem}-{label or piece.line}-{len(images) + 1}"
        if "text/markdown" in data:
            texts.append(_marked(OUTPUT, number, data["text/markdown"]))
        elif "text/latex" in data:
            texts.append(data["text/latex"])
        elif "image/svg+xml" in data:
            images.append(figures / f"{stem}.svg")
            images[-1].write_text(data["image/svg+xml"])
            pdf = base64.b64decode(data["application/pdf"])
            images[-1].with_suffix(".pdf").write_bytes(pdf)
        elif "image/png" in data:
            images.append(figures / f"{stem}.png")
            images[-1].write_bytes(base64.b64decode(data["image/png"]))
        elif "text/plain" in data:
            texts.append(_code(data["text/plain"], "output"))
        else:
            raise RenderError(
                f"{source}:{piece.line}: cell {piece.name} shows "
                f"{', '.join(data)}, which is not supported"
            )
    if label.startswith("fig-"):
        return [*texts, _figure(source, piece, images)]
    if label.startswith("tbl-"):
        if not texts or not re.search(r"^\|", texts[-1], re.MULTILINE):
            raise RenderError(
                f"{source}:{piece.line}: cell {label} ends in no Markdown table"
            )
        caption = str(options["tbl-cap"])
        return [*texts[:-1], _float(label, texts[-1], caption)]
    return texts + [f"![](figures/{image.name})" for image in images]


def _figure(source: str, piece: Piece, images: list[Path]) -> str:
    options = piece.options
    where = f"{source}:{piece.line}: cell {piece.name}"
    if not images:
        raise RenderError(f"{where} has a fig-cap and shows no figure")
    captions = _each(options.get("fig-subcap"), len(images), where, "fig-subcap")
    alts = _each(options.get("fig-alt"), len(images), where, "fig-alt")
    body = "\n\n".join(
        f'![{caption}](figures/{image.name}){{alt="{_attribute(alt)}"}}'
        for caption, image, alt in zip(captions, images, alts, strict=True)
    )
    columns = options.get("layout-ncol", 1)
    return _float(piece.options["label"], body, options["fig-cap"], f'ncol="{columns}"')


def _each(value: Any, count: int, where: str, option: str) -> list[str]:
    """A value for each of ``count`` figures, from a list or from one value for all."""
    values = value if isinstance(value, list) else [value or ""] * count
    if len(values) != count:
        raise RenderError(
            f"{where} shows {count} figures and has {len(values)} {option}"
        )
    return [str(text) for text in values]


def _float(label: str, body: str, caption: str, attributes: str = "") -> str:
    return (
        f":::: {{#{label} .float {attributes}}}\n{body}\n\n"
        f"::: {{.caption}}\n{caption}\n:::\n::::"
    )


def _marked(kind: str, number: int, text: str) -> str:
    return f'::: {{.{kind} n="{number}"}}\n{text}\n:::'


def _code(text: str, classes: str, attributes: str = "") -> str:
    dotted = " ".join(f".{name}" for name in classes.split())
    return fenced(text, f" {{{dotted} {attributes}}}")


def fenced(text: str, attributes: str = "") -> str:
    """A block of code, fenced by more backticks than stand together in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 0)
    return f"{fence}{attributes}\n{text}\n{fence}"


def _attribute(text: str) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
