"""Calls pandoc, and takes its warnings for errors; reads its JSON."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypandoc

from portable import RenderError


class PandocError(RenderError):
    """What pandoc complained of, a line each in ``complaints``."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("pandoc: " + "; ".join(complaints))
        self.complaints = complaints


def pandoc(
    arguments: list[str],
    text: str,
    variables: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> str:
    """What pandoc makes of ``text``, run in ``folder``.

    ``variables`` are handed to the template as they are. Raises ``PandocError`` where
    pandoc fails or warns.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as defaults:
        json.dump({"variables": variables or {}}, defaults)
        defaults.flush()
        done = subprocess.run(
            [pypandoc.get_pandoc_path(), f"--defaults={defaults.name}", *arguments],
            input=text,
            capture_output=True,
            encoding="utf-8",
            cwd=folder,
            env=os.environ | {"LC_ALL": "C.UTF-8"},  # in which it reads its arguments
        )
    complaints = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode or complaints:
        raise PandocError(complaints or [f"exit status {done.returncode}"])
    return done.stdout


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every element of a part of pandoc's JSON, in order."""
    if isinstance(node, dict):
        if "t" in node:
            yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def words(node: Any) -> str:
    """The words in a part of pandoc's JSON; formulas are TeX, and notes left out."""
    if isinstance(node, list):
        return "".join(map(words, node))
    if not isinstance(node, dict):
        return ""
    kind, content = node.get("t"), node.get("c")
    if kind == "Str":
        return str(content)
    if kind in ("Space", "SoftBreak", "LineBreak"):
        return " "
    if kind in ("Code", "Math") and content:
        return str(content[1])
    if kind == "Quoted" and content:
        left, right = "‘’" if content[0]["t"] == "SingleQuote" else "“”"
        return left + words(content[1]) + right
    return "" if kind == "Note" else words(list(node.values()))
