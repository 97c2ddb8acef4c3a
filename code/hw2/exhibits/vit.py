"""The longer figures and the tables of chapter 4."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from hw2.evaluation import Floats, seed_accuracies
from hw2.figures import ORANGE, listed, signed, table
from hw2.training import count_parameters
from hw2.vit.inspection import (
    Classified,
    ablation_accuracies,
    epoch_losses,
    flops,
    minutes,
    most_confident_errors,
)
from recorded import Run

TOPS = ("T-shirt", "Pullover", "Dress", "Coat", "Shirt")  # on the upper body


def patches(image: Tensor, tokens: Tensor) -> Figure:
    """An image (28, 28), its 49 patches, and the tokens (49, 16) that they are."""
    fig, axes = plt.subplots(1, 3, figsize=(6.0, 1.6), width_ratios=[5, 5, 2])
    shade = {"cmap": "Greys", "vmin": 0, "vmax": 1}
    axes[0].imshow(image, extent=(0, 28, 28, 0), **shade)
    axes[0].vlines(range(0, 29, 4), 0, 28, color=ORANGE, lw=0.7)
    axes[0].hlines(range(0, 29, 4), 0, 28, color=ORANGE, lw=0.7)
    beside = {"va": "center", "fontsize": 8}
    for index, patch in enumerate(tokens):
        y, x = (5 * part for part in divmod(index, 7))
        axes[1].imshow(patch.view(4, 4), extent=(x, x + 4, y + 4, y), **shade)
        axes[1].add_patch(Rectangle((x, y), 4, 4, fill=False, ec="0.7", lw=0.3))
        if index % 7 == 0:
            axes[1].text(x - 0.8, y + 2, str(index), ha="right", **beside)
        elif index % 7 == 6:
            axes[1].text(x + 4.8, y + 2, str(index), ha="left", **beside)
    axes[1].set(xlim=(-5, 39), ylim=(34.5, -0.5))
    axes[2].imshow(tokens, aspect="auto", **shade)
    axes[2].set(xlabel="pixel", ylabel="token", xticks=[0, 15], yticks=[0, 24, 48])
    titles = ("an image", "its patches", "its tokens")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=9)
        ax.grid(False)
    for ax in axes[:2]:
        ax.set_aspect("equal")
        ax.axis("off")
    return fig


def curves(
    runs: Mapping[str, Run], colours: Mapping[str, str], change: float
) -> Figure:
    """How networks learn, by epoch: the mean over the seeds, and their range as a band.

    Loss and accuracy are first those on the held-out images, the same for all networks,
    then the loss is that in training. A line stands at the epoch of a ``change``.
    """
    fig, axes = plt.subplots(1, 3, figsize=(6.2, 2.2))
    for name, run in runs.items():
        of = run.predictions
        shown = (
            of["held_out_loss"],
            100 * of["held_out_accuracy"],
            of["losses"].float().unflatten(1, (of["seconds"].shape[1], -1)).mean(dim=2),
        )
        for ax, values in zip(axes, shown, strict=True):
            epochs = range(1, values.shape[1] + 1)
            low, high = values.aminmax(dim=0)
            ax.fill_between(epochs, low, high, color=colours[name], alpha=0.25, lw=0)
            ax.plot(epochs, values.mean(dim=0), color=colours[name], lw=1.1, label=name)
    axes[0].set(title="held-out loss (nats)", yscale="log", yticks=[0.2, 0.5, 1])
    axes[1].set(title="held-out accuracy (%)", ylim=(84, None))
    axes[2].set(title="training loss (nats)", ylim=(0, 0.8))
    for ax in axes:
        ax.axvline(change, color="black", lw=0.8, ls=":")
        ax.set(xlabel="epoch", xticks=range(0, 65, 16))
        ax.title.set_fontsize(9)
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].yaxis.set_minor_formatter("")
    lines, names = axes[0].get_legend_handles_labels()
    fig.legend(lines, names, loc="outside upper center", ncols=len(names))
    return fig


def errors(counts: Tensor, names: Sequence[str]) -> Figure:
    """A confusion matrix whose colours are those of the errors.

    Right predictions, on the diagonal, are grey, and a cell without images is empty.
    """
    wrong = counts - counts.diagonal().diag()
    fig, ax = plt.subplots(figsize=(5.6, 2.5))
    ax.imshow(wrong, vmin=0, aspect="auto")
    for (row, column), count in np.ndenumerate(counts.numpy()):
        if row == column:
            corner = (column - 0.5, row - 0.5)
            ax.add_patch(Rectangle(corner, 1, 1, color="0.88", lw=0))
        if count:
            dark = 2 * wrong[row, column] > wrong.max()
            shade = "white" if dark else "black"
            text = ax.text(column, row, str(count), color=shade, fontsize=8)
            text.set(ha="center", va="center")
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.tick_params(length=0)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.grid(False)
    return fig


def wrong(
    images: Tensor, labels: Tensor, of: Classified, names: Sequence[str]
) -> Figure:
    """The six wrong predictions with the highest probabilities, the highest first."""
    fig, axes = plt.subplots(1, 6, figsize=(6.2, 1.55))
    for ax, index in zip(axes, most_confident_errors(of, 6).tolist(), strict=True):
        ax.imshow(images[index, 0], cmap="Greys")
        given, label = (names[int(classes[index])] for classes in (of.classes, labels))
        text = f"{given}\n{of.probability[index]:.4f}\nlabel: {label}"
        ax.set_title(text, fontsize=8, linespacing=1.4)
        ax.axis("off")
    return fig


def spread(accuracies: Floats) -> str:
    """The lowest and the highest accuracy in percent, where there are several seeds."""
    if len(accuracies) == 1:
        return "one seed"
    return f"{100 * accuracies.min():.1f} to {100 * accuracies.max():.1f}"


def results(runs: Iterable[Run], networks: Mapping[str, nn.Module]) -> Markdown:
    """A row for each network: its accuracy on the test images, and what it takes."""
    rows = []
    for run in runs:
        network = networks[run.name]
        classes, labels = run.predictions["logits"].argmax(2), run.predictions["labels"]
        row = (
            f"`{run.name}`",
            f"{run.scores['accuracy'].value:.2%}",
            spread(seed_accuracies(classes, labels)),
            f"{count_parameters(network):,}",
            f"{flops(network) / 1e6:.1f}",
            f"{minutes(run.predictions):.1f}",
        )
        rows.append(row)
    columns = ["Network", "Accuracy", "By seed (%)", "Parameters", "Operations (M)"]
    return table([*columns, "Minutes"], rows, widths=[15, 10, 14, 12, 15, 9])


def log(run: Run, seed: int = 0, every: int = 1) -> str:
    """What a training run prints: a line for each epoch, or for ``every`` so many.

    The loss in training is the mean over the epoch, of images as they are shown then;
    loss and accuracy on the held-out images are those at its end; the seconds are of
    training alone, from the start.
    """
    of = {what: history[seed] for what, history in run.predictions.items()}
    columns = (
        epoch_losses(of),
        of["held_out_loss"],
        of["held_out_accuracy"],
        of["seconds"],
    )
    lines = ["epoch    loss   held-out loss   accuracy   seconds"]
    rows = list(enumerate(zip(*columns, strict=True), 1))
    for epoch, row in rows[every - 1 :: every]:
        loss, held_out, accuracy, seconds = map(float, row)
        lines.append(
            f"{epoch:5} {loss:7.3f} {held_out:15.3f} {accuracy:10.2%} {seconds:9.0f}"
        )
    return "\n".join(lines)


def ablation(run: Run) -> Markdown:
    """A row for each change of a recipe: the accuracy on the held-out images."""
    accuracies = ablation_accuracies(run)
    rows = [
        (
            name,
            f"{each.mean():.2%}",
            spread(each),
            signed(100 * (each.mean() - accuracies["nothing"].mean())),
        )
        for name, each in accuracies.items()
    ]
    header = ["Change", "Accuracy", "By seed (%)", "Points"]
    return table(header, rows, widths=[32, 10, 18, 8])


def sides(accuracies: Mapping[str, Floats], reach: float) -> tuple[str, str, str]:
    """The changes that are better than nothing, worse, and neither, by name.

    A difference of the means counts where it is larger than ``reach``.
    """
    base = accuracies["nothing"].mean()
    gains = {name: each.mean() - base for name, each in accuracies.items()}
    del gains["nothing"]

    def between(low: float, high: float) -> str:
        return listed(n for n, gain in gains.items() if low < gain <= high)

    return between(reach, inf), between(-inf, -reach), between(-reach, reach)


def extremes(counts: Tensor, names: Sequence[str]) -> tuple[str, str]:
    """The hardest class and the easiest, in words.

    ``counts`` is the confusion matrix: true classes in rows, predicted ones in columns.
    """
    fraction = counts.diagonal() / counts.sum(dim=1)
    hardest, easiest = (
        f"{names[int(i)]} ({fraction[i]:.1%} correct)"
        for i in (fraction.argmin(), fraction.argmax())
    )
    return hardest, easiest


def commonest(counts: Tensor, names: Sequence[str], many: int) -> str:
    """The commonest errors of a confusion matrix in words, the commonest first.

    There are more than ``many`` where some are as common as the last of these.
    """
    wrong = (counts - counts.diagonal().diag()).flatten()
    least = wrong.topk(many).values[-1]
    found = []
    for place in wrong.argsort(descending=True, stable=True).tolist():
        if wrong[place] >= least:
            true, given = divmod(place, len(names))
            found.append(f"{names[true]} as {names[given]} ({wrong[place]})")
    return listed(found, ", ")


def errors_among(counts: Tensor, names: Sequence[str], some: Sequence[str]) -> float:
    """The fraction of all errors of which label and prediction are among ``some``."""
    wrong = counts - counts.diagonal().diag()
    inner = [names.index(name) for name in some]
    return float(wrong[inner][:, inner].sum() / wrong.sum())


def lead(runs: Mapping[str, Run], epoch: int) -> float:
    """The held-out accuracy of the first run minus the best of the others."""
    first, *others = (
        run.predictions["held_out_accuracy"][:, epoch].mean().item()
        for run in runs.values()
    )
    return first - max(others)
