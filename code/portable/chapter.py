"""Reads a ``.qmd`` file as a list of Markdown pieces and Python cells."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from portable import RenderError

# The cell options that are supported, with the type of their value.
OPTIONS: dict[str, type | tuple[type, ...]] = {
    "label": str,
    "fig-cap": str,
    "fig-subcap": list,
    "fig-alt": (str, list),
    "tbl-cap": str,
    "echo": bool,
    "output": bool,
    "include": bool,
    "warning": bool,
    "code-fold": (bool, str),
    "code-summary": str,
    "layout-ncol": int,
}
THEOREMS = ("thm", "lem", "cor", "prp", "def", "exm")
REFERENCES = ("fig", "tbl", "eq", "sec", *THEOREMS)

SHORTCODE = re.compile(r"\{\{<.*?>\}\}")
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*(.*?)\s*$")
DIV = re.compile(r"^\s*:{3,}\s*(.*?)\s*:*\s*$")
INLINE = re.compile(r"`\{(\w+)\}\s+([^`]+)`")
ATTRIBUTE = re.compile(r"""([\w-]+)=(?:"(?:[^"\\]|\\.)*"|'[^']*')""")
IMAGE = re.compile(r"!\[[^\]]*\]\(")


@dataclass
class Piece:
    """A stretch of Markdown, or a cell: its text, first line and options."""

    kind: Literal["markdown", "code"]
    text: str
    line: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.options.get("label", f"at line {self.line}"))


def expressions(piece: Piece) -> list[str]:
    """What of a piece is executed: a cell, or the inline expressions of a text."""
    if piece.kind == "code":
        return [piece.text]
    return [match[2] for match in INLINE.finditer(piece.text)]


def read_chapter(root: Path, source: str) -> list[Piece]:
    """The pieces of a chapter, in order.

    Raises ``RenderError`` with file and line for what is not supported.
    """
    pieces: list[Piece] = []
    prose: list[str] = []
    prose_line = 1
    divs: list[int] = []
    lines = (root / source).read_text().splitlines()
    number = 0

    def end_prose() -> None:
        if any(line.strip() for line in prose):
            pieces.append(Piece("markdown", "\n".join(prose).strip("\n"), prose_line))
        prose.clear()

    while number < len(lines):
        line, number = lines[number], number + 1
        fence = FENCE.match(line)
        if not fence:
            if not prose:
                prose_line = number
            prose.append(line)
            _check_prose(line, f"{source}:{number}", divs, number)
            continue
        start = number
        while number < len(lines) and not _closes(lines[number], fence[2]):
            number += 1
        if number == len(lines):
            raise RenderError(f"{source}:{start}: the fence is not closed")
        body, number = lines[start:number], number + 1
        if fence[3] == "{python}":
            end_prose()
            pieces.append(_cell(body, source, start))
        elif fence[3].startswith("{"):
            raise RenderError(
                f"{source}:{start}: a block of {fence[3]} is not supported"
            )
        else:
            if not prose:
                prose_line = start
            prose += [line, *body, lines[number - 1]]
    end_prose()
    if divs:
        raise RenderError(f"{source}:{divs[-1]}: the ::: block is not closed")
    return pieces


def _closes(line: str, fence: str) -> bool:
    return bool(re.match(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$", line))


def _cell(body: list[str], source: str, start: int) -> Piece:
    """A cell from its lines; ``start`` is the line of its opening fence."""
    heads = 0
    while heads < len(body) and body[heads].startswith("#|"):
        heads += 1
    where = f"{source}:{start + 1}"
    try:
        options = yaml.safe_load("\n".join(line[2:] for line in body[:heads])) or {}
    except yaml.YAMLError as error:
        raise RenderError(
            f"{where}: cell options: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(options, dict):
        raise RenderError(f"{where}: cell options are not `key: value` pairs")
    for offset, line in enumerate(body[:heads]):
        key = re.match(r"#\|\s*([\w-]+)\s*:", line)
        here = f"{source}:{start + 1 + offset}"
        if not key:
            continue
        if key[1] not in OPTIONS:
            raise RenderError(
                f"{here}: cell option {key[1]!r} is not supported; supported are "
                f"{', '.join(OPTIONS)}"
            )
        if key[1] in options and not isinstance(options[key[1]], OPTIONS[key[1]]):
            raise RenderError(f"{here}: {key[1]} is {options[key[1]]!r}")
        if key[1] == "code-fold" and options[key[1]] not in (True, False, "show"):
            raise RenderError(
                f"{here}: code-fold is {options['code-fold']!r}, expected true, false "
                "or show"
            )
    label = str(options.get("label", ""))
    for prefix in ("fig", "tbl"):
        if label.startswith(f"{prefix}-") != (f"{prefix}-cap" in options):
            raise RenderError(
                f"{where}: a cell has both a {prefix}-cap and a label that begins with "
                f"{prefix}-, or neither"
            )
    return Piece("code", "\n".join(body[heads:]).strip("\n"), start, options)


def _check_prose(line: str, where: str, divs: list[int], number: int) -> None:
    """Stops at Markdown that is not supported; keeps count of the open divs."""
    if number == 1 and line.strip() == "---":
        raise RenderError(f"{where}: front matter is not supported")
    div = DIV.match(line)
    if div and not div[1]:
        if not divs:
            raise RenderError(f"{where}: ::: closes nothing")
        divs.pop()
    elif div:
        _check_div(div[1], where)
        divs.append(number)
    for match in INLINE.finditer(line):
        if match[1] != "python":
            raise RenderError(f"{where}: inline {{{match[1]}}} is not supported")
        # To Quarto these backticks are no end and no beginning.
        if "`" in line[match.end() : match.end() + 1] + line[: match.start()][-1:]:
            raise RenderError(
                f"{where}: {match[0]} has a further backtick beside it, expected a "
                "character between them"
            )
    for match in SHORTCODE.finditer(line):
        raise RenderError(f"{where}: shortcode {match[0]} is not supported")
    if IMAGE.search(line):
        raise RenderError(f"{where}: an image from a file is not supported")


def _check_div(head: str, where: str) -> None:
    attributes = head.strip("{} ")
    words = ATTRIBUTE.sub("", attributes).split()
    keys = ATTRIBUTE.findall(attributes)
    theorem = rf"#({'|'.join(THEOREMS)})-[\w-]+"
    if (
        (words == [".proof"] and not keys)
        or (words == ["#refs"] and not keys)
        or (
            len(words) == 1
            and re.fullmatch(theorem, words[0])
            and keys in ([], ["name"])
        )
        or (
            words in ([".content-visible"], [".content-hidden"])
            and keys == ["when-format"]
            and re.search(r'when-format="(html|pdf)"', attributes)
        )
    ):
        return
    raise RenderError(f"{where}: the block ::: {head} is not supported")
