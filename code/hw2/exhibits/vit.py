"""The longer figures and the tables of chapter 4."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

import matplotlib.pyplot as plt
from IPython.display import Markdown
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from hw2.evaluation import Floats, seed_accuracies
from hw2.figures import ORANGE, listed, signed, table
from hw2.training import count_parameters
from hw2.vit.inspection import (
    ablation_accuracies,
    epoch_losses,
    flops,
    minutes,
)
from recorded import Run


def patches(image: Tensor, tokens: Tensor) -> Figure:
    """An image (28, 28), its 49 patches, and the tokens (49, 16) that they are."""
    fig, axes = plt.subplots(1, 3, figsize=(6.0, 2.6), width_ratios=[5, 5, 2])
    shade = {"cmap": "Greys", "vmin": 0, "vmax": 1}
    axes[0].imshow(image, extent=(0, 28, 28, 0), **shade)
    axes[0].vlines(range(0, 29, 4), 0, 28, color=ORANGE, lw=0.7)
    axes[0].hlines(range(0, 29, 4), 0, 28, color=ORANGE, lw=0.7)
    for index, patch in enumerate(tokens):
        y, x = (6.5 * part for part in divmod(index, 7))
        axes[1].imshow(patch.view(4, 4), extent=(x, x + 4, y + 4, y), **shade)
        axes[1].add_patch(Rectangle((x, y), 4, 4, fill=False, ec="0.7", lw=0.3))
        axes[1].text(x, y - 0.2, str(index), fontsize=5, va="bottom")
    axes[1].set(xlim=(-0.5, 43.5), ylim=(43.5, -2.5))
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


def spread(accuracies: Floats) -> str:
    """The lowest and the highest accuracy in percent, where there are several seeds."""
    if len(accuracies) == 1:
        return "one seed"
    return f"{100 * accuracies.min():.1f} to {100 * accuracies.max():.1f}"


def results(runs: Iterable[Run], networks: Mapping[str, nn.Module]) -> Markdown:
    """A column for each network: its accuracy on the test images, and what it takes."""
    first = ("", "accuracy", "by seed (%)", "mirrored", "parameters", "operations")
    columns: list[tuple[str, ...]] = [(*first, "epochs", "minutes", "cores")]
    for run in runs:
        network = networks[run.name]
        logits, labels = run.predictions["logits"], run.predictions["labels"]
        column = (
            f"`{run.name}`",
            f"{run.scores['accuracy'].value:.2%}",
            spread(seed_accuracies(logits.argmax(dim=2), labels)),
            f"{run.scores['flipped'].value:.2%}",
            f"{count_parameters(network):,}",
            f"{flops(network) / 1e6:.1f} M",
            str(run.config["epochs"]),
            f"{minutes(run.predictions):.1f}",
            run.hardware.split()[0],
        )
        columns.append(column)
    header, *rows = zip(*columns, strict=True)
    return table(header, rows)


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


def extremes(counts: Tensor, names: Sequence[str]) -> tuple[str, str, str]:
    """The hardest class, the easiest, and the commonest error, in words.

    ``counts`` is the confusion matrix: true classes in rows, predicted ones in columns.
    """
    fraction = counts.diagonal() / counts.sum(dim=1)
    hardest, easiest = (
        f"{names[int(i)]} ({fraction[i]:.1%} correct)"
        for i in (fraction.argmin(), fraction.argmax())
    )
    errors = counts - counts.diagonal().diag()
    true, given = divmod(int(errors.argmax()), len(names))
    commonest = f"{names[true]} predicted as {names[given]}, {errors.max()} times"
    return hardest, easiest, commonest
