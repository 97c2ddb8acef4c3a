"""Renders the book where Quarto is not installed.

It reads ``_quarto.yml`` and the ``.qmd`` files, runs their cells,
and writes what Quarto would: an HTML book, a PDF, and each chapter as an executed
notebook. It supports the part of Quarto that the book uses and stops at anything else.
"""


class RenderError(Exception):
    """Says in one line what stopped the rendering, and where."""
