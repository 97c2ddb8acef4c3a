"""Writes the PDF: pandoc makes one LaTeX document of the book, and LaTeX sets it."""

import re
from pathlib import Path
from typing import Any

from portable import RenderError
from portable.latex import ENGINES, typeset
from portable.pandoc import pandoc
from portable.profile import measured
from portable.project import Project

HERE = Path(__file__).parent
PANDOC_VARIABLES = (
    *("documentclass", "classoption", "papersize", "fontsize", "geometry"),
    *("colorlinks", "linkcolor", "citecolor", "urlcolor", "toccolor"),
)


def write_pdf(
    project: Project,
    document: str,
    arguments: list[str],
    build: Path,
    out: Path,
    fresh: bool,
) -> None:
    """Sets the book in ``build``, where its figures are, and puts the PDF into ``out``.

    ``document`` is the book as pandoc's JSON, ``arguments`` are those for numbering it,
    and ``fresh`` asks for no PDF that was kept. Raises ``RenderError``, as
    ``latex.typeset`` does.
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
    header.write_text(
        "\n".join(path.read_text(encoding="utf-8") for path in preambles),
        encoding="utf-8",
    )
    variables: dict[str, Any] = {
        key: options[key] for key in PANDOC_VARIABLES if key in options
    }
    tex = pandoc(
        [
            *arguments,
            "--to=latex",
            "--standalone",
            "--number-sections",
            *(["--toc"] if options.get("toc", True) else []),
            f"--toc-depth={options.get('toc-depth', 2)}",
            "--top-level-division=chapter",
            f"--include-in-header={header}",
        ],
        document,
        variables,
        build,
    )
    name = Path(project.pdf_name).stem
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        name = "book"  # to LaTeX, which takes some characters for its own
    (build / f"{name}.tex").write_text(tex, encoding="utf-8")
    with measured("LaTeX"):
        pdf = typeset(project.root, build, name, engine, fresh)
    (out / project.pdf_name).write_bytes(pdf)
