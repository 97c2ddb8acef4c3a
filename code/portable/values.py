"""Reads values of ``_quarto.yml``, each as it is typed.

The functions take the node of an option's value and the option's name, and raise
``RenderError`` with file and line for what is not supported.
"""

import posixpath
import re
from typing import ClassVar

import yaml

from portable import RenderError, date

FILE = "_quarto.yml"


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


def text(node: yaml.Node, name: str) -> str:
    """A text that is shown, as it is typed, in one line."""
    if not isinstance(node, yaml.ScalarNode):
        kind = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
        raise wrong(node, f"{name} is a {kind}, expected text")
    if not node.value.strip() or node.tag.endswith(":null"):
        raise wrong(node, f"{name} is empty, expected text; or leave it out")
    if "{{<" in node.value:
        raise wrong(node, f"{name} has a shortcode, {node.value}: not supported")
    return " ".join(str(node.value).split())


def authors(node: yaml.Node, name: str) -> list[str]:
    """The names of one author or of several, each a text or a mapping with ``name``."""
    if isinstance(node, yaml.SequenceNode):
        if not node.value:
            raise wrong(node, f"{name} is empty, expected text; or leave it out")
        return [author for item in node.value for author in authors(item, name)]
    if not isinstance(node, yaml.MappingNode):
        return [text(node, name)]
    parts = {key.value: (key, value) for key, value in node.value}
    for part, (key, _) in parts.items():
        if part != "name":
            raise wrong(key, f"{name}.{part} is not supported, only {name}.name is")
    if not parts:
        raise wrong(node, f"{name} is empty, expected text; or leave it out")
    full = parts["name"][1]
    if not isinstance(full, yaml.MappingNode):
        return [text(full, f"{name}.name")]
    found = {key.value: text(value, f"{name}.name") for key, value in full.value}
    if found.keys() != {"given", "family"}:
        raise wrong(full, f"{name}.name has {', '.join(found)}, not given and family")
    return [f"{found['given']} {found['family']}"]


def day(node: yaml.Node, name: str) -> str:
    """The text of a date."""
    found = text(node, name)
    try:
        date.day(found, [])
    except ValueError as error:
        raise wrong(node, f"{name} is {found!r}, {error}") from None
    return found


def language(node: yaml.Node, name: str) -> str:
    """A language in which the labels of figures, tables and theorems are known."""
    found = text(node, name)
    if found not in ("en", "en-US", "en-GB"):
        raise wrong(node, f"{name} is {found!r}, supported are en, en-US and en-GB")
    return found


def folder(node: yaml.Node, name: str) -> str:
    """A folder within that of the book."""
    path = posixpath.normpath(text(node, name))
    if path in (".", "..") or path.startswith(("/", "../")):
        raise wrong(node, f"{name} is {path}, expected a folder in that of the book")
    return path


def sources(node: yaml.Node, name: str) -> list[str]:
    """The files of chapters, by their path in the book's folder."""
    if node.tag.endswith(":null"):
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise wrong(node, f"{name} is {_shown(node)}, expected a list of files")
    found: list[str] = []
    for item in node.value:
        if not isinstance(item, yaml.ScalarNode):
            what = f"chapter {_shown(item)} is not a file's name"
            raise wrong(item, f"{what}; parts and other mappings are not supported")
        source = posixpath.normpath(item.value)
        if source.startswith(("/", "../")):
            raise wrong(item, f"chapter {item.value} is outside the book's folder")
        if not source.endswith(".qmd"):
            raise wrong(item, f"chapter {item.value} is not supported: no .qmd file")
        if source in found:
            raise wrong(item, f"chapter {item.value} is there twice")
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


def wrong(node: yaml.Node, message: str) -> RenderError:
    """The error of a value, with its line."""
    return RenderError(f"{FILE}:{node.start_mark.line + 1}: {message}")
