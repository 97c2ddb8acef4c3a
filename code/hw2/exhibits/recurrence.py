"""The figures of chapter 1, and its widget."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path

from hw2.figures import BLUE, GREY, ORANGE, widget
from hw2.recurrence import W_IN, W_OUT, W_REC

Point = tuple[float, float]
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}


def network() -> Figure:
    """The network of the assignment, folded and unrolled over time."""
    fig, ax = plt.subplots(figsize=(6.0, 2.1))
    column(ax, 0, "t")
    curve = [(-0.26, 1.45), (-1.05, 1.95), (-1.05, 0.65), (-0.26, 1.15)]
    loop = Path(curve, [Path.MOVETO, *[Path.CURVE4] * 3])
    arrow = FancyArrowPatch(path=loop, arrowstyle="-|>", mutation_scale=10, color=GREY)
    ax.add_patch(arrow)
    ax.text(-0.92, 1.3, f"${W_REC}$", ha="right", va="center", fontsize=8)
    ax.text(1.3, 1.3, "=", fontsize=14, **MIDDLE)
    ax.text(2.2, 1.3, "$h_0 = 0$", fontsize=9, **MIDDLE)
    edge(ax, (2.62, 1.3), (3.2, 1.3), f"${W_REC}$")
    for x, index in ((3.5, "1"), (4.9, "2"), (6.3, "3"), (8.6, "T")):
        column(ax, x, index)
    for start, length in ((3.8, 0.8), (5.2, 0.8), (6.6, 0.6), (7.7, 0.6)):
        edge(ax, (start, 1.3), (start + length, 1.3), f"${W_REC}$")
    ax.text(7.45, 1.3, r"$\cdots$", fontsize=12, **MIDDLE)
    ax.set(xlim=(-1.4, 9.0), ylim=(-0.4, 3.0), aspect="equal")
    ax.axis("off")
    return fig


def unrolled(
    inputs: Sequence[int],
    hidden: npt.NDArray[np.object_],
    outputs: npt.NDArray[np.float64],
    parts: Sequence[npt.NDArray[np.object_]],
) -> Figure:
    """The network on T = 6 inputs: its numbers, and what they are put together from.

    ``parts[k - 1]`` holds what the input x_k contributes to h_1, ..., h_T.
    """
    fig, ax = plt.subplots(figsize=(5.2, 3.6))
    rows = [-0.75 - 0.36 * k for k in range(1, len(inputs) + 1)]
    for t, (x_t, h_t, y_t) in enumerate(zip(inputs, hidden, outputs, strict=True), 1):
        left = 1.4 * t
        edge(ax, (left, 0.3), (left, 1.0))
        edge(ax, (left, 1.6), (left, 2.3))
        if t > 1:
            edge(ax, (left - 1.1, 1.3), (left - 0.3, 1.3), f"${W_REC}$")
        node(ax, left, 0, f"${x_t}$", GREY)
        node(ax, left, 1.3, f"${h_t}$", BLUE)
        node(ax, left, 2.6, f"${y_t:g}$", ORANGE)
        ax.text(left, 3.15, f"$t = {t}$", ha="center", fontsize=8, color=GREY)
        for part, y in zip(parts[:t], rows[:t], strict=True):
            colour = BLUE if part[t - 1] > 0 else ORANGE
            ax.text(left, y, f"${part[t - 1]:+}$", ha="center", color=colour)
        ax.text(left, -3.5, f"${h_t}$", ha="center")
    for name, height in (("$x_t$", 0), ("$h_t$", 1.3), ("$y_t$", 2.6)):
        ax.text(0.75, height, name, ha="right", va="center")
    for k, y in enumerate(rows, 1):
        ax.text(0.75, y, f"from $x_{k}$", ha="right", fontsize=8, color=GREY)
    ax.text(0.75, -3.5, "sum, $h_t$", ha="right", fontsize=8)
    ax.plot([0, 9], [-3.07, -3.07], color=GREY, lw=0.8)
    ax.set(xlim=(-0.4, 9.0), ylim=(-3.7, 3.4), aspect="equal")
    ax.axis("off")
    return fig


def playable(inputs: Sequence[int]) -> Markdown:
    """The widget of `unrolled`: the network on integers that the reader chooses."""
    weights = {"in": W_IN, "rec": W_REC, "out": W_OUT, "choices": [-1, 1, 0, 0.5]}
    return widget("recurrence", "fig-unrolled", {"inputs": inputs} | weights)


def column(ax: Axes, x: float, index: str) -> None:
    """One step: the nodes x, h and y above each other, their edges with weights."""
    edge(ax, (x, 0.3), (x, 1.0), f"${W_IN}$")
    edge(ax, (x, 1.6), (x, 2.3), f"${W_OUT}$")
    node(ax, x, 0, f"$x_{index}$", GREY)
    node(ax, x, 1.3, f"$h_{index}$", BLUE)
    node(ax, x, 2.6, f"$y_{index}$", ORANGE)


def node(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    """A circle with a text in it."""
    ax.add_patch(Circle((x, y), 0.3, facecolor="white", edgecolor=colour, lw=1.4))
    ax.text(x, y, text, fontsize=9, **MIDDLE)


def edge(ax: Axes, start: Point, end: Point, weight: str = "") -> None:
    """An arrow, with its weight to the right of it if it goes up, else above it."""
    arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=arrow)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if start[0] == end[0]:
        ax.text(x + 0.08, y, weight, ha="left", va="center", fontsize=8)
    else:
        ax.text(x, y + 0.06, weight, ha="center", va="bottom", fontsize=8)
