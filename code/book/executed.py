"""Hands the executed chapters to Quarto before it renders.

Quarto runs it, and says by environment variables what it renders: which sources
(``QUARTO_PROJECT_INPUT_FILES``), and whether they are all of the book
(``QUARTO_PROJECT_RENDER_ALL``). ``portable``, which runs it as well, names no sources,
because it needs nothing of this. With ``PORTABLE_FRESH`` no chapter is taken as it was
kept.
"""

import os
import sys
from pathlib import Path


def main(wanted: list[str]) -> None:
    """Hands over those chapters of the book in this folder that are ``wanted``."""
    try:
        from portable import RenderError
        from portable.chapter import read_chapter
        from portable.frozen import freeze
        from portable.project import read_project
    except ImportError as error:
        sys.exit(
            f"error: {sys.executable}, which Quarto runs, lacks {error.name}; say make "
            "report, or set QUARTO_PYTHON to a Python with what this book needs"
        )
    root, asked = Path.cwd(), os.environ.get
    try:
        sources = [name for name in read_project(root).sources if name in wanted]
        chapters = {source: read_chapter(root, source) for source in sources}
        whole = bool(asked("QUARTO_PROJECT_RENDER_ALL"))
        freeze(root, chapters, whole, bool(asked("PORTABLE_FRESH")))
    except RenderError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    if sources := os.environ.get("QUARTO_PROJECT_INPUT_FILES"):
        main(sources.splitlines())
