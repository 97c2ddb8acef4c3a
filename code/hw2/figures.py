"""What the chapters share in showing things: figures in one style, tables, formulas,
code, numbers, and the line that says which run they are from."""

import ast
import inspect
import json
import logging
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, SupportsFloat

import matplotlib.pyplot as plt
import mpmath
from cycler import cycler
from IPython.display import Markdown
from matplotlib.font_manager import findfont, get_font

if TYPE_CHECKING:  # else PyTorch is imported where a chapter has no use for it
    from recorded import Run

# Okabe and Ito's palette, told apart by readers with any kind of colour vision.
# https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#666666",
)

STYLE = {
    "figure.figsize": (6.0, 3.2),  # inches; the text of the PDF is 6.3 wide
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    # The family of the PDF's text and formulas, which matplotlib brings along.
    "font.family": ["cmr10", "DejaVu Serif"],  # the latter for what the former lacks
    "mathtext.fontset": "cm",
    "axes.formatter.use_mathtext": True,
    "font.size": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, GREY]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "image.cmap": "Blues",
    "svg.fonttype": "path",  # no dependence on the reader's fonts
    "pdf.fonttype": 42,
    # The same figure gives the same bytes at every render.
    "svg.hashsalt": "hw2",
}
# Of texts from elsewhere. In cmr10 other signs stand in the places of <, >, _, {, ...
UNICODE_FONT = "STIXGeneral"


def use_style() -> None:
    """Set the book's matplotlib style for the running kernel."""
    # Its date, of 1904, is complained of whenever the font is put into a figure.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    plt.style.use(STYLE)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    align: str | None = None,
    widths: Sequence[int] | None = None,
) -> Markdown:
    """A Markdown table.

    ``align`` has a letter for each column, ``l``, ``c`` or ``r``; without it the first
    column is left-aligned and the others are right-aligned. ``widths`` are those of the
    columns, relative to each other, where the table is too wide for its lines. Cells
    are Markdown. Raises ``ValueError`` where a row, ``align`` or ``widths`` is not as
    long as the header.
    """
    align = align or "l" + "r" * (len(header) - 1)
    widths = widths or [3] * len(header)
    for name, given in (("align", align), ("widths", widths)):
        if len(given) != len(header):
            raise ValueError(
                f"{name} {given!r} is for {len(given)} columns, not {len(header)}"
            )
    ends = {"l": (":", ""), "c": (":", ":"), "r": ("", ":")}
    rule = (
        ("-" * width).join(ends[letter])
        for letter, width in zip(align, widths, strict=True)
    )
    lines = [list(header), list(rule)]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"row {list(row)} has {len(row)} cells for {len(header)} columns"
            )
        lines.append([re.sub(r"(?<!\\)\|", r"\|", str(cell)) for cell in row])
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def formula(text: str) -> Markdown:
    """A displayed formula, from LaTeX."""
    return Markdown(f"$$\n{text}\n$$")


def source(*objects: Any) -> Markdown:
    """The source of functions or classes, as highlighted code."""
    return python(text_of(*objects))


def text_of(*objects: Any) -> str:
    """The source of functions or classes."""
    return "\n\n".join(
        textwrap.dedent(inspect.getsource(item)).rstrip() for item in objects
    )


def python(text: str) -> Markdown:
    """Highlighted code."""
    return Markdown(f"```python\n{text}\n```")


def source_of(module: ModuleType, *names: str) -> Markdown:
    """The assignments to names of a module, as highlighted code.

    Raises ``ValueError`` where the module has no such assignment.
    """
    text = inspect.getsource(module)
    found = {
        target.id: ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for name in names:
        if name not in found:
            raise ValueError(f"{module.__name__} has no {name} = ...")
    return python("\n\n".join(str(found[name]) for name in names))


def widget(name: str, figure: str, data: Any) -> Markdown:
    """The element of HTML that becomes a widget of the HTML book.

    There it takes the place of the picture of ``figure``, a label of this chapter.
    ``data`` are what it shows, as far as JSON goes. Raises ``ValueError`` for a number
    that is not finite, ``TypeError`` for what JSON can't hold.
    """
    # In a block of Markdown and in a script, these end what they stand in.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<`":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markdown(
        f'```{{=html}}\n<play-{name} for="{figure}">'
        f'<script type="application/json">{text}</script></play-{name}>\n```'
    )


def unhidden(text: str) -> str:
    """A text from elsewhere, in which nothing but white space is hidden.

    What turns the direction of the text round it, or is no character at all, is written
    as Python escapes it.
    """
    return "".join(
        one if one.isprintable() or one.isspace() else ascii(one)[1:-1] for one in text
    )


def visible(text: str) -> str:
    """``unhidden`` in one line: white space becomes one space."""
    return unhidden(" ".join(text.split()))


def drawable(text: str) -> str:
    """``visible``, where what ``UNICODE_FONT`` lacks is escaped as well."""
    font = get_font(findfont(UNICODE_FONT))
    return "".join(
        one
        if font.get_char_index(ord(one))
        else ascii(one)[1:-1]  # 0 where it lacks it
        for one in visible(text)
    )


def literal(text: str) -> str:
    """Markdown that shows a text from elsewhere as it is, for a line or a cell.

    A backslash takes the meaning from each mark of punctuation, so that nothing of it
    is a formula, raw HTML or LaTeX, a reference, or ends the cell.
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", visible(text))


def signed(number: float, digits: int = 2) -> str:
    """A number with its sign, and a minus that is one."""
    return f"{number:+.{digits}f}".replace("-", "−")


def scientific(number: SupportsFloat) -> str:
    """Three digits of a number of any size, as a formula."""
    with mpmath.workdps(30):
        rounded = +mpmath.mpf(number)
    text = mpmath.nstr(rounded, 3, strip_zeros=False, min_fixed=-3, max_fixed=3)
    mantissa, _, exponent = text.partition("e")
    return f"${mantissa}" + (rf" \cdot 10^{{{int(exponent)}}}$" if exponent else "$")


def compared(value: float, other: float) -> str:
    """Where a value is, seen from another one."""
    return "above" if value > other else "below" if value < other else "equal to"


def p_value(p: float) -> str:
    """The p-value of a test as a formula: its digits, or a power of ten above it."""
    if p > 1e-3:
        return f"${p:.2g}$"
    return f"$< 10^{{{math.floor(math.log10(max(p, 1e-301))) + 1}}}$"


def listed(items: Iterable[Any], separator: str = "; ") -> str:
    """Items one after the other, or "none"."""
    return separator.join(map(str, items)) or "none"


def seeds(run: "Run") -> str:
    """The seeds of a run, as text."""
    options = run.config.get("recipe", {}) | run.config
    if options.get("seeds", 1) > 1:
        return f"seeds 0 to {options['seeds'] - 1}"
    known = "seed" in options or "seeds" in options
    return f"seed {options.get('seed', 0)}" if known else "no seed"


def note(*runs: "Run") -> Markdown:
    """The line under what is shown of runs: which, when, with which seeds."""
    lines = (
        f"[*Run `{run.name}` of {run.date}, {seeds(run)}, @tbl-records.*]{{.record}}"
        for run in runs
    )
    return Markdown(" ".join(lines))
