"""Writes each chapter as an executed notebook to ``notebooks`` beside Quarto's book.

Quarto runs it after rendering, with the book's folder in the variable
``QUARTO_PROJECT_OUTPUT_DIR``, and what was written in ``QUARTO_PROJECT_OUTPUT_FILES``.
It does its work where the whole book was rendered to HTML, whose pages link to the
notebooks, and not for a draft; ``portable`` writes them itself.
"""

import os
from pathlib import Path

from portable.book import render

if __name__ == "__main__":
    asked = os.environ.get
    whole = asked("QUARTO_PROJECT_RENDER_ALL") and asked("QUARTO_PROFILE") != "draft"
    if whole and "index.html" in asked("QUARTO_PROJECT_OUTPUT_FILES", ""):
        book = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
        render(Path.cwd(), ["notebooks"], book)
