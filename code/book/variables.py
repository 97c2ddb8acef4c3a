"""Reads ``_variables.yml``, all that a student edits, and shows what stands there.

Every value is taken as it is written. YAML's own types would make of the NetID ``0123``
the number 83, of ``yes`` a truth value, and of ``2024-03-25`` a date.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = "_variables.yml"
# The fields, each with an example of a value.
FIELDS = {
    "author": "Ada Lovelace",
    "netid": "ab1234",
    "collaborators": "[Grace Hopper, Alan Turing]",
    "course": "Deep Learning",
    "homework": "Homework 2",
    "due": "25 March 2024",
}
TEMPLATE = {"author": "Firstname Lastname", "netid": "ab1234"}


@dataclass(frozen=True)
class Variables:
    """The fields; ``collaborators`` is empty where the file has "none" or nothing."""

    author: str
    netid: str
    collaborators: tuple[str, ...]
    course: str
    homework: str
    due: str


def read(root: Path) -> Variables:
    """What ``_variables.yml`` in the folder ``root`` says.

    Raises ``ValueError`` with file, line, value and an example of what was expected
    where the file is missing or no YAML, or a field is missing, unknown, there twice or
    of a wrong type.
    """
    try:
        text = (root / FILE).read_text(encoding="utf-8-sig")
        top = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{FILE}:1: can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise _not_yaml(text, error) from None
    if not isinstance(top, yaml.MappingNode):
        raise _wrong(text, 0, "the file has no fields", "author")
    found: dict[str, Any] = {}
    for key, value in top.value:
        name, start = str(key.value), key.start_mark.index
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            raise _wrong(
                text, start, f"{name} is no field, those are {known}", "author"
            )
        if name in found:
            raise _wrong(text, start, f"{name} is there twice", name)
        several = name == "collaborators"
        listed = several and isinstance(value, yaml.SequenceNode)
        items = value.value if listed else [value]
        for item in items:
            if not isinstance(item, yaml.ScalarNode):
                kind = "list" if isinstance(item, yaml.SequenceNode) else "mapping"
                start = item.start_mark.index
                shown = " ".join(text[start : item.end_mark.index].split())
                raise _wrong(text, start, f"{name} is a {kind}, {shown}", name)
        texts = tuple(item.value.strip() for item in items)
        if several:
            texts = tuple(one for one in texts if one not in ("", "none"))
        found[name] = texts if several else texts[0]
    for name in FIELDS:
        if name not in found:
            raise _wrong(text, len(text.rstrip()), f"{name} is missing", name)
    return Variables(**found)


def literal(text: str) -> str:
    """Markdown of pandoc and Quarto that shows ``text`` as it is written.

    A backslash before each mark of punctuation takes its meaning from it, so that no
    markup is left, and no raw LaTeX or HTML, formula, citation, shortcode or code that
    is run. White space becomes one space. What turns the direction of the text
    round it, or is no character at all, is written as Python escapes it.
    """
    visible = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in " ".join(text.split())
    )
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", visible)


def cover(variables: Variables) -> str:
    """Markdown of a sentence with all fields, each in a span of its name.

    It stands in a block of class ``cover``, from which pdf.lua makes the head of the
    first page, and of every page.
    """
    fields = {name: getattr(variables, name) for name in FIELDS}
    fields["collaborators"] = ", ".join(variables.collaborators) or "none"
    shown = {name: f"[{literal(text)}]{{.{name}}}" for name, text in fields.items()}
    return (
        "::: {{.cover}}\n{course}, {homework}, due {due}. Submitted by {author} "
        "({netid}). Collaborators: {collaborators}.\n:::".format(**shown)
    )


def placeholders(variables: Variables) -> list[str]:
    """A line for each field that is empty or still that of the template."""
    lines = []
    for name in FIELDS:
        value = getattr(variables, name)
        if value == "":
            lines.append(f"{FILE}: {name} is empty: write yours there")
        elif value == TEMPLATE.get(name):
            lines.append(f'{FILE}: {name} is still "{value}": write yours there')
    return lines


def _wrong(text: str, index: int, found: str, name: str) -> ValueError:
    """Says what was found at an index of the text, and what was expected of a field."""
    kind = "text or a list of texts" if name == "collaborators" else "text"
    return ValueError(
        f"{FILE}:{text.count(chr(10), 0, index) + 1}: {found}, expected {kind}, "
        f'as in "{name}: {FIELDS[name]}"'
    )


def _not_yaml(text: str, error: yaml.YAMLError) -> ValueError:
    mark = getattr(error, "problem_mark", None)
    lines = text.splitlines() or [""]
    number = min(mark.line, len(lines) - 1) if mark else 0
    return ValueError(
        f"{FILE}:{number + 1}: {lines[number].strip()!r} is not YAML; expected a field "
        "and its text, in quotes where the text has a colon or begins with a mark, "
        "as in 'author: \"Ada: Lovelace\"'"
    )
