"""What a cell shows of its outputs, and in which form: what Quarto takes.

A cell can give the same thing as HTML, as a formula, as a picture and as plain text.
HTML and LaTeX have a different choice among these, so each format has its order.
"""

import re
from typing import Any

from nbformat import NotebookNode

FORMATS = ("html", "latex")
PDF = "application/pdf"
PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpeg"}
ENDINGS = {**PICTURES, PDF: "pdf"}  # of all pictures, by their MIME type
ORDER = {
    "html": ("application/javascript", "text/html", "text/markdown", *PICTURES),
    "latex": ("text/latex", PDF, "text/markdown", *PICTURES),
}
TABLE = re.compile(r"<table\b.*</table", re.IGNORECASE | re.DOTALL)
FORMULA = re.compile(r"\$.*\$|\\begin\{.*\\end\{.*", re.DOTALL)
# Names of what a call of Matplotlib returns, beside the figure.
NAMES = ("[<matplotlib", "<matplotlib", "<seaborn.", "<ggplot:")
ESCAPES = re.compile(  # of a terminal: colours, titles, moves of the cursor
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x1b\x9b][\[()#;?]*[\d;?]*[\dA-PR-TXZcf-nq-uy=><~]"
)


def form(data: dict[str, Any], format: str) -> tuple[str, str] | None:
    """The MIME type and the content in which a format shows what a cell displays.

    ``data`` has its forms by their types. None where none of them can be shown.
    """
    formula = str(data.get("text/latex", ""))
    if format == "html" and FORMULA.fullmatch(formula):
        data = {"text/markdown": formula, **data}
    table = ["text/html"] if TABLE.search(str(data.get("text/html", ""))) else []
    for kind in (*ORDER[format], *table, "text/plain"):
        if kind in data:
            return kind, str(data[kind])
    return None


def shown(
    outputs: list[NotebookNode], options: dict[str, Any], format: str
) -> list[NotebookNode]:
    """Those of a cell's outputs that a format shows, in order."""
    pictured = any(
        found[0] in ENDINGS
        for output in outputs
        if "data" in output and (found := form(output.data, format))
    )
    return [
        output
        for output in outputs
        if not (
            (output.get("name") == "stderr" and not options.get("warning", True))
            or _is_name(output, pictured)
            or output.get("data") == {}  # an update of what is not there
        )
    ]


def _is_name(output: NotebookNode, pictured: bool) -> bool:
    """Whether a value is only what a call that draws returns.

    Beside a picture Quarto takes for this all that stands in brackets on one line.
    """
    if output.output_type != "execute_result" or list(output.data) != ["text/plain"]:
        return False
    text = str(output.data["text/plain"])
    if not pictured:
        return text.startswith(NAMES)
    if "\n" in text:
        return "<matplotlib." in text
    return bool(
        re.fullmatch(r"[<(\[].*[>)\]]|Text\([-\d].*|\{.*<matplotlib\..*", text.strip())
    )


def plain(text: str) -> str:
    """``text`` without what tells a terminal its colours."""
    return ESCAPES.sub("", text)
