"""The longer figures of chapter 3."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hw2.figures import BLUE, GREEN, ORANGE, RED
from hw2.scaling import LONG, fastest
from recorded import Tensors


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
