"""Hands executed chapters to Quarto, so that it executes none of them again.

With ``execute: freeze: auto`` Quarto takes what cells gave from the folder ``_freeze``,
as long as the source has the hash that stands there; of the code that a chapter uses
it knows nothing. So what is written here is what holds in the present state
(``inputs``), and what does not is taken away. A chapter that shows something that this
module can't write is left to Quarto.
"""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

from nbformat import NotebookNode

from portable.assemble import fenced
from portable.chapter import Piece, expressions, read_text
from portable.executed import Chapters, executed, kept
from portable.options import LABEL
from portable.shown import ENDINGS, form, shown

# The endings of what Quarto makes of a chapter, each with that of the figures in it.
FORMATS = {"html": "svg", "tex": "pdf"}
FOLDERS = {"html": "figure-html", "tex": "figure-pdf"}
SHOWN = {"html": "html", "tex": "latex"}
MIME = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
FOLDING = ("code-fold", "code-summary")
LEFT_TO_QUARTO = {"fig-subcap", "layout-ncol"}  # options of a cell


class Unknown(ValueError):
    """An output, or an option of a cell, that is not written here."""


def freeze(root: Path, chapters: Chapters, whole: bool, fresh: bool) -> None:
    """Writes the chapters of the book in ``root`` to its folder ``_freeze``.

    Where the ``whole`` book is rendered, what is not kept is executed; ``fresh`` is as
    for ``executed``. Of a chapter alone only what is kept is taken, since Quarto may
    execute it whatever stands there. Raises ``RenderError`` where a cell fails.
    """
    if whole:
        found = dict(zip(chapters, executed(root, chapters, fresh), strict=True))
    else:
        known = {name: kept(root, name, pieces) for name, pieces in chapters.items()}
        found = {name: of for name, of in known.items() if of and not fresh}
    for source, pieces in chapters.items():
        folder = root / "_freeze" / Path(source).with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        if source in found and any(expressions(piece) for piece in pieces):
            try:
                files = frozen(root, source, pieces, found[source])
            except Unknown as error:
                print(f"{source} is left to Quarto: {error}", flush=True)
                continue
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)


def frozen(
    root: Path, source: str, pieces: list[Piece], notebook: NotebookNode
) -> dict[str, bytes]:
    """The files that Quarto keeps of a chapter, by their names in its folder.

    Raises ``Unknown``.
    """
    files: dict[str, bytes] = {}
    stem = Path(source).stem
    text = read_text(root, source)
    for kind in FORMATS:
        figures: dict[str, bytes] = {}
        place = f"{stem}_files/{FOLDERS[kind]}"
        markdown = _markdown(pieces, notebook, kind, place, figures)
        files |= {f"{FOLDERS[kind]}/{name}": of for name, of in figures.items()}
        result = {
            "engine": "jupyter",
            "markdown": markdown,
            "supporting": [f"{stem}_files" if kind == "html" else place],
            "filters": [],
        }
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        entry = json.dumps({"hash": digest, "result": result}, indent=2)
        files[f"execute-results/{kind}.json"] = entry.encode()
    return files


def _markdown(
    pieces: list[Piece],
    notebook: NotebookNode,
    kind: str,
    place: str,
    figures: dict[str, bytes],
) -> str:
    """A chapter as Quarto's Markdown; its figures, in ``place``, are added."""
    parts, number = [], 0
    for piece, cell in zip(pieces, notebook.cells, strict=True):
        if piece.kind == "markdown":
            parts.append(cell.source)
            continue
        number += 1
        if piece.options.get("include", True):
            name = str(piece.options.get("label", f"cell-{number + 1}"))
            parts.append(_cell(piece, cell, kind, f"{place}/{name}", figures))
    return "\n\n".join(parts) + "\n"


