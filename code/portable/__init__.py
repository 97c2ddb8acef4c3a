"""Executes the chapters of a book, and renders it where Quarto is not installed.

It reads ``_quarto.yml`` and the ``.qmd`` files, runs the cells of those chapters that
it does not have in their present state (``executed``), and writes what Quarto would: an
HTML book, a PDF, and each chapter as an executed notebook. It supports the part of
Quarto that the book uses and stops at anything else. Where Quarto renders, it is handed
the executed chapters (``frozen``).
"""


class RenderError(Exception):
    """Says in one line what stopped the rendering, and where."""
