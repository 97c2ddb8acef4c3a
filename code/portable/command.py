"""``python -m portable [--renderer NAME] [--fresh] [folder]``: renders a folder's book.

Quarto does it where it is installed, else this package. ``--fresh`` executes all
chapters, even those that were kept in their present state, and sets the PDF anew.
"""

import argparse
import errno
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from portable import RenderError
from portable.profile import measured, profile
from portable.requirements import check_python


def main() -> int:
    parser = argparse.ArgumentParser(prog="portable", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--renderer", choices=["quarto", "portable"])
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    root = arguments.folder.resolve()
    try:
        check_python(root)
        render_book(root, arguments.renderer, arguments.fresh)
    except (RenderError, OSError) as error:
        print(f"error: {_said(error, root)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def render_book(root: Path, wanted: str | None, fresh: bool = False) -> None:
    """Renders with what is wanted, or else with what is there, and says what it made.

    Raises ``RenderError``.
    """
    with measured("start"):
        # Here, as they need packages which only now are known to be there.
        from pypdf import PdfReader

        from portable.book import render
        from portable.project import read_project
        from portable.quarto import find_quarto, render_with_quarto

    signal.signal(signal.SIGINT, signal.default_int_handler)  # see __main__
    start = time.perf_counter()
    version = find_quarto() if wanted != "portable" else None
    if wanted == "quarto" and not version:
        raise RenderError("quarto is not on the PATH")
    renderer = f"Quarto {version}" if version else "portable"
    print(f"Rendering with {renderer}", flush=True)
    if version:
        render_with_quarto(root, fresh)
        project = read_project(root)
    else:
        project = render(root, fresh=fresh)
    seconds = time.perf_counter() - start
    output = project.output.relative_to(root)
    pages = len(PdfReader(project.output / project.pdf_name).pages)
    print(f"{output / 'index.html'}")
    print(f"{output / project.pdf_name}  {pages} pages")
    notebooks = list((project.output / "notebooks").glob("*.ipynb"))
    print(f"{output / 'notebooks'}  {len(notebooks)} notebooks")
    print(f"rendered with {renderer} in {seconds:.0f} s ({profile()})")


def _said(error: Exception, root: Path) -> str:
    """What an error says; where a disk is full, also how much each has left."""
    text = str(error)
    if isinstance(error, shutil.Error):  # of many files
        text = str(error.args[0][0][-1])
    if os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text:
        for folder in (tempfile.gettempdir(), root):
            free = shutil.disk_usage(folder).free / 1e6
            text += f"; {folder} has {free:.1f} MB left"
    return text
