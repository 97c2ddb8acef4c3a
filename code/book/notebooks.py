"""Writes each chapter as an executed notebook to ``notebooks`` beside Quarto's book.

Quarto runs it after rendering, and says by environment variables what it rendered. The
notebooks are put into the book's folder (``QUARTO_PROJECT_OUTPUT_DIR``) only where that
was the whole book (``QUARTO_PROJECT_RENDER_ALL``), to HTML, whose pages link to them
(``QUARTO_PROJECT_OUTPUT_FILES``), not a draft (``QUARTO_PROFILE``). ``portable`` itself
sets none but the first two, and writes the notebooks in its own way.
"""

import os
from pathlib import Path

from portable.book import render

if __name__ == "__main__":
    asked = os.environ.get
    whole = asked("QUARTO_PROJECT_RENDER_ALL") and asked("QUARTO_PROFILE") != "draft"
    if whole and "index.html" in asked("QUARTO_PROJECT_OUTPUT_FILES", ""):
        book = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
        project = render(Path.cwd(), ["notebooks"], book)
        for source, name in project.names.items():
            # Where two files of chapters have one name, html.lua doesn't know theirs.
            page, stem = (book / source).with_suffix(".html"), Path(source).stem
            if name != stem:
                text = page.read_text(encoding="utf-8")
                text = text.replace(f"/{stem}.ipynb", f"/{name}.ipynb")
                page.write_text(text, encoding="utf-8")
