"""Reads ``_quarto.yml``."""

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from portable import RenderError, values
from portable.values import FILE

METADATA = "_metadata.yml"

# The options that are supported, with what reads them if that is more than YAML; those
# of a format that do nothing here, because this renderer always does what they ask for
# or has its own look, are supported, too.
SCHEMA: dict[str, Any] = {
    "project": {
        "type": None,
        "output-dir": values.folder,
        "execute-dir": None,
        "pre-render": None,
        "post-render": None,
    },
    "book": {
        "title": values.text,
        "subtitle": values.text,
        "author": values.authors,
        "date": values.day,
        "output-file": values.text,
        "downloads": None,
        "search": None,
        "chapters": values.sources,
        "appendices": values.sources,
    },
    "execute": {"freeze": None},
    "lang": values.language,
    "language": {"crossref-ch-prefix": values.text},
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

    def figures(self, source: str) -> str:
        """The folder that has a source's figures, in the one where the book is made."""
        name = self.names[source]
        return "figures" if name == Path(source).stem else f"figures/{name}"

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
        return _listed(self.format(name).get("filters"))

    @property
    def bibliographies(self) -> list[str]:
        return _listed(self.options.get("bibliography"))

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
        """The name of the PDF, with Quarto's replacements."""
        name = self.book.get("output-file", self.book["title"])
        return re.sub(r"[ <>()|:&;#?*'\\/]", "-", name) + ".pdf"

    @property
    def names(self) -> dict[str, str]:
        """The name that the notebook of each source has.

        It is that of the file, and where another has that, too, of its whole path.
        """
        stems = [Path(source).stem for source in self.sources]
        return {
            source: stem
            if stems.count(stem) == 1
            else posixpath.splitext(source)[0].replace("/", "-")
            for source, stem in zip(self.sources, stems, strict=True)
        }

    def format(self, name: str) -> dict[str, Any]:
        return dict(self.options.get("format", {}).get(name) or {})


def read_project(root: Path) -> Project:
    """The project in ``root``. Raises ``RenderError`` for what is not supported."""
    options = _read_yaml(root)
    for path, expected in FIXED.items():
        value: Any = options
        for key in path:
            value = (value or {}).get(key)
        if value != expected:
            raise RenderError(
                f"{FILE}: {'.'.join(path)} is {value!r}, supported is {expected!r}"
            )
    book = options.get("book", {})
    chapters, appendices = book.get("chapters", []), book.get("appendices", [])
    for chapter in chapters + appendices:
        if not (root / chapter).is_file():
            raise RenderError(f"{FILE}: chapter {chapter} does not exist")
    for chapter in set(chapters) & set(appendices):
        raise RenderError(f"{FILE}: {chapter} is both a chapter and an appendix")
    if "index.qmd" not in chapters:
        raise RenderError(f"{FILE}: a book needs index.qmd among its chapters")
    if "title" not in book:
        raise RenderError(f"{FILE}: the book has no title")
    bare = Project(root, [], [], options)
    for key, ending, files in (
        ("filters", ".lua", (*bare.filters("html"), *bare.filters("pdf"))),
        ("css", ".css", bare.styles),
        ("include-in-header", ".tex", bare.preambles),
        ("bibliography", ".bib", bare.bibliographies),
        ("pre-render", ".py", bare.pre_render),
        ("post-render", ".py", bare.post_render),
    ):
        for file in files:
            if not str(file).endswith(ending) or not (root / file).is_file():
                raise RenderError(
                    f"_quarto.yml: {key} has {file!r}, supported are {ending} files "
                    "of the project"
                )
    folders = {root, *((root / source).parent for source in chapters + appendices)}
    for path in (root / f"{FILE}.local", *(folder / METADATA for folder in folders)):
        if path.exists():  # what Quarto reads, too
            raise RenderError(f"{path.relative_to(root)} is not supported by portable")
    project = Project(root, chapters, appendices, options)
    if len(set(project.names.values())) < len(project.sources):
        raise RenderError(f"{FILE}: two chapters differ only in a / and a -")
    return project


def _listed(value: Any) -> list[Any]:
    """One thing, or a list of them, as a list."""
    return list(value) if isinstance(value, list) else [value] if value else []


def _read_yaml(root: Path) -> dict[str, Any]:
    try:
        text = (root / FILE).read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=values.Loader)
    except FileNotFoundError:
        raise RenderError(f"{FILE} is not in {root}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise RenderError(f"{FILE}: {' '.join(str(error).split())}") from None
    if node is None:
        raise RenderError(f"{FILE}: a mapping was expected")
    return _mapping(node, SCHEMA, "")


def _mapping(node: yaml.Node, schema: dict[str, Any], above: str) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise values.wrong(
            node, f"{above[:-1] or 'the file'} was expected to be a mapping"
        )
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = f"{above}{key.value}"
        if key.value not in schema:
            raise values.wrong(
                key,
                f"{name} is not supported by portable; supported here: "
                f"{', '.join(schema)}",
            )
        if key.value in found:
            raise values.wrong(key, f"{name} is there twice")
        inner = schema[key.value]
        if isinstance(inner, dict):
            found[key.value] = _mapping(value, inner, f"{name}.")
        elif inner:
            found[key.value] = inner(value, name)
        else:
            found[key.value] = values.Loader("").construct_document(value)
    return found
