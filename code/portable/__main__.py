"""``python -m portable [--to html,pdf,notebooks] [folder]``"""

import argparse
import sys
import time
from pathlib import Path

from pypdf import PdfReader

from portable import RenderError
from portable.book import FORMATS, render


def main() -> int:
    parser = argparse.ArgumentParser(prog="portable", description=__doc__)
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--to", default=",".join(FORMATS), help="formats, with commas")
    arguments = parser.parse_args()
    formats = arguments.to.split(",")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        parser.error(f"--to has {unknown[0]!r}, expected some of {', '.join(FORMATS)}")
    start = time.perf_counter()
    try:
        project = render(arguments.folder.resolve(), formats)
    except RenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start
    if "html" in formats:
        print(project.output / "index.html")
    if "pdf" in formats:
        pdf = project.output / project.pdf_name
        print(f"{pdf} ({len(PdfReader(pdf).pages)} pages)")
    if "notebooks" in formats:
        print(f"{project.output / 'notebooks'} ({len(project.sources)} notebooks)")
    print(f"rendered by portable in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
