"""Runs a chapter's cells in one kernel and keeps what they gave."""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from portable import RenderError
from portable.chapter import INLINE, Piece

# Every figure in both formats at once, so that one run serves HTML and PDF.
SETUP = """\
%matplotlib inline
%config InlineBackend.figure_formats = {"svg", "pdf"}
"""
# What Quarto takes literally in a string, and no more, so that both show the same.
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]()>#+,\-.!])")


class _Client(NotebookClient):
    """Shows on the terminal what a running cell writes to stderr: progress bars."""

    def process_message(
        self, msg: dict[str, Any], cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        content = msg["content"]
        stderr = msg["msg_type"] == "stream" and content["name"] == "stderr"
        if stderr and sys.stderr.isatty():
            sys.stderr.write(content["text"])
            sys.stderr.flush()
        output: NotebookNode | None = super().process_message(msg, cell, cell_index)
        return output


def execute(root: Path, source: str, pieces: list[Piece]) -> NotebookNode:
    """The notebook of a chapter, executed; its cells correspond to ``pieces``.

    In Markdown cells the inline expressions are replaced by their values. Raises
    ``RenderError`` naming chapter, cell and Python error where a cell fails.
    """
    notebook: NotebookNode = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {
                "name": "python3",
                "display_name": "Python 3",
                "language": "python",
            }
        }
    )
    for piece in pieces:
        if piece.kind == "code":
            cell = nbformat.v4.new_code_cell(piece.text)
        else:
            cell = nbformat.v4.new_markdown_cell(piece.text)
        notebook.cells.append(cell)
    if not any(piece.kind == "code" or INLINE.search(piece.text) for piece in pieces):
        return notebook
    client = _Client(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,  # the same cells give the same notebook
        shutdown_kernel="immediate",  # it has nothing to save, and exits slowly
        resources={"metadata": {"path": str(root)}},
    )
    with client.setup_kernel():
        _value(client, SETUP)
        for index, (piece, cell) in enumerate(zip(pieces, notebook.cells, strict=True)):
            where = f"{source}:{piece.line}"
            try:
                if piece.kind == "code":
                    client.execute_cell(cell, index)
                else:
                    cell.source = _with_values(client, piece.text, where)
            except CellExecutionError as error:
                what = f"cell {piece.name}" if piece.kind == "code" else "the text here"
                raise RenderError(
                    f"{where}: {what} failed: {error.ename}: {error.evalue}\n"
                    f"{_plain(error.traceback)}"
                ) from None
            except DeadKernelError:
                raise RenderError(
                    f"{where}: the kernel died in cell {piece.name}"
                ) from None
    return notebook


def _with_values(client: NotebookClient, text: str, where: str) -> str:
    """Markdown with its inline expressions replaced; strings are taken literally."""

    def value(match: re.Match[str]) -> str:
        data = _value(client, match[2])
        shown = str(data.get("text/markdown", data.get("text/plain", "")))
        if "text/markdown" not in data and re.fullmatch(r"'.*'|\".*\"", shown, re.S):
            shown = MARKDOWN_SPECIAL.sub(r"\\\1", shown[1:-1])
        if not shown.strip():
            raise RenderError(f"{where}: {match[2]} gives nothing to show")
        return shown

    return INLINE.sub(value, text)


def _value(client: NotebookClient, code: str) -> dict[str, Any]:
    """What the kernel shows for ``code``, by MIME type."""
    cell = nbformat.v4.new_code_cell(code)
    client.nb.cells.append(cell)
    try:
        client.execute_cell(cell, len(client.nb.cells) - 1, store_history=False)
    finally:
        client.nb.cells.pop()
    results = [out.data for out in cell.outputs if out.output_type == "execute_result"]
    return dict(results[0]) if results else {}


def _plain(text: str) -> str:
    """``text`` without the terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
