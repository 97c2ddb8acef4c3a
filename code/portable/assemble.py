"""Makes Markdown of an executed chapter, and writes out its figures."""

import base64
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from portable import RenderError
from portable.chapter import Piece, is_whole
from portable.shown import ENDINGS, FORMATS, PDF, form, plain, shown

CELL, OUTPUT = "begins-cell", "is-output"  # the classes of marks, for the notebooks
GIVEN = "is-given"  # by a cell, and no Markdown
REFUSED = "is-refused"  # by the format that gets here, with this message
NO_SVG = (
    "shows an SVG picture, which LaTeX can set only where the program rsvg-convert is "
    "installed and can read it"
)
SVG = "image/svg+xml"
WIDGET = "application/vnd.jupyter.widget-view+json"
# A caption stands after this word, so that it is a paragraph whatever it begins with.
CAPTION = "caption"
FILE = re.compile(  # to which HTML refers
    r"""<(?:img|script|iframe|source|video|audio|embed|link)\b[^>]*\b(?:src|href)="""
    r"""["']?(?!data:|https?:|//|["'#>\s])([^"'>\s]+)""",
    re.IGNORECASE,
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


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
            if {CELL, OUTPUT, GIVEN} & set(classes):
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
    attribute ``n`` counts the cells of the chapter, and the outputs of the cell. What
    HTML and LaTeX show differently is there for either. Raises ``RenderError``.
    """
    parts = []
    for index, (piece, cell) in enumerate(zip(pieces, notebook.cells, strict=True)):
        parts.append(_marked(CELL, index, ""))
        if piece.kind == "markdown":
            parts.append(_unescaped(cell.source))
        elif piece.options.get("include", True):
            parts.append(_cell(source, piece, cell, figures))
    return "\n\n".join(parts)


def _unescaped(markdown: str) -> str:
    """Markdown with that in two braces, or three, which Quarto shows with one less."""
    text = re.sub(r"(`+\s*)\{\{(\w+)\}\}", r"\1{\2}", markdown)
    return re.sub(r"\{(\{\{<[^}]*>\}\})\}", r"\1", text)


def _cell(source: str, piece: Piece, cell: NotebookNode, figures: Path) -> str:
    options = piece.options
    parts = []
    if options.get("echo", True) and piece.text:
        fold = ""
        if options.get("code-fold"):
            summary = _attribute(options.get("code-summary", "Code"))
            state = "show" if options["code-fold"] == "show" else "true"
            fold = f'code-fold="{state}" code-summary="{summary}"'
        parts.append(_code(piece.text, "python cell-code", fold))
    if options.get("output", True):
        html, latex = (
            _outputs(source, piece, cell, figures, format) for format in FORMATS
        )
        parts += _for_both(html, latex)
    return "\n\n".join(parts)


def _for_both(html: list[str], latex: list[str]) -> list[str]:
    """Texts for HTML and for LaTeX as one list, where they are the same only once."""
    if len(html) != len(latex):
        html, latex = ["\n\n".join(html)], ["\n\n".join(latex)]
    texts = []
    for one, other in zip(html, latex, strict=True):
        if one == other:
            texts.append(one)
        else:
            texts += [_only("html", one), _only("pdf", other)]
    return texts


def _outputs(
    source: str, piece: Piece, cell: NotebookNode, figures: Path, format: str
) -> list[str]:
    """What a format shows of a cell: a text for each output, or for several of them."""
    options = piece.options
    label = str(options.get("label", ""))
    where = f"{source}:{piece.line}: cell {piece.name}"
    outputs = shown(cell.outputs, options, format)
    forms = [_form(output, format, where) for output in outputs]
    count = sum(kind in ENDINGS for kind, _ in forms)
    alts = iter(_each(options.get("fig-alt"), count, where, "fig-alt"))
    places = [id(output) for output in cell.outputs if "data" in output]
    stem = (
        f"{Path(source).stem}-{label if re.match('(fig|tbl)-', label) else piece.line}"
    )
    texts: list[str] = []
    pictures = 0
    for output, (kind, content) in zip(outputs, forms, strict=True):
        if output.output_type == "stream":
            texts.append(_code(content, f"output {output.name}"))
        elif kind in ENDINGS:
            pictures += 1
            path = figures / f"{stem}-{pictures}"
            made = _picture(output, kind, path, next(alts))
            if format == "latex" and not _settable(path, kind):
                made = f"```{{.{REFUSED}}}\n{where} {NO_SVG}\n```"
            texts.append(made)
        elif kind == "text/markdown":
            texts.append(_marked(OUTPUT, places.index(id(output)), content))
        elif kind == "text/plain":
            texts.append(_plain(content))
        elif kind == "application/javascript":
            script = f'<script type="{kind}">\n{content}\n</script>'
            texts.append(_given(fenced(script, "{=html}")))
        else:
            texts.append(_given(fenced(content, f"{{={kind.removeprefix('text/')}}}")))
    displayed = ["data" in output for output in outputs]
    if label.startswith("fig-"):
        return _figure(piece, texts, displayed, where)
    if label.startswith("tbl-"):
        return _table(piece, texts, displayed)
    if "layout-ncol" in options and texts:
        if count != len(texts):
            raise RenderError(f"{where} has a layout-ncol and shows more than figures")
        panels = "\n\n".join(_panel(text, "", where) for text in texts)
        return [f'::: {{.layout ncol="{options["layout-ncol"]}"}}\n{panels}\n:::']
    return texts


def _form(output: NotebookNode, format: str, where: str) -> tuple[str, str]:
    """The MIME type and the content of what is shown of an output."""
    if output.output_type == "stream":
        kind, content = "text/plain", output.text
    elif WIDGET in output.data:
        raise RenderError(f"{where} shows a widget of Jupyter, which is not supported")
    elif found := form(output.data, format):
        kind, content = found
    else:
        raise RenderError(
            f"{where} shows {', '.join(output.data)}, which is not supported"
        )
    if kind == "text/plain":
        # What is drawn over itself on a terminal stands in lines one below the other.
        content = re.sub(r"\r\n?", "\n", plain(content)).rstrip("\n")
    if kind == "text/html" and (file := FILE.search(content)):
        raise RenderError(
            f"{where} shows HTML that refers to the file {file[1]!r}, which is not "
            "supported"
        )
    if kind == "text/markdown" and not is_whole(content):
        raise RenderError(
            f"{where} shows Markdown in which a block or a comment is not closed"
        )
    if kind not in ENDINGS and (control := CONTROL.search(content)):
        raise RenderError(
            f"{where} shows the character {control[0]!r}, which a page can't have"
        )
    return kind, content


def _picture(output: NotebookNode, kind: str, path: Path, alt: str) -> str:
    """An image, whose files are written to ``path`` with their endings."""
    data = output.data
    kinds = {PDF, SVG} & data.keys() if kind in (PDF, SVG) else {kind}
    files = {each: path.with_name(f"{path.name}.{ENDINGS[each]}") for each in kinds}
    for each, file in files.items():
        if each == SVG:
            file.write_text(data[each], encoding="utf-8")
        else:
            file.write_bytes(base64.b64decode(data[each]))
    name = files[SVG if SVG in kinds else kind].name
    sizes = output.get("metadata", {}).get(kind, {})
    given = "".join(
        f" {key}={sizes[key]}" for key in ("width", "height") if sizes.get(key)
    )
    return f'![](figures/{name}){{alt="{_attribute(_value(alt))}"{given}}}'


def _settable(path: Path, kind: str) -> bool:
    """Whether LaTeX can set a picture; an SVG is made a PDF, by Quarto's program."""
    pdf = path.with_name(f"{path.name}.pdf")
    if kind != SVG or pdf.exists():
        return True
    if not shutil.which("rsvg-convert"):
        return False
    svg = path.with_name(f"{path.name}.svg")
    command = ["rsvg-convert", "-f", "pdf", "-a", "-o", str(pdf), str(svg)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _plain(text: str) -> str:
    if re.fullmatch(r"'<table.*</table>'", text):  # what tabulate makes, for Quarto
        return _given(text[1:-1])
    return _code(text, "output")


def _figure(
    piece: Piece, texts: list[str], displayed: list[bool], where: str
) -> list[str]:
    """The texts, of which those displayed are a figure, or its panels."""
    options = piece.options
    count = sum(displayed)
    if not count:
        raise RenderError(f"{where} has a fig-cap and shows no figure")
    caption = options["fig-cap"]
    # Without captions of the panels Quarto puts that of the figure under the first.
    captions = [caption] + [""] * (count - 1)
    if "fig-subcap" in options:
        captions = _each(options["fig-subcap"], count, where, "fig-subcap")
        if count == 1:
            raise RenderError(f"{where} has a fig-subcap and shows one figure")
    elif count > 1:
        caption = ""
    remaining = iter(captions)
    texts = [
        _panel(text, next(remaining), where) if shows and count > 1 else text
        for text, shows in zip(texts, displayed, strict=True)
    ]
    columns = f'ncol="{options.get("layout-ncol", 1)}"'
    if count == 1:
        index = displayed.index(True)
        texts[index] = _float(piece, texts[index], caption, where, columns)
        return texts
    if "layout-ncol" in options:  # then what is printed has its places, too
        return [_float(piece, "\n\n".join(texts), caption, "", columns)]
    beside, body = _parted(texts, displayed)
    return [*beside, _float(piece, "\n\n".join(body), caption, "", columns)]


def _table(piece: Piece, texts: list[str], displayed: list[bool]) -> list[str]:
    """The texts, of which those displayed are a table and what is said with it."""
    beside, body = _parted(texts, displayed)
    caption = _value(piece.options["tbl-cap"])
    return [*beside, _float(piece, "\n\n".join(body), caption, "", "")]


def _parted(texts: list[str], displayed: list[bool]) -> tuple[list[str], list[str]]:
    """The texts that are not displayed but printed, and those that are."""
    pairs = list(zip(texts, displayed, strict=True))
    return [text for text, it in pairs if not it], [text for text, it in pairs if it]


def _value(text: Any) -> str:
    """A text as Quarto has it that takes it for the value of an attribute at first."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", str(text))


def _each(value: Any, count: int, where: str, option: str) -> list[str]:
    """A value for each of ``count`` figures, from a list or from one value for all."""
    values = value if isinstance(value, list) else [value or ""] * count
    if len(values) != count:
        raise RenderError(
            f"{where} shows {count} figures and has {len(values)} {option}"
        )
    return [str(text) for text in values]


def _float(piece: Piece, body: str, caption: str, where: str, attributes: str) -> str:
    label = piece.options["label"]
    return (
        f":::: {{#{label} .float {attributes}}}\n{body}\n\n"
        f"{_caption(caption, where)}\n::::"
    )


def _panel(text: str, caption: str, where: str) -> str:
    return f"::: {{.panel}}\n{text}\n\n{_caption(caption, where)}\n:::"


def _caption(text: str, where: str) -> str:
    """A caption. That of a picture, which has a ``where``, is the same in brackets."""
    line = " ".join(str(text).split())
    bracketed = ""
    if where and re.search(r"[\[\]]", line):
        bracketed = f' where="{_attribute(where)}" text="{_attribute(line)}"'
    return f"::: {{.caption{bracketed}}}\n{CAPTION} {line}\n:::"


def _only(format: str, text: str) -> str:
    return f'::: {{.content-visible when-format="{format}"}}\n{text}\n:::'


def _given(text: str) -> str:
    return f"::: {{.{GIVEN}}}\n{text}\n:::"


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
