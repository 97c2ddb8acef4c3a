"""Calls pandoc, and takes its warnings for errors."""

import json
import subprocess
import tempfile
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
    with tempfile.NamedTemporaryFile("w", suffix=".json") as defaults:
        json.dump({"variables": variables or {}}, defaults)
        defaults.flush()
        done = subprocess.run(
            [pypandoc.get_pandoc_path(), f"--defaults={defaults.name}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=folder,
        )
    complaints = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode or complaints:
        raise PandocError(complaints or [f"exit status {done.returncode}"])
    return done.stdout
