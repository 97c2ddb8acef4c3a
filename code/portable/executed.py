"""Gives the executed chapters: those that are kept, and the others executed now."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from portable import RenderError, inputs, store
from portable.chapter import Piece
from portable.execute import Executed, execute, notebook

Chapters = dict[str, list[Piece]]  # the pieces of each, by its source


def executed(root: Path, chapters: Chapters, fresh: bool = False) -> list[NotebookNode]:
    """The chapters of a book in the folder ``root`` as executed notebooks.

    A chapter that was kept in its present state (``inputs``) is not executed, unless
    ``fresh`` says so. The others are, as many at once as there are cores, and are kept.
    Raises ``RenderError`` where a cell fails.
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:
        found = runner.run(_all(root, chapters, fresh))
    return [
        notebook(pieces, of.results)
        for pieces, of in zip(chapters.values(), found, strict=True)
    ]


def kept(root: Path, source: str, pieces: list[Piece]) -> NotebookNode | None:
    """A chapter as an executed notebook, where it was kept in its present state."""
    key, _ = _key(root, pieces)
    of = _kept(root, source, key) if key else None
    return notebook(pieces, of.results) if of else None


class _Loop(asyncio.SelectorEventLoop):
    """Leaves Ctrl-C to ``asyncio``, which stops all that runs.

    The client of a kernel would take it as the end of that kernel alone.
    """

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        raise RuntimeError("as outside of the main thread")  # which the client expects


async def _all(root: Path, chapters: Chapters, fresh: bool) -> list[Executed]:
    free = asyncio.Semaphore(os.cpu_count() or 1)
    found: list[Executed] = []
    try:
        async with asyncio.TaskGroup() as group:
            # The last begin first: they tend to build on more, and to take longer.
            tasks = [
                group.create_task(_one(root, source, pieces, fresh, free))
                for source, pieces in reversed(chapters.items())
            ]
            for number, source in enumerate(chapters, 1):
                of, how = await tasks[-number]
                print(f"[{number}/{len(chapters)}] {source} {how}", flush=True)
                found.append(of)
    except ExceptionGroup as group_of:
        for error in group_of.exceptions:
            if isinstance(error, RenderError | OSError):
                raise error from None
        raise
    return found


async def _one(
    root: Path, source: str, pieces: list[Piece], fresh: bool, free: asyncio.Semaphore
) -> tuple[Executed, str]:
    """A chapter, and how it was had."""
    key, why = _key(root, pieces)
    of = _kept(root, source, key) if key and not fresh else None
    if of:
        return of, "as kept"
    async with free:
        start, moment = time.perf_counter(), time.time()
        of = await execute(root, source, pieces)
        seconds = time.perf_counter() - start
    if key and (key, why) != _key(root, pieces):
        why = "the code changed meanwhile"
    elif inputs.changed_since(root, of.reads, moment):
        why = "a file that it read changed meanwhile"
    elif key and of.results:
        why = _keep(root, source, key, of)
    return of, f"{seconds:.1f} s" + (f", not kept: {why}" if why else "")


def _key(root: Path, pieces: list[Piece]) -> tuple[str | None, str]:
    """The key of a chapter, or why it has none."""
    try:
        return inputs.key(root, pieces), ""
    except (SyntaxError, ValueError) as error:
        return None, str(error)


def _kept(root: Path, source: str, key: str) -> Executed | None:
    """A chapter as it was kept, if what it read is still the same."""
    try:
        entry = store.read(root, source, key)
    except store.Damaged as error:
        print(f"{error}: {source} is executed again", flush=True)
        return None
    if entry and inputs.content(root, entry["reads"]) == entry["content"]:
        return Executed(entry["results"], entry["reads"])
    return None


def _keep(root: Path, source: str, key: str, of: Executed) -> str:
    """Keeps a chapter, or says why that can't be done."""
    content = inputs.content(root, of.reads)
    try:
        store.write(root, source, key, of._asdict() | {"content": content})
    except OSError as error:
        return str(error)
    return ""