def _cell(
    piece: Piece, cell: NotebookNode, kind: str, name: str, figures: dict[str, bytes]
) -> str:
    options = piece.options
    if LEFT_TO_QUARTO & options.keys():
        raise Unknown(f"cell {piece.name} has {LEFT_TO_QUARTO & options.keys()}")
    if not LABEL.fullmatch(str(options.get("label", "a"))):
        raise Unknown(f"cell {piece.name} has a label that Quarto changes")
    parts = []
    if options.get("echo", True):
        given = {key: options[key] for key in FOLDING if key in options}
        fold = "".join(
            f' {key}="{value if isinstance(value, str) else json.dumps(value)}"'
            for key, value in given.items()
        )
        parts.append(fenced(piece.text, f" {{.python .cell-code{fold}}}"))
    if options.get("output", True):
        parts += _outputs(piece, cell, kind, name, figures)
    if not parts:
        return ""
    label, caption = options.get("label"), ""
    outputs = shown(cell.outputs, options, SHOWN[kind])
    displayed = options.get("output", True) and sum("data" in of for of in outputs)
    if label and displayed > 1:
        raise Unknown(f"cell {piece.name} shows several things under one label")
    head = f"#cell-{label} " if label and kind == "html" else ""
    if label and (not displayed or "tbl-cap" in options):
        head = f"#{label} "
    if "tbl-cap" in options:
        caption = f" tbl-cap='{_quoted(options['tbl-cap'])}'"
    head += f".cell{caption} execution_count={cell.execution_count}"
    body = "\n\n".join(parts)
    return f"::: {{{head}}}\n{body}\n:::"


def _outputs(
    piece: Piece, cell: NotebookNode, kind: str, name: str, figures: dict[str, bytes]
) -> list[str]:
    options = piece.options
    outputs = shown(cell.outputs, options, SHOWN[kind])
    forms = [form(of.get("data", {}), SHOWN[kind]) or ("", "") for of in outputs]
    images = [
        output
        for output, (of, _) in zip(outputs, forms, strict=True)
        if of in MIME.values() and not output.metadata.get(of)
    ]
    label = f"#{options['label']} " if "label" in options else ""
    parts = []
    for number, (output, (of, content)) in enumerate(
        zip(outputs, forms, strict=True), 1
    ):
        if "\x1b" in output.get("text", content):
            raise Unknown(f"cell {piece.name} shows colours")
        if output.output_type == "stream":
            text, classes = _printed(output.text.rstrip("\n")), output.name
        elif of == "text/markdown":
            text, classes = content, "display .cell-output-markdown"
        elif output in images and len(images) == 1:
            ending = ENDINGS[of]
            path = f"{name}-output-{number}.{ending}"
            figures[Path(path).name] = (
                content.encode() if ending == "svg" else base64.b64decode(content)
            )
            text, classes = _image(piece, path), "display"
        elif of == "text/plain" and not images:
            text, classes = _printed(content), "display"
        else:
            what = ", ".join(output.get("data", {})) or output.output_type
            raise Unknown(f"cell {piece.name} shows {what}")
        count = output.get("execution_count")
        counted = f" execution_count={count}" if count else ""
        labelled = "data" in output and output not in images
        own = label if labelled and "tbl-cap" not in options else ""
        head = f"::: {{{own}.cell-output .cell-output-{classes}{counted}}}"
        parts.append(f"{head}\n{text}\n:::")
    return parts


def _printed(text: str) -> str:
    """A text as a block of code; of shortcodes Quarto shows those in three braces."""
    return fenced(re.sub(r"\{\{<(.*?)>\}\}", r"{{{<\1>}}}", text))


def _image(piece: Piece, path: str) -> str:
    options = piece.options
    alt = options.get("fig-alt", "")
    if not isinstance(alt, str):
        raise Unknown(f"cell {piece.name} has a list of fig-alt")
    label = [f"#{options['label']}"] if "label" in options else []
    attributes = label + ([f"fig-alt='{_quoted(alt)}'"] if alt else [])
    caption = " ".join(options.get("fig-cap", "").split("\n")).strip()
    return f"![{caption}]({path})" + (
        f"{{{' '.join(attributes)}}}" if attributes else ""
    )


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
