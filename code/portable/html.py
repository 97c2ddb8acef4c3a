"""Writes the HTML book: a page for each chapter."""

import json
import os
import posixpath
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from portable.pandoc import pandoc, walk, words
from portable.project import Project

HERE = Path(__file__).parent
OPTIONS = (
    "--standalone",
    f"--template={HERE / 'page.html'}",
    "--mathml",
    "--toc",
    "--toc-depth=3",
    "--section-divs",
    "--wrap=none",
    "--email-obfuscation=none",
)


def write_html(
    project: Project, document: dict[str, Any], figures: Path, out: Path
) -> None:
    """Writes the pages of ``document``, the numbered book as pandoc's JSON.

    ``figures`` is the folder that has its figures.
    """
    shutil.copytree(figures, out / "figures", ignore=shutil.ignore_patterns("*.pdf"))
    chapters = document["blocks"]
    pages = [posixpath.splitext(source)[0] + ".html" for source in project.sources]
    homes = {
        identifier: page
        for page, chapter in zip(pages, chapters, strict=True)
        for identifier in _identifiers(chapter)
    }
    titles = [_title(chapter) for chapter in chapters]
    styles = [HERE / "style.css", *(project.root / name for name in project.styles)]
    (out / "style.css").write_text("\n".join(path.read_text() for path in styles))
    shutil.copy(HERE / "page.js", out / "page.js")
    texts, frames = [], []  # of the pages
    for index, (page, chapter) in enumerate(zip(pages, chapters, strict=True)):
        up = "../" * page.count("/")
        _relink(chapter, page, homes)
        document["blocks"] = chapter["c"][1]

        def entry(other: int, here: str = page, up: str = up) -> dict[str, Any]:
            return {
                "href": up + pages[other],
                "title": titles[other],
                "current": pages[other] == here,
            }

        variables: dict[str, Any] = {
            "book": project.book,
            "up": up,
            "pagetitle": titles[index],
            "home": page == "index.html",
            "contents": _has_sections(chapter),
            "pdf": project.pdf_name,
            "notebook": f"notebooks/{Path(page).stem}.ipynb",
            "chapters": [entry(other) for other in range(len(pages))],
        }
        if index > 0:
            variables["previous"] = entry(index - 1)
        if index + 1 < len(pages):
            variables["next"] = entry(index + 1)
        texts.append(json.dumps(document))
        frames.append(variables)
    arguments = ["--from=json", "--to=html5", *OPTIONS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for its pandoc
        written = pool.map(partial(pandoc, arguments), texts, frames)
        for page, html in zip(pages, written, strict=True):
            (out / page).parent.mkdir(exist_ok=True)
            (out / page).write_text(html)


def _attributes(element: dict[str, Any]) -> list[Any] | None:
    """The attributes ``[id, classes, pairs]`` of an element that has them."""
    content = element.get("c")
    if element["t"] == "Header" and isinstance(content, list):
        return list(content[1])
    if isinstance(content, list) and content and isinstance(content[0], list):
        first = content[0]
        if len(first) == 3 and isinstance(first[0], str):
            return first
    return None


def _identifiers(chapter: dict[str, Any]) -> Iterator[str]:
    for element in walk(chapter):
        attributes = _attributes(element)
        if attributes and attributes[0]:
            yield attributes[0]


def _title(chapter: dict[str, Any]) -> str:
    """The text of a chapter's first heading, without its number."""
    for element in walk(chapter):
        if element["t"] == "Header":
            parts = [part for part in element["c"][2] if not _is_number(part)]
            return words(parts).strip()
    return ""


def _has_sections(chapter: dict[str, Any]) -> bool:
    """Whether anything of a chapter is listed in its contents but its own title."""
    levels = [
        element["c"][0]
        for element in walk(chapter)
        if element["t"] == "Header" and "unlisted" not in element["c"][1][1]
    ]
    return len([level for level in levels if level <= 3]) > 1


def _is_number(part: dict[str, Any]) -> bool:
    attributes = _attributes(part)
    return bool(attributes and "chapter-number" in attributes[1])


def _relink(chapter: dict[str, Any], page: str, homes: dict[str, str]) -> None:
    """Makes links and images relative to ``page``."""
    folder = posixpath.dirname(page)
    for element in walk(chapter):
        if element["t"] not in ("Link", "Image"):
            continue
        target = element["c"][2]
        if target[0].startswith("#"):
            home = homes.get(target[0][1:], page)
            if home != page:
                target[0] = posixpath.relpath(home, folder or ".") + target[0]
        elif element["t"] == "Image":
            target[0] = posixpath.relpath(target[0], folder or ".")
