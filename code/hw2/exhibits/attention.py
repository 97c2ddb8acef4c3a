"""The longer figures of chapter 2, and its widget."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from matplotlib.figure import Figure

from hw2.attention import TOKENS, Array, error_bound
from hw2.figures import BLUE, GREEN, GREY, ORANGE, scientific, widget


def weight_maps(norms: Sequence[float], weights: Sequence[Array]) -> Figure:
    """The weights (T, T) for each norm, side by side, as colours and as numbers."""
    fig, axes = plt.subplots(1, len(norms), figsize=(6.2, 2.5), sharey=True)
    for ax, norm, matrix in zip(axes, norms, weights, strict=True):
        ax.imshow(matrix, vmin=0, vmax=1)
        for (i, j), weight in np.ndenumerate(matrix):
            colour = "white" if weight > 0.5 else "black"
            text = {"color": colour, "fontsize": 8, "ha": "center", "va": "center"}
            ax.text(j, i, scientific(float(weight)), **text)
        names = range(1, len(matrix) + 1)
        ax.set(title=rf"$\beta = {norm}$", xticks=range(len(matrix)))
        ax.set_xticklabels([f"$x_{j}$" for j in names])
        ax.set_yticks(range(len(matrix)), [f"$y_{i}$" for i in names])
        ax.tick_params(length=0)
        ax.grid(False)
    return fig


def mixtures(
    norms: Array,
    weights: Array,
    to_token: Array,
    to_mean: Array,
    crossings: Sequence[float],
) -> Figure:
    """What y_1 and y_2 are mixed from, above, and how far from where, below.

    For n ``norms`` the ``weights`` are (n, 3, 3). The distances of each output to its
    token and to the mean of all, (n, 3), are equal at its crossing.
    """
    fig, axes = plt.subplots(2, 2, figsize=(6.0, 4.2), sharex=True, sharey="row")
    palette = (BLUE, ORANGE, GREEN)  # of the tokens
    for i, (above, below) in enumerate(axes.T):
        above.stackplot(norms, weights[:, i].T, colors=palette)
        for j, middle in enumerate(weights[0, i].cumsum() - weights[0, i] / 2):
            name = {"s": f"$x_{j + 1}$", "color": "white", "va": "center"}
            above.text(norms[0] + 0.05 * norms[-1], middle, **name)
        above.set(title=f"output $y_{i + 1}$", ylim=(0, 1))
        above.grid(False)
        below.plot(norms, to_token[:, i], color=palette[i], label=f"to $x_{i + 1}$")
        below.plot(norms, to_mean[:, i], color=GREY, label=r"to $\bar{x}$")
        for ax in (above, below):
            ax.axvline(crossings[i], color="black", ls=":", lw=1)
        below.set(xlabel=r"norm of the base vectors, $\beta$")
        below.legend(loc="center right")
    axes[0, 0].set_ylabel("fraction in the output")
    axes[1, 0].set_ylabel("relative distance")
    return fig


def playable(norms: Array) -> Markdown:
    """The widget of `fig-errors`: attention on tokens that the reader chooses.

    ``norms`` are those at which outputs are computed as ``self_attention`` does.
    """
    # The bounds are constants times beta exp(-scale beta^2), with integers as squares.
    constants = error_bound(1.0) * np.e
    data = {
        "tokens": TOKENS,
        "squares": np.square(constants).round().astype(int).tolist(),
        "dots": norms.tolist(),
        "dims": [4**power for power in reversed(range(6))],
        "beta": 2,
    }
    return widget("attention", "fig-errors", data)
