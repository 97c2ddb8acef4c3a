"""Writes the PDF: pandoc makes one LaTeX document of the book, and LaTeX sets it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from portable import RenderError
from portable.pandoc import pandoc
from portable.project import Project

HERE = Path(__file__).parent
PANDOC_VARIABLES = (
    *("documentclass", "classoption", "papersize", "fontsize", "geometry", "keywords"),
    *("colorlinks", "linkcolor", "citecolor", "urlcolor", "toccolor"),
)
ENGINES = {"lualatex": "-lualatex", "xelatex": "-xelatex"}


def write_pdf(
    project: Project, markdown: str, arguments: list[str], build: Path, out: Path
) -> None:
    """Sets the book in ``build``, where its figures are, and copies the PDF to ``out``.

    ``arguments`` are pandoc's for numbering the book. Raises ``RenderError`` where
    LaTeX fails, lacks a character or leaves a reference open.
    """
    options = project.format("pdf")
    engine = options.get("pdf-engine", "lualatex")
    if engine not in ENGINES:
        raise RenderError(
            f"_quarto.yml: pdf-engine is {engine!r}, expected one of {list(ENGINES)}"
        )
    header = build / "header.tex"
    preambles = [HERE / "header.tex"]
    preambles += [project.root / name for name in project.preambles]
    header.write_text("\n".join(path.read_text() for path in preambles))
    variables: dict[str, Any] = {
        key: options[key] for key in PANDOC_VARIABLES if key in options
    }
    tex = pandoc(
        [
            *arguments,
            f"--metadata=title={project.book['title']}",
            "--to=latex",
            "--standalone",
            "--number-sections",
            *(["--toc"] if options.get("toc", True) else []),
            f"--toc-depth={options.get('toc-depth', 2)}",
            "--top-level-division=chapter",
            f"--include-in-header={header}",
        ],
        markdown,
        variables,
        build,
    )
    name = Path(project.pdf_name).stem
    (build / f"{name}.tex").write_text(tex)
    if not shutil.which("latexmk"):
        raise RenderError("latexmk is not installed; it comes with TeX Live")
    command = ["latexmk", ENGINES[engine], "-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [*command, f"{name}.tex"], cwd=build, capture_output=True, text=True
    )
    log = build / f"{name}.log"
    text = log.read_text(errors="replace") if log.exists() else done.stdout
    problems = re.findall(r"^! .*", text, re.MULTILINE)
    problems += re.findall(r"^Missing character: .*", text, re.MULTILINE)
    problems += re.findall(r"^LaTeX Warning: .*undefined.*", text, re.MULTILINE)
    if done.returncode or problems:
        raise RenderError(f"LaTeX: {'; '.join(problems) or done.stdout[-500:]}")
    shutil.copy(build / f"{name}.pdf", out / project.pdf_name)
