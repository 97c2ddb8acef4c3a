"""Reads ``_quarto.yml``."""

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from portable import RenderError
from portable.date import day

FILE, METADATA = "_quarto.yml", "_metadata.yml"


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Takes every value as it is typed, but for true, false, null and nothing.

    These are the values that YAML 1.2, which Quarto reads, has in common with YAML 1.1,
    to which ``No`` is false as well, 12:30 a number and 2024-03-25 a date.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile("^(true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile("^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def _text(node: yaml.Node, name: str) -> str:
    """A text that is shown, as it is typed, in one line."""
    if not isinstance(node, yaml.ScalarNode):
        kind = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
        raise _wrong(node, f"{name} is a {kind}, expected text")
    if not node.value.strip() or node.tag.endswith(":null"):
        raise _wrong(node, f"{name} is empty, expected text; or leave it out")
    if "{{<" in node.value:
        raise _wrong(node, f"{name} has a shortcode, {node.value}: not supported")
    return " ".join(str(node.value).split())


def _authors(node: yaml.Node, name: str) -> list[str]:
    """The names of one author or of several, each a text or a mapping with ``name``."""
    if isinstance(node, yaml.SequenceNode):
        if not node.value:
            raise _wrong(node, f"{name} is empty, expected text; or leave it out")
        return [author for item in node.value for author in _authors(item, name)]
    if not isinstance(node, yaml.MappingNode):
        return [_text(node, name)]
    parts = {key.value: (key, value) for key, value in node.value}
    for part, (key, _) in parts.items():
        if part != "name":
            raise _wrong(key, f"{name}.{part} is not supported, only {name}.name is")
    if not parts:
        raise _wrong(node, f"{name} is empty, expected text; or leave it out")
    full = parts["name"][1]
    if not isinstance(full, yaml.MappingNode):
        return [_text(full, f"{name}.name")]
    found = {key.value: _text(value, f"{name}.name") for key, value in full.value}
    if found.keys() != {"given", "family"}:
        raise _wrong(full, f"{name}.name has {', '.join(found)}, not given and family")
    return [f"{found['given']} {found['family']}"]


def _day(node: yaml.Node, name: str) -> str:
    text = _text(node, name)
    try:
        day(text, [])
    except ValueError as error:
        raise _wrong(node, f"{name} is {text!r}, {error}") from None
    return text


def _language(node: yaml.Node, name: str) -> str:
    text = _text(node, name)
    if text not in ("en", "en-US", "en-GB"):
        raise _wrong(node, f"{name} is {text!r}, supported are en, en-US and en-GB")
    return text


def _folder(node: yaml.Node, name: str) -> str:
    path = posixpath.normpath(_text(node, name))
    if path in (".", "..") or path.startswith(("/", "../")):
        raise _wrong(node, f"{name} is {path}, expected a folder in that of the book")
    return path


def _sources(node: yaml.Node, name: str) -> list[str]:
    """The files of chapters, by their path in the book's folder."""
    if node.tag.endswith(":null"):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(node, f"{name} is {_shown(node)}, expected a list of files")
    found: list[str] = []
    for item in node.value:
        if not isinstance(item, yaml.ScalarNode):
            shown = f"chapter {_shown(item)} is not a file's name"
            raise _wrong(item, f"{shown}; parts and other mappings are not supported")
        source = posixpath.normpath(item.value)
        if source.startswith(("/", "../")):
            raise _wrong(item, f"chapter {item.value} is outside the book's folder")
        if not source.endswith(".qmd"):
            raise _wrong(item, f"chapter {item.value} is not supported: no .qmd file")
        if source in found:
            raise _wrong(item, f"chapter {item.value} is there twice")
        found.append(source)
    return found


def _shown(node: yaml.Node) -> str:
    """A node in one line, as YAML."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    data = Loader("").construct_document(node)
    return str(
        yaml.safe_dump(data, default_flow_style=True, allow_unicode=True, width=1000)
    ).strip()


def _wrong(node: yaml.Node, message: str) -> RenderError:
    return RenderError(f"{FILE}:{node.start_mark.line + 1}: {message}")


# The options that are supported, with what reads them if that is more than YAML; those
# of a format that do nothing here, because this renderer always does what they ask for
# or has its own look, are supported, too.
SCHEMA: dict[str, Any] = {
    "project": {
        "type": None,
        "output-dir": _folder,
        "execute-dir": None,
        "pre-render": None,
        "post-render": None,
    },
    "book": {
        "title": _text,
        "subtitle": _text,
        "author": _authors,
        "date": _day,
        "output-file": _text,
        "downloads": None,
        "search": None,
        "chapters": _sources,
        "appendices": _sources,
    },
    "execute": {"freeze": None},
    "lang": _language,
    "language": {"crossref-ch-prefix": _text},
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
        node = yaml.compose(text, Loader=Loader)
    except FileNotFoundError:
        raise RenderError(f"{FILE} is not in {root}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise RenderError(f"{FILE}: {' '.join(str(error).split())}") from None
    if node is None:
        raise RenderError(f"{FILE}: a mapping was expected")
    return _mapping(node, SCHEMA, "")


def _mapping(node: yaml.Node, schema: dict[str, Any], above: str) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, f"{above[:-1] or 'the file'} was expected to be a mapping")
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = f"{above}{key.value}"
        if key.value not in schema:
            raise _wrong(
                key,
                f"{name} is not supported by portable; supported here: "
                f"{', '.join(schema)}",
            )
        if key.value in found:
            raise _wrong(key, f"{name} is there twice")
        inner = schema[key.value]
        if isinstance(inner, dict):
            found[key.value] = _mapping(value, inner, f"{name}.")
        elif inner:
            found[key.value] = inner(value, name)
        else:
            found[key.value] = Loader("").construct_document(value)
    return found
