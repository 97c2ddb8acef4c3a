"""Renders a whole book: reads it, runs it, writes it in every format."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from portable import RenderError
from portable.assemble import assemble, unmarked
from portable.chapter import read_chapter, read_text
from portable.date import fix_date
from portable.document import dated, joined
from portable.executed import executed
from portable.folder import replace, restore
from portable.html import write_html
from portable.notebook import Chapter, write_notebooks
from portable.pandoc import PandocError, pandoc
from portable.pdf import write_pdf
from portable.profile import measured
from portable.project import Project, read_project

CHECK, NUMBERS = (Path(__file__).parent / name for name in ("check.lua", "book.lua"))
FORMATS = ("html", "pdf", "notebooks")


def render(
    root: Path,
    formats: Collection[str] = FORMATS,
    output: Path | None = None,
    fresh: bool = False,
) -> Project:
    """Renders the book in the folder ``root``; ``fresh``, without what was kept of it.

    The output folder, ``output`` or else the project's own, is replaced when all is
    done; until then, and where anything fails, the previous one stays as it is. Where
    ``formats`` is only the notebooks, they are put into the output folder that is
    there. Raises ``RenderError``.
    """
    project = read_project(root)
    fix_date(root)
    output = output or project.output
    restore(output)
    if set(formats) != {"notebooks"}:
        with measured("scripts"):
            _run(project, "pre-render", output)
    chapters = {source: read_chapter(root, source) for source in project.sources}
    with tempfile.TemporaryDirectory(prefix="portable-") as folder:
        build, out = Path(folder, "build"), Path(folder, "book")
        for path in (build, out / "notebooks"):
            path.mkdir(parents=True)
        texts: dict[str, str] = {}
        done: list[Chapter] = []
        with measured("chapters"):
            notebooks = executed(root, chapters, fresh)
        for (source, pieces), notebook in zip(chapters.items(), notebooks, strict=True):
            figures = build / project.figures(source)
            figures.mkdir(parents=True, exist_ok=True)
            texts[source] = assemble(source, pieces, notebook, figures)
            done.append(Chapter(source, project.names[source], pieces, notebook))
        try:
            with measured("reading"):
                document = joined(project, texts, build)
            _write(project, document, done, formats, build, out, fresh)
        except PandocError as error:
            raise RenderError(_located(error.complaints, project)) from None
        except RenderError as error:
            missing = re.search(r"There is no (.) \(U\+", str(error))
            place = ""
            if missing:
                place = _place(re.escape(missing[1]), project, project.sources)
            raise RenderError(f"{place}{error}") from None
        if set(formats) == {"notebooks"}:
            replace(out / "notebooks", output / "notebooks")
        else:
            with measured("scripts"):
                _run(project, "post-render", out)
            replace(out, output)
    return project


def _write(
    project: Project,
    read: dict[str, Any],
    chapters: list[Chapter],
    formats: Collection[str],
    build: Path,
    out: Path,
    fresh: bool,
) -> None:
    document: dict[str, Any] = {}
    if {"html", "notebooks"} & set(formats):
        with measured("numbering"):
            arguments = [*_arguments(project, "html"), "--to=json"]
            text = json.dumps(dated(project, read, "html"))
            document = json.loads(pandoc(arguments, text, folder=build))
    with ThreadPoolExecutor() as beside:  # all but wait for pandoc and for LaTeX
        tasks: list[Future[None]] = []
        if "pdf" in formats:
            arguments = _arguments(project, "pdf")
            text = json.dumps(dated(project, read, "pdf"))
            tasks.append(
                beside.submit(write_pdf, project, text, arguments, build, out, fresh)
            )
        if "notebooks" in formats:
            folder = out / "notebooks"
            tasks.append(beside.submit(write_notebooks, document, chapters, folder))
        if "html" in formats:
            with measured("HTML"):
                write_html(project, unmarked(document), build / "figures", out)
        for task in tasks:
            task.result()


def _arguments(project: Project, name: str) -> list[str]:
    """What pandoc needs to number the book for a format."""
    own = (project.root / path for path in project.filters(name))
    arguments = [
        "--from=json",
        *(f"--lua-filter={path}" for path in (CHECK, *own, NUMBERS)),
        "--citeproc",
        *("--metadata=link-citations", f"--metadata=lang={project.language}"),
        f"--metadata=chapter-prefix={project.chapter_prefix}",
    ]
    paths = (project.root / name for name in project.bibliographies)
    return arguments + [f"--bibliography={path}" for path in paths]


def _run(project: Project, kind: str, out: Path) -> None:
    """Runs the project's ``pre-render`` or ``post-render`` scripts, as Quarto does."""
    scripts = {"pre-render": project.pre_render, "post-render": project.post_render}
    for script in scripts[kind]:
        done = subprocess.run(
            [sys.executable, script],
            cwd=project.root,
            env={
                **os.environ,
                "QUARTO_PROJECT_OUTPUT_DIR": str(out),
                "QUARTO_PROJECT_RENDER_ALL": "1",
            },
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode:
            raise RenderError(f"{kind}: {script} failed\n{done.stderr.strip()}")


def _located(complaints: list[str], project: Project) -> str:
    """Pandoc's complaints, each with the first place in the sources it is about."""
    lines = []
    for complaint in complaints:
        complaint = re.sub(r"^\[\w+\] |^Error running filter.*", "", complaint).strip()
        sources = project.sources
        for source in sources:
            if complaint.startswith(f"{source}: "):
                complaint, sources = complaint.removeprefix(f"{source}: "), [source]
        named = re.search(r"(?:reference|citation|label) @?([\w:.-]+)", complaint)
        link = re.search(r"link to (\S+)", complaint)
        raw = re.search(r"is not supported: (.*)", complaint)
        pattern = None
        if named:
            name = re.escape(named[1])
            pattern = rf"[@#(]{name}(?![\w-])|label: {name}$"
        elif link:
            pattern = rf"\(<?{re.escape(link[1])}"
        elif raw:
            pattern = re.escape(raw[1])
        if complaint:
            place = _place(pattern, project, sources) if pattern else ""
            lines.append((place or f"{sources[0]}: " * (len(sources) == 1)) + complaint)
    return "\n".join(lines)


def _place(pattern: str, project: Project, sources: list[str]) -> str:
    for source in sources:
        text = read_text(project.root, source)
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(pattern, line):
                return f"{source}:{number}: "
    return ""
