"""``python -m portable [--renderer NAME] [folder]``: renders the book in a folder.

Quarto does it where it is installed, else this package.
"""

import argparse
import sys
import time
from pathlib import Path

from pypdf import PdfReader

from portable import RenderError
from portable.book import render
from portable.quarto import find_quarto, render_with_quarto


def main() -> int:
    parser = argparse.ArgumentParser(prog="portable", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--renderer", choices=["quarto", "portable"])
    arguments = parser.parse_args()
    root = arguments.folder.resolve()
    start = time.perf_counter()
    try:
        version = find_quarto() if arguments.renderer != "portable" else None
        if arguments.renderer == "quarto" and not version:
            raise RenderError("quarto is not on the PATH")
        if version:
            renderer = f"Quarto {version}"
            print(f"Rendering with {renderer}", flush=True)
            render_with_quarto(root)
            project = render(root, ["notebooks"])
        else:
            renderer = "portable"
            print("Rendering with portable", flush=True)
            project = render(root)
    except RenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start
    output = project.output.relative_to(root)
    pages = len(PdfReader(project.output / project.pdf_name).pages)
    print(f"{output / 'index.html'}")
    print(f"{output / project.pdf_name}  {pages} pages")
    print(f"{output / 'notebooks'}  {len(project.sources)} notebooks")
    print(f"rendered with {renderer} in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
