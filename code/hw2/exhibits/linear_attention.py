"""The longer figures of chapter 3, and its widget."""

import re
from typing import Any

import matplotlib.pyplot as plt
import sympy as sp
import torch
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from hw2.figures import BLUE, GREEN, ORANGE, RED, widget
from hw2.scaling import LONG, METHODS, fastest
from recorded import Run, Tensors

# A product from left to right: matrices by name and shape, and signs.
Q, K, V, Y = ("Q", "T d"), (r"K^\top", "d T"), ("V", "T v"), ("Y", "T v")
FORMED = ((r"Q K^\top", "T T"), (r"K^\top V", "d v"))
Product = tuple[str | tuple[str, str], ...]
QUADRATIC: Product = ("(", Q, K, ")", V, "=", FORMED[0], V, "=", Y)
LINEAR: Product = (Q, "(", K, V, ")", "=", Q, FORMED[1], "=", Y)
# What each order multiplies, m x n by n x p. Normalisers have a column of ones.
PRODUCTS = {
    "quadratic": ("T d T", "T T 1", "T T v"),
    "linear": ("d T v", "d T 1", "T d 1", "T d v"),
}


def bracketings(T: int = 12, d: int = 2, d_v: int = 3) -> Figure:
    """Both orders of multiplication, their matrices drawn to scale."""
    fig, axes = plt.subplots(2, 1, figsize=(5.2, 3.4))
    titles = (
        r"quadratic, $(Q K^\top)\, V$, forms a $T \times T$ matrix:",
        r"linear, $Q\, (K^\top V)$, forms a $d \times d_v$ matrix:",
    )
    sizes = {"T": T, "d": d, "v": d_v}
    ends = [
        _draw(ax, product, sizes)
        for ax, product in zip(axes, (QUADRATIC, LINEAR), strict=True)
    ]
    for ax, title in zip(axes, titles, strict=True):
        ax.set(xlim=(-1, max(ends)), ylim=(-T / 2 - 2, T / 2 + 0.2), aspect="equal")
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_axis_off()
    return fig


def _draw(ax: Axes, product: Product, sizes: dict[str, int]) -> float:
    """Draw a product, a row or column of a matrix one unit wide; where it ends."""
    x, half = 0.0, sizes["T"] / 2
    for item in product:
        if isinstance(item, tuple):
            name, shape = item
            rows, columns = (sizes[letter] for letter in shape.split())
            colour = "0.8" if item in FORMED else "white"
            corner, centre = (x, -rows / 2), x + columns / 2
            ax.add_patch(Rectangle(corner, columns, rows, ec="black", fc=colour, lw=1))
            ax.text(centre, 0, f"${name}$", ha="center", va="center", fontsize=8)
            label = shape.replace(" ", r" \times ").replace("v", "d_v")
            ax.text(
                centre, -half - 1, f"${label}$", ha="center", va="center", fontsize=8
            )
            x += columns + 1.2
        elif item == "=":
            ax.text(x + 0.6, 0, "$=$", ha="center", va="center", fontsize=11)
            x += 2
        else:
            bend = 0.06 if item == "(" else -0.06
            style: dict[str, Any] = {
                "arrowstyle": "-",
                "connectionstyle": f"arc3,rad={bend}",
            }
            ends = (x - 0.2, half), (x - 0.2, -half)
            ax.add_patch(FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, lw=1, **style))
            x += 1.0
    return x


def playable(result: Run, T: int, d: int, d_v: int) -> Markdown:
    """The widget of `bracketings`: both orders for sizes that the reader chooses.

    ``result`` is the run whose times and memory stand beside the counts. Raises
    ``ValueError`` where a slider, of the numbers 2^n and 3 * 2^n, has no such size.
    """
    steps = {"T": _steps(20), "d": _steps(8), "v": _steps(8)}
    sizes = {"T": T, "d": d, "v": d_v}
    largest = {letter: numbers[-1] for letter, numbers in steps.items()}
    for letter, size in sizes.items():
        if size not in steps[letter]:
            expected = f"2^n or 3 * 2^n and at most {largest[letter]}"
            name = "d_v" if letter == "v" else letter
            raise ValueError(f"{name} must be {expected}, got {size}")
    data = {
        "steps": steps,
        "largest": largest,
        "sizes": sizes,
        "orders": [_order("quadratic", QUADRATIC), _order("linear", LINEAR)],
        "itemsize": torch.float32.itemsize,
        "recorded": [_recorded(name, result.predictions) for name in METHODS],
        "width": result.config["d"],
    }
    return widget("linear", "fig-bracketings", data)


