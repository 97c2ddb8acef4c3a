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
from urllib.parse import quote, unquote

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
    sources = dict(zip(project.sources, pages, strict=True))
    homes = {
        page: set(_identifiers(chapter))
        for page, chapter in zip(pages, chapters, strict=True)
    }
    titles = [_title(chapter) for chapter in chapters]
    styles = [HERE / "style.css", *(project.root / name for name in project.styles)]
    (out / "style.css").write_text(
        "\n".join(path.read_text(encoding="utf-8") for path in styles), encoding="utf-8"
    )
    shutil.copy(HERE / "page.js", out / "page.js")
    texts = []  # of the pages
    shown = document["meta"]
    title = words(shown["title"])
    for index, (page, chapter) in enumerate(zip(pages, chapters, strict=True)):
        up = "../" * page.count("/")
        _relink(chapter, page, homes, sources)
        home = page == "index.html"
        notebook = f"notebooks/{project.names[project.sources[index]]}.ipynb"

        def entry(other: int, here: str = page, up: str = up) -> dict[str, Any]:
            return _meta(
                href=up + quote(pages[other]),
                title={"t": "MetaInlines", "c": titles[other]},
                current=pages[other] == here,
            )

        meta = _meta(
            pagetitle=f"{words(titles[index]).strip()} – {title}",
            book={"t": "MetaInlines", "c": _bare(shown["title"]["c"])},
            up=up,
            home=home,
            contents=_has_sections(chapter),
            pdf=quote(project.pdf_name),
            notebook=quote(notebook),
            chapters=[entry(other) for other in range(len(pages))],
        )["c"]
        if index > 0:
            meta["previous"] = entry(index - 1)
        if index + 1 < len(pages):
            meta["next"] = entry(index + 1)
        if (
            home
            and isinstance(shown.get("author"), dict)
            and len(shown["author"]["c"]) > 1
        ):
            meta |= _meta(authors=True)["c"]
        kept = {
            key: value
            for key, value in shown.items()
            if home or key not in ("subtitle", "author", "date", "date-meta")
        }
        own = {"meta": kept | meta, "blocks": chapter["c"][1]}
        texts.append(json.dumps(document | own))
    arguments = ["--from=json", "--to=html5", *OPTIONS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each waits for its pandoc
        written = pool.map(partial(pandoc, arguments), texts)
        for page, html in zip(pages, written, strict=True):
            (out / page).parent.mkdir(parents=True, exist_ok=True)
            (out / page).write_text(html, encoding="utf-8")


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


def _title(chapter: dict[str, Any]) -> list[dict[str, Any]]:
    """A chapter's first heading, without its number."""
    for element in walk(chapter):
        if element["t"] == "Header":
            parts = [part for part in element["c"][2] if not _is_number(part)]
            if len(parts) < len(element["c"][2]):
                parts = parts[1:]  # the space after the number
            while parts and parts[-1]["t"] in ("Space", "Note"):
                parts = parts[:-1]
            return _bare(parts)
    return []


def _bare(inlines: list[Any]) -> list[Any]:
    """Inlines as they may stand in a link: no note, no link, and no identifier."""
    found = []
    for part in inlines:
        kind, content = part["t"], part.get("c")
        if kind in ("Link", "Cite") or (kind == "Span" and "number" in content[0][1]):
            found += _bare(content[1])
        elif kind == "Span":
            found.append({"t": kind, "c": [["", *content[0][1:]], _bare(content[1])]})
        elif kind == "Quoted":
            found.append({"t": kind, "c": [content[0], _bare(content[1])]})
        elif content and kind not in ("Str", "Code", "Math", "Note"):
            found.append({"t": kind, "c": _bare(content)})
        elif kind != "Note":
            found.append(part)
    return found


def _meta(**values: Any) -> dict[str, Any]:
    """Values as pandoc's metadata, which it escapes; mappings are metadata already."""

    def made(value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        if isinstance(value, list):
            return {"t": "MetaList", "c": value}
        return {
            "t": "MetaBool" if isinstance(value, bool) else "MetaString",
            "c": value,
        }

    return {"t": "MetaMap", "c": {key: made(value) for key, value in values.items()}}


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


def _relink(
    chapter: dict[str, Any],
    page: str,
    homes: dict[str, set[str]],
    sources: dict[str, str],
) -> None:
    """Makes links and images relative to ``page``.

    ``homes`` has the identifiers of each page, and ``sources`` the page of each source.
    """
    folder = posixpath.dirname(page) or "."
    for element in walk(chapter):
        if element["t"] not in ("Link", "Image"):
            continue
        target = element["c"][2]
        path, _, label = target[0].partition("#")
        if path.startswith("book:"):
            home = sources[unquote(path.removeprefix("book:"))]
            target[0] = f"{quote(posixpath.relpath(home, folder))}#{label}"
        elif element["t"] == "Link" and not path and label not in homes[page]:
            # A label or an entry of the references, which only one page has.
            home = next((home for home in homes if label in homes[home]), page)
            if home != page:
                target[0] = f"{quote(posixpath.relpath(home, folder))}#{label}"
        elif element["t"] == "Image":
            target[0] = posixpath.relpath(target[0], folder)
