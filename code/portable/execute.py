"""Runs a chapter's cells in one kernel, several chapters side by side."""

import ast
import asyncio
import atexit
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config
from zmq import ZMQError

from portable import RenderError
from portable.chapter import INLINE, Piece, expressions
from portable.shown import FORMATS, form, plain

# Every figure in both formats at once, so that one run serves HTML and PDF.
# A figure has the size that Quarto gives it in the PDF, where it must fit the page.
# They have a date of their own, which is the same whenever they are drawn.
SETUP = """\
%matplotlib inline
%config InlineBackend.figure_formats = {{"svg", "pdf"}}
%env SOURCE_DATE_EPOCH=0
%env OMP_WAIT_POLICY=PASSIVE
__import__("matplotlib").rcParams["figure.figsize"] = 5.5, 3.5
_read_by_cells = __import__("runpy").run_path({reads!r})["watch"]({root!r})
"""
# Where there is no home that can be written to; each kernel has a folder of its own.
warnings.filterwarnings("ignore", "IPython parent .* is not a writable location")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
READS = Path(__file__).with_name("reads.py")
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

    async def _async_poll_kernel_alive(self) -> None:
        """Ends without a word where the kernel was stopped by this process."""
        try:
            await super()._async_poll_kernel_alive()
        except AssertionError:
            if self.kc:
                raise


Values = list[str]  # of the inline expressions of a text
Result = dict[str, Any] | Values  # of a cell: its outputs, as in a notebook


class Executed(NamedTuple):
    """What those pieces of a chapter gave that are executed, and what they read."""

    results: list[Result]
    reads: dict[str, list[str]]  # of the project, as reads.watch tells


async def execute(root: Path, source: str, pieces: list[Piece]) -> Executed:
    """Runs the cells and the inline expressions of a chapter.

    Raises ``RenderError`` naming chapter, cell and Python error where one fails.
    """
    executed = [piece for piece in pieces if expressions(piece)]
    if not executed:
        return Executed([], {"files": [], "folders": []})
    # The name of a socket may have some hundred characters.
    place = None if len(tempfile.gettempdir()) < 60 else "/tmp"
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=place) as own:
        try:
            return await _executed(root, source, executed, Path(own))
        except (CellExecutionError, RuntimeError, ZMQError) as error:
            _end_if_cancelled()
            why = plain(str(error)).strip().splitlines()[-1]
            raise RenderError(f"{source}: its kernel can't be used: {why}") from None


async def _executed(
    root: Path, source: str, pieces: list[Piece], own: Path
) -> Executed:
    client = _Client(
        nbformat.v4.new_notebook(),
        timeout=None,
        kernel_name="python3",
        record_timing=False,  # the same cells give the same outputs
        shutdown_kernel="immediate",  # it has nothing to save, and exits slowly
        resources={"metadata": {"path": str(root)}},
        # Two kernels that begin at once might take the same port of the machine.
        config=Config(
            KernelManager={
                "transport": "ipc",
                "ip": str(own / "to"),
                "connection_file": str(own / "connection.json"),
            }
        ),
    )
    results: list[Result] = []
    async with _kernel(client, own):
        await _run(client, SETUP.format(reads=str(READS), root=str(root)))
        for piece in pieces:
            where = f"{source}:{piece.line}"
            try:
                if piece.kind == "code":
                    cell = await _run(client, piece.text, counted=True)
                    outputs = _merged(cell.outputs)
                    results.append(
                        {"execution_count": cell.execution_count, "outputs": outputs}
                    )
                else:
                    found = [
                        await _shown(client, expression, where)
                        for expression in expressions(piece)
                    ]
                    results.append(found)
            except CellExecutionError as error:
                what = f"cell {piece.name}" if piece.kind == "code" else "the text here"
                raise RenderError(
                    f"{where}: {what} failed: {error.ename}: {error.evalue}\n"
                    f"{plain(error.traceback)}"
                ) from None
            except DeadKernelError:
                _end_if_cancelled()
                raise RenderError(
                    f"{where}: the kernel died in cell {piece.name}"
                ) from None
        read = await _value(client, "__import__('json').dumps(_read_by_cells())")
    return Executed(results, json.loads(ast.literal_eval(read["text/plain"])))


def notebook(pieces: list[Piece], results: list[Result]) -> NotebookNode:
    """A chapter as an executed notebook, whose cells correspond to ``pieces``.

    In Markdown cells the inline expressions are replaced by their values.
    """
    made: NotebookNode = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    remaining = iter(results)
    for piece in pieces:
        result = next(remaining) if expressions(piece) else []
        if isinstance(result, dict):
            cell = nbformat.v4.new_code_cell(piece.text, **nbformat.from_dict(result))
        else:
            values = iter(result)
            text = INLINE.sub(partial(_next, values), piece.text)
            cell = nbformat.v4.new_markdown_cell(text)
        made.cells.append(cell)
    return made


def _end_if_cancelled() -> None:
    """Where this task is cancelled, the client takes that for the kernel's death."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError from None


@asynccontextmanager
async def _kernel(client: NotebookClient, own: Path) -> AsyncIterator[None]:
    """A kernel for a client, with a folder of its own.

    What a user has IPython and Matplotlib do at their start would change what the
    cells show, and is left out.
    """
    env = os.environ | {
        "IPYTHONDIR": str(own / "ipython"),
        "MATPLOTLIBRC": os.devnull,
        "PYTHONSTARTUP": "",
    }
    try:
        async with client.async_setup_kernel(env=env):
            yield
    finally:
        atexit.unregister(client._cleanup_kernel)  # it would complain of what is done
        if client.km and client.km.has_kernel:  # stopped before it was set up
            await client._async_cleanup_kernel()


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs, of which a text that was printed in several parts is one.

    The kernel sends what is printed now and then, so the parts are a matter of chance.
    """
    merged: list[NotebookNode] = []
    for output in outputs:
        name = output.get("name")  # of a stream
        if name and merged and merged[-1].get("name") == name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def _next(values: Iterator[str], _: re.Match[str]) -> str:
    return next(values)


async def _shown(client: NotebookClient, expression: str, where: str) -> str:
    """The value of an inline expression as Markdown; a string is taken literally."""
    data = await _value(client, expression)
    kinds = {found[0] for name in FORMATS if (found := form(data, name))}
    if kinds - {"text/plain"} and kinds != {"text/markdown"}:
        raise RenderError(
            f"{where}: {expression} gives {', '.join(sorted(kinds))}, expected "
            "Markdown, a number or a text; what is more is shown by a cell"
        )
    shown = str(data.get("text/markdown", data.get("text/plain", "")))
    if "text/markdown" not in data and re.fullmatch(r"'.*'|\".*\"", shown, re.S):
        shown = MARKDOWN_SPECIAL.sub(r"\\\1", shown[1:-1])
    if not shown.strip():
        raise RenderError(f"{where}: {expression} gives nothing to show")
    return shown


async def _value(client: NotebookClient, code: str) -> dict[str, Any]:
    """What the kernel shows for ``code``, by MIME type.

    It is displayed, since IPython shows no value after a cell that ends with ``;``.
    """
    cell = await _run(client, f"__import__('IPython').display.display((\n{code}\n))")
    return dict(cell.outputs[-1].data)


async def _run(
    client: NotebookClient, code: str, counted: bool = False
) -> NotebookNode:
    """A cell, run; the kernel counts those of the chapter."""
    cell: NotebookNode = nbformat.v4.new_code_cell(code)
    client.nb.cells.append(cell)
    await client.async_execute_cell(
        cell, len(client.nb.cells) - 1, store_history=counted
    )
    return cell
