"""``python -m portable [--renderer NAME] [folder]``: renders the book in a folder.

Quarto does it where it is installed, else this package.
"""

import argparse
import sys
import time
from pathlib import Path

from portable import RenderError
from portable.requirements import check_python


def main() -> int:
    parser = argparse.ArgumentParser(prog="portable", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--renderer", choices=["quarto", "portable"])
    arguments = parser.parse_args()
    try:
        root = arguments.folder.resolve()
        check_python(root)
        render_book(root, arguments.renderer)
    except RenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def render_book(root: Path, wanted: str | None) -> None:
    """Renders with what is wanted, or else with what is there, and says what it made.

    Raises ``RenderError``.
    """
    # Here, as they need packages which only now are known to be there.
    from pypdf import PdfReader

    from portable.book import render
    from portable.project import read_project
    from portable.quarto import find_quarto, render_with_quarto

    start = time.perf_counter()
    version = find_quarto() if wanted != "portable" else None
    if wanted == "quarto" and not version:
        raise RenderError("quarto is not on the PATH")
    renderer = f"Quarto {version}" if version else "portable"
    print(f"Rendering with {renderer}", flush=True)
    if version:
        render_with_quarto(root)
        project = read_project(root)
    else:
        project = render(root)
    seconds = time.perf_counter() - start
    output = project.output.relative_to(root)
    pages = len(PdfReader(project.output / project.pdf_name).pages)
    print(f"{output / 'index.html'}")
    print(f"{output / project.pdf_name}  {pages} pages")
    notebooks = list((project.output / "notebooks").glob("*.ipynb"))
    print(f"{output / 'notebooks'}  {len(notebooks)} notebooks")
    print(f"rendered with {renderer} in {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
