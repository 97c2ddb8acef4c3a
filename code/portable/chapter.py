"""Reads a ``.qmd`` file as a list of Markdown pieces and Python cells."""

import re
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from portable import RenderError
from portable.options import LINE, read_options

THEOREMS = ("thm", "lem", "cor", "prp", "def", "exm")
REFERENCES = ("fig", "tbl", "eq", "sec", *THEOREMS)

# The lines of a source end as in Quarto; Python's ``splitlines`` has more ends.
END = re.compile(r"\r\n|\r|\n")
# They move the cursor, or are spaces or ends of lines to some programs only.
UNSUPPORTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
SHORTCODE = re.compile(r"\{{2,}<[^}]*>\}{2,}")
CELL = re.compile(r"^(\s*)(`{3,})\s*\{python *\}\s*$")
# What Quarto takes for a cell wherever it stands, and what looks like one to a reader.
NO_CELL = re.compile(r"(?:`{3,}|~{3,})\s*\{python(?:[ ,][^}]*)?\}\s*$")
# Of any other block, which may begin in an item of a list.
FENCE = re.compile(
    r"^\s*(?:(?:[-*+]|\(?\w{1,9}[.)])\s+)*(`{3,}(?!.*`)|~{3,})\s*(.*?)\s*$"
)
RULE = re.compile(r"---\s*")
DIV = re.compile(r"^\s*:{3,}\s*(.*?)\s*:*\s*$")
INLINE = re.compile(r"`\{(\w+)\}[ \t]+([^`\n]+)`")
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
    comment = 0  # the line where the comment begins that is open
    lines = _lines(root, source)
    number = 0

    def end_prose() -> None:
        if any(line.strip() for line in prose):
            empty = len(list(takewhile(lambda line: not line, prose)))
            text = "\n".join(prose).strip("\n")
            pieces.append(Piece("markdown", text, prose_line + empty))
        prose.clear()

    while number < len(lines):
        line, number = lines[number], number + 1
        where = f"{source}:{number}"
        cell, fence = CELL.match(line), None if comment else FENCE.match(line)
        if cell and not comment and not cell[1]:
            start = number
            body, number = _block(lines, source, start, rf"{cell[2]}\s*")
            end_prose()
            pieces.append(_cell(body, source, start))
            continue
        if NO_CELL.search(line):
            raise RenderError(f"{where}: {_why_no_cell(line, comment)}")
        if not prose:
            prose_line = number
        prose.append(line)
        if fence:
            start = number
            body, number = _block(lines, source, start, _closing(fence[1]))
            _check_block(fence[2], body, source, start)
            prose += [*body, lines[number - 1]]
            if fence[2].startswith("{{"):  # it is shown with its fences
                own = fence[1] + fence[1][0]
                prose[-len(body) - 2 :] = [own, *prose[-len(body) - 2 :], own]
            continue
        if not comment:
            _check_prose(line, where, divs, number)
            if RULE.fullmatch(line) and "".join(lines[number : number + 1]).strip():
                # Quarto takes it for a rule or for metadata, pandoc for a heading.
                raise RenderError(f"{where}: below --- a blank line is expected")
        comment = _comment(line, comment, number)
    end_prose()
    if comment:
        raise RenderError(f"{source}:{comment}: the comment is not closed")
    if divs:
        raise RenderError(f"{source}:{divs[-1]}: the ::: block is not closed")
    _check_pieces(pieces, source)
    return pieces


def read_text(root: Path, source: str) -> str:
    """The text of a file in UTF-8. Raises ``RenderError`` where it is none."""
    content = (root / source).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RenderError(
            f"{source}:{line}: the byte 0x{content[error.start]:02x} is no UTF-8, "
            "expected a file that is saved as UTF-8"
        ) from None


def _lines(root: Path, source: str) -> list[str]:
    """The lines of a chapter, which may have neither shortcodes nor odd characters."""
    text = END.sub("\n", read_text(root, source))
    if odd := UNSUPPORTED.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise RenderError(
            f"{source}:{line}: the character U+{ord(odd[0]):04X} is not supported"
        )
    for match in SHORTCODE.finditer(text):
        if not (match[0].startswith("{{{") and match[0].endswith("}}}")):
            line = text.count("\n", 0, match.start()) + 1
            raise RenderError(
                f"{source}:{line}: shortcode {' '.join(match[0].split())} is not "
                "supported, not even in code; with three braces it is shown"
            )
    return text.removesuffix("\n").split("\n")