def _steps(last: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ..., 2^last."""
    between = {3 * 2**n for n in range(last - 1)}
    return sorted(between | {2**n for n in range(last + 1)})


def _order(name: str, product: Product) -> dict[str, Any]:
    """An order of multiplication: what is drawn and counted, and the formulas."""
    counted = " + ".join(f"2*{shape.replace(' ', '*')}" for shape in PRODUCTS[name])
    (formed,) = (item[1].split() for item in product if item in FORMED)
    chain = [item if isinstance(item, str) else _matrix(item) for item in product]
    names = [item if isinstance(item, str) else item["name"] for item in chain]
    return {
        "name": name,
        "title": f"{name}, {''.join(names[: names.index('=')])}",
        "chain": chain,
        "formed": formed,
        "products": [shape.split() for shape in PRODUCTS[name]],
        "operations": _plain(sp.factor(counted)),
        "numbers": _plain(sp.sympify("*".join(formed))),
    }


def _matrix(item: tuple[str, str]) -> dict[str, Any]:
    name = item[0].replace(r"^\top", "ᵀ").replace(" ", "")
    return {"name": name, "shape": item[1].split(), "formed": item in FORMED}


def _recorded(name: str, measured: Tensors) -> dict[str, Any]:
    """A method's fastest time and its memory for each number of tokens."""
    return {
        "name": "softmax, fused" if name == "softmax" else name,
        "tokens": measured[f"{name}_tokens"].tolist(),
        "seconds": fastest(measured, name).tolist(),
        "bytes": measured[f"{name}_bytes"].tolist(),
    }


def _plain(expression: sp.Expr) -> str:
    """An expression of T, d and d_v as it is written in a line of text."""
    text = str(expression).replace("**2", "²").replace("v", "dᵥ")
    return re.sub(r"(?<=[a-zA-Z])\*(?=d)", " ", text).replace("*", "")


def positivity(
    degrees: Tensor, plain: Tensor, mapped: Tensor, negative: Tensor
) -> Figure:
    """The output for a query at each angle, without and with a feature map; (n,) each.

    The plain output has poles, left out here, and is red where its normaliser is
    ``negative``.
    """
    fig, ax = plt.subplots(figsize=(6.0, 2.7))
    ax.axhspan(-1, 1, color="0.92", lw=0)
    for colour, where, name in (
        (BLUE, ~negative, "normaliser positive"),
        (RED, negative, "normaliser negative"),
    ):
        shown = plain.where(where & (plain.abs() < 6), torch.nan)
        ax.plot(degrees, shown, color=colour, label=name)
    ax.plot(degrees, mapped, color=GREEN, label=r"with $\mathrm{elu}(x) + 1$")
    ax.set(xlabel="angle of the query (degrees)", ylabel="output", ylim=(-4, 4))
    ax.set_xticks(range(0, 361, 60))
    fig.legend(loc="outside upper center", ncols=3)
    return fig


def times(measured: Tensors) -> Figure:
    """Time and memory of the three methods against T, and the slopes 1 and 2.

    ``measured`` are the predictions of ``scaling.experiment``.
    """
    fig, axes = plt.subplots(1, 2, figsize=(6.2, 3.0))
    for name, label, colour, slope in (
        ("quadratic", "quadratic", BLUE, 2),
        ("softmax", "softmax, fused", GREEN, None),
        ("linear", "linear", ORANGE, 1),
    ):
        tokens = measured[f"{name}_tokens"].numpy()
        seconds, held = fastest(measured, name), measured[f"{name}_bytes"]
        for ax, costs in zip(axes, (seconds.numpy(), held.numpy()), strict=True):
            ax.loglog(tokens, costs, "o-", color=colour, ms=3, label=label)
            if slope:
                long = tokens >= LONG
                guide = costs[long][0] * (tokens[long] / LONG) ** slope
                ax.loglog(tokens[long], guide, color="0.7", lw=3, zorder=1)
    axes[0].set(xlabel="tokens, $T$", ylabel="time (s)")
    axes[1].set(xlabel="tokens, $T$", ylabel="peak memory (bytes)")
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_xticks([2**n for n in range(7, 18, 2)])
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3
    )
    return fig
