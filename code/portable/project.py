"""Reads ``_quarto.yml``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from portable import RenderError

# The options that are supported; those of a format that do nothing here, because this
# renderer always does what they ask for or has its own look, are supported, too.
SCHEMA: dict[str, Any] = {
    "project": {
        "type": None,
        "output-dir": None,
        "execute-dir": None,
        "pre-render": None,
        "post-render": None,
    },
    "book": {
        "title": None,
        "output-file": None,
        "downloads": None,
        "search": None,
        "chapters": None,
        "appendices": None,
    },
    "execute": {"freeze": None},
    "lang": None,
    "language": {"crossref-ch-prefix": None},
    "bibliography": None,
    "jupyter": None,
    "format": {
        "html": {
            "theme": None,
            "html-math-method": None,
            "code-copy": None,
            "fig-format": None,
            "filters": None,
            "css": None,
            "respect-user-color-scheme": None,
        },
        "pdf": {
            "keywords": None,
            "documentclass": None,
            "classoption": None,
            "pdf-engine": None,
            "papersize": None,
            "fontsize": None,
            "geometry": None,
            "fig-format": None,
            "fig-pos": None,
            "colorlinks": None,
            "linkcolor": None,
            "citecolor": None,
            "urlcolor": None,
            "toccolor": None,
            "toc": None,
            "toc-depth": None,
            "latex-auto-install": None,
            "filters": None,
            "include-in-header": None,
        },
    },
}

# What may be said only one way, because only that way is implemented.
FIXED = {
    ("project", "type"): "book",
    ("project", "execute-dir"): "project",
    ("format", "html", "html-math-method"): "mathml",
    ("format", "html", "fig-format"): "svg",
    ("format", "pdf", "fig-format"): "pdf",
    ("format", "pdf", "fig-pos"): "!htb",
}


@dataclass(frozen=True)
class Project:
    """A book: where it is, its chapters in order, and its options."""

    root: Path
    chapters: list[str]
    appendices: list[str]
    options: dict[str, Any]

    @property
    def language(self) -> str:
        return str(self.options.get("lang", "en"))

    @property
    def chapter_prefix(self) -> str:
        """What a reference calls a chapter."""
        return str(
            self.options.get("language", {}).get("crossref-ch-prefix", "Chapter")
        )

    @property
    def sources(self) -> list[str]:
        return self.chapters + self.appendices

    @property
    def book(self) -> dict[str, Any]:
        return dict(self.options["book"])

    @property
    def output(self) -> Path:
        return self.root / str(self.options["project"].get("output-dir", "_book"))

    @property
    def pre_render(self) -> list[str]:
        """The Python scripts that are run before the book is rendered."""
        return _listed(self.options["project"].get("pre-render"))

    @property
    def post_render(self) -> list[str]:
        """The Python scripts that are run when the book is written."""
        return _listed(self.options["project"].get("post-render"))

    def filters(self, name: str) -> list[str]:
        """The Lua filters that a format's document goes through first."""
        return list(self.format(name).get("filters") or [])

    @property
    def styles(self) -> list[str]:
        """The style sheets of the HTML pages, after this renderer's own."""
        return _listed(self.format("html").get("css"))

    @property
    def preambles(self) -> list[str]:
        """What the LaTeX document has in its preamble, after this renderer's own."""
        return _listed(self.format("pdf").get("include-in-header"))

    @property
    def pdf_name(self) -> str:
        return f"{self.book.get('output-file', 'book')}.pdf"

    def format(self, name: str) -> dict[str, Any]:
        return dict(self.options.get("format", {}).get(name) or {})


def read_project(root: Path) -> Project:
    """The project in ``root``. Raises ``RenderError`` for what is not supported."""
    options = _read_yaml(root, "_quarto.yml", SCHEMA)
    for path, expected in FIXED.items():
        value: Any = options
        for key in path:
            value = (value or {}).get(key)
        if value != expected:
            raise RenderError(
                f"_quarto.yml: {'.'.join(path)} is {value!r}, supported is {expected!r}"
            )
    book = options["book"]
    chapters, appendices = book.get("chapters") or [], book.get("appendices") or []
    for chapter in chapters + appendices:
        if not isinstance(chapter, str):
            raise RenderError(f"_quarto.yml: chapter {chapter!r} is not a file's name")
        if not (root / chapter).is_file():
            raise RenderError(f"_quarto.yml: chapter {chapter} does not exist")
    bare = Project(root, [], [], options)
    for key, ending, files in (
        ("filters", ".lua", (*bare.filters("html"), *bare.filters("pdf"))),
        ("css", ".css", bare.styles),
        ("include-in-header", ".tex", bare.preambles),
        ("pre-render", ".py", bare.pre_render),
        ("post-render", ".py", bare.post_render),
    ):
        for file in files:
            if not str(file).endswith(ending) or not (root / file).is_file():
                raise RenderError(
                    f"_quarto.yml: {key} has {file!r}, supported are {ending} files "
                    "of the project"
                )
    if "index.qmd" not in chapters:
        raise RenderError("_quarto.yml: a book needs index.qmd among its chapters")
    return Project(root, chapters, appendices, options)


def _listed(value: Any) -> list[Any]:
    """One thing, or a list of them, as a list."""
    return list(value) if isinstance(value, list) else [value] if value else []


def _read_yaml(root: Path, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    try:
        text = (root / name).read_text()
        node, data = yaml.compose(text), yaml.safe_load(text)
    except FileNotFoundError:
        raise RenderError(f"{name} is not in {root}") from None
    except yaml.YAMLError as error:
        raise RenderError(f"{name}: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise RenderError(f"{name}: a mapping was expected")
    _check(node, schema, name, "")
    return data


def _check(node: Any, schema: dict[str, Any], name: str, above: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise RenderError(f"{name}:{line}: {above[:-1]} was expected to be a mapping")
    for key, value in node.value:
        if key.value not in schema:
            line = key.start_mark.line + 1
            raise RenderError(
                f"{name}:{line}: {above}{key.value} is not supported by portable; "
                f"supported here: {', '.join(schema)}"
            )
        if schema[key.value] is not None:
            _check(value, schema[key.value], name, f"{above}{key.value}.")
