"""Reads executed notebooks as Jupyter shows them."""

import json
from pathlib import Path
from typing import Any


def notebook(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["cells"])


def source(cell: dict[str, Any]) -> str:
    return plain(cell["source"])


def plain(lines: list[str]) -> str:
    """A text of a notebook, in which a space that does not break is a space."""
    return "".join(lines).replace("\u00a0", " ")


def markdown(path: Path) -> str:
    """What Jupyter shows as Markdown: the cells, and the outputs that are."""
    texts = []
    for cell in notebook(path):
        if cell["cell_type"] == "markdown":
            texts.append(source(cell))
        for output in cell.get("outputs", []):
            texts.append(plain(output.get("data", {}).get("text/markdown", [])))
    return "\n\n".join(texts)