def is_whole(markdown: str) -> bool:
    """Whether what begins in a piece of Markdown ends in it: blocks and comments."""
    depth, closing, comment = 0, "", 0
    for number, line in enumerate(END.split(markdown), 1):
        if closing:
            closing = "" if re.fullmatch(closing, line) else closing
        elif not comment and (fence := FENCE.match(line)):
            closing = _closing(fence[1])
        else:
            if not comment and (div := DIV.match(line)):
                depth += 1 if div[1] else -1
            comment = _comment(line, comment, number)
        if depth < 0:
            return False
    return not (depth or closing or comment)


def _closing(fence: str) -> str:
    """The pattern of a line that closes a block of code."""
    return rf"\s*{re.escape(fence[0])}{{{len(fence)},}}\s*"


def _block(
    lines: list[str], source: str, start: int, closing: str
) -> tuple[list[str], int]:
    """The lines of a block up to the line that closes it, and the number of that."""
    number = start
    while number < len(lines) and not re.fullmatch(closing, lines[number]):
        number += 1
    if number == len(lines):
        raise RenderError(f"{source}:{start}: the fence is not closed")
    return lines[start:number], number + 1


def _check_block(head: str, body: list[str], source: str, start: int) -> None:
    """Stops at a block of code that Quarto shows in another way than pandoc."""
    where = f"{source}:{start}"
    if head.startswith("{") and not re.fullmatch(r"\{\.\w+\}|\{\{\w+\}\}", head):
        raise RenderError(f"{where}: a block of {head} is not supported")
    if " " in head or "\t" in head:
        raise RenderError(
            f"{where}: a block of code begins with {head!r}, expected one word"
        )
    for number, line in enumerate(body, start + 1):
        if re.match(r"\s*`{3,}\s*\{python(?:[ ,].*)?\}\s*$", line):
            raise RenderError(
                f"{source}:{number}: a cell stands in a block of code, where Quarto "
                "executes it; to show it write ```{{python}}"
            )


def _why_no_cell(line: str, comment: int) -> str:
    if comment:
        return (
            f"a cell stands in the comment of line {comment}, where Quarto executes it"
        )
    if CELL.match(line):
        return "a cell is indented, expected it at the beginning of the line"
    if block := re.match(r"\s*`{3,}\s*(\{.*)", line):
        return f"a block of {block[1].strip()} is not supported"
    return "this is no cell, which has ```{python} alone on its line"


def _comment(line: str, comment: int, number: int) -> int:
    """The line where the comment begins that is open after a line, or 0."""
    rest = re.sub(r"`[^`]*`", "", line)
    while True:
        _, mark, rest = rest.partition("-->" if comment else "<!--")
        if not mark:
            return comment
        comment = 0 if comment else number


def _check_pieces(pieces: list[Piece], source: str) -> None:
    """Stops at a label that stands twice, and at what Quarto would not execute."""
    labels = set()
    cells = [piece for piece in pieces if piece.kind == "code"]
    for piece in cells:
        if (label := piece.options.get("label")) in labels:
            raise RenderError(f"{source}:{piece.line}: label {label} is used twice")
        if label:
            labels.add(label)
    for piece in pieces:
        found = INLINE.search(piece.text)
        if found and not cells:
            line = piece.line + piece.text.count("\n", 0, found.start())
            raise RenderError(
                f"{source}:{line}: {found[0]} stands in a chapter without cells, where "
                "Quarto does not execute it; add a cell"
            )


def _cell(body: list[str], source: str, start: int) -> Piece:
    """A cell from its lines; ``start`` is the line of its opening fence."""
    first = 0
    while first < len(body) and not body[first].strip():
        first += 1
    heads = first
    while heads < len(body) and LINE.match(body[heads]):
        heads += 1
    options = read_options(body[first:heads], source, start + 1 + first)
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
    for match in re.finditer(r"`\{python\}", line):
        if not INLINE.match(line, match.start()):
            raise RenderError(
                f"{where}: {match[0]} is not followed by a space, code and a backtick "
                "on its line"
            )
    for match in INLINE.finditer(line):
        if match[1] != "python":
            raise RenderError(f"{where}: inline {{{match[1]}}} is not supported")
        # To Quarto these backticks are no end and no beginning.
        if "`" in line[match.end() : match.end() + 1] + line[: match.start()][-1:]:
            raise RenderError(
                f"{where}: {match[0]} has a further backtick beside it, expected a "
                "character between them"
            )
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
