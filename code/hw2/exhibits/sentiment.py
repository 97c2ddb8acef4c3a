"""The tables and longer figures of chapter 5. Those of its studies are apart."""

import ast
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hw2.evaluation import confusion, mcnemar
from hw2.figures import (
    BLUE,
    GREEN,
    ORANGE,
    UNICODE_FONT,
    drawable,
    listed,
    literal,
    p_value,
    python,
    table,
    text_of,
)
from hw2.sentiment import inspection
from hw2.sentiment.config import Config
from hw2.sentiment.inspection import Result, agreement, epoch_seconds
from hw2.sentiment.predict import Predictor
from hw2.sentiment.reviews import GIVEN, HARD, OWN
from hw2.sentiment.training import best_epoch
from recorded import Run

if TYPE_CHECKING:
    from transformers import BertConfig

Occlusion = tuple[Sequence[str], Sequence[float]]  # tokens, and their effects

# What a reader calls the reviews of Q4: 1 is positive.
READ = dict(zip(GIVEN + OWN + HARD, (0, 1, 1, 0, 1, 0), strict=True))
HEADS = {"gru": "GRU", "cnn": "convolution"}


def brief(*objects: Any) -> Markdown:
    """The source of functions or classes, of their docstrings the first line only."""
    text = text_of(*objects)
    lines = text.splitlines()
    kinds = ast.ClassDef | ast.FunctionDef
    documented = [
        node.body[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds) and ast.get_docstring(node)
    ]
    for doc in sorted(documented, key=lambda node: node.lineno, reverse=True):
        if doc.end_lineno and doc.end_lineno > doc.lineno:
            lines[doc.lineno - 1] += '"""'
            del lines[doc.lineno : doc.end_lineno]
    return python("\n".join(lines))


def setup(runs: Mapping[str, Config], encoder: "BertConfig") -> Markdown:
    """The recipe as the notebook gives it, and those of the runs."""
    from transformers import BertConfig

    base = BertConfig()
    encoders = [base, *[encoder] * len(runs)]
    # The recipe as given, with what a configuration has no option for.
    given = ["bert-base-uncased", "read", "random", "in training"]
    configs = [Config(layer=base.num_hidden_layers), *runs.values()]
    ours = (
        ["MiniLM", "masked", "by length", "in training" if of.rank else "no"]
        for of in runs.values()
    )
    names, paddings, orders, dropouts = zip(given, *ours, strict=True)
    sizes = (f"{of.num_hidden_layers}, {of.hidden_size}" for of in encoders)
    batches = (
        f"{of.batch}, {order}" for of, order in zip(configs, orders, strict=True)
    )
    cells: dict[str, Callable[[Config], object]] = {
        "encoder trained": lambda of: f"by rank {of.rank}" if of.rank else "no",
        "head, its size": lambda of: f"{HEADS[of.head]}, {of.hidden}",
        "tokens read": lambda of: (
            f"{of.max_tokens}, both ends" if of.both_ends else f"first {of.max_tokens}"
        ),
        "epochs, learning rate": lambda of: (
            f"{of.epochs}, {of.lr:g}{' at peak' if of.decay else ''}"
        ),
        "R-Drop": lambda of: f"weight {of.agreement:g}" if of.agreement else "no",
        "mean of weights": lambda of: (
            f"decay {of.averaging:g}" if of.averaging else "no"
        ),
    }
    return table(
        ["", "as given", *(f"`{name.removeprefix('sentiment-')}`" for name in runs)],
        [
            ("encoder", *names),
            ("its layers, its width", *sizes),
            ("layer read", *(of.layer for of in configs)),
            ("padding", *paddings),
            ("batches", *batches),
            ("dropout of encoder", *dropouts),
            *((name, *map(show, configs)) for name, show in cells.items()),
        ],
        widths=[10, 10, 9, 10, 10],
    )


def predictions(predictor: Predictor, texts: Sequence[str]) -> Markdown:
    """What a model calls each text, with the probability of positive."""
    said = (
        f"“{literal(text)}” {'positive' if p > 0.5 else 'negative'} ({p:.3f})"
        for text, p in zip(texts, predictor.predict_proba(texts), strict=True)
    )
    return Markdown(" and ".join(said))


def precision(run: Run) -> str:
    """The precision in which a run multiplied its matrices."""
    return "bfloat16" if run.metrics["bfloat16"] else "single precision"


def log(run: Run, seed: int = 0) -> str:
    """What a run prints: a line for each epoch, and one for the test."""
    of = {what: values[seed] for what, values in run.predictions.items()}
    lines = [
        f"epoch {epoch + 1}, {seconds:.0f} s: "
        f"training loss {of['loss'][epoch]:.3f}, accuracy {of['accuracy'][epoch]:.2%}; "
        f"validation loss {of['valid_loss'][epoch]:.3f}, "
        f"accuracy {of['valid_accuracy'][epoch]:.2%}"
        for epoch, seconds in enumerate(epoch_seconds(run, seed).tolist())
    ]
    lines.append(
        f"test, weights of epoch {best_epoch(of['valid_loss']) + 1}: "
        f"loss {inspection.test_loss(run, seed):.3f}, "
        f"accuracy {inspection.test_accuracy(run, seed):.2%}"
    )
    return "\n".join(lines)


def by_seed(run: Run) -> Markdown:
    """Loss and accuracy of the best epoch of each seed, and on the test reviews."""
    rows = []
    for seed, losses in enumerate(run.predictions["valid_loss"]):
        of = {what: values[seed] for what, values in run.predictions.items()}
        epoch = best_epoch(losses)
        pairs = (
            (of["loss"][epoch], of["accuracy"][epoch]),
            (losses[epoch], of["valid_accuracy"][epoch]),
            (inspection.test_loss(run, seed), inspection.test_accuracy(run, seed)),
        )
        shown = (f"{loss:.3f}, {accuracy:.2%}" for loss, accuracy in pairs)
        rows.append((seed, epoch + 1, *shown))
    return table(["seed", "epoch", "training", "validation", "test"], rows)


def recalls(of: Result) -> list[float]:
    """Which fraction of the negative and of the positive reviews a model gets right."""
    return [of.correct[of.labels == label].double().mean().item() for label in (0, 1)]


def confusions(first: Result, best: Result) -> Markdown:
    """What the notebook's and the best model call the test reviews of either kind."""
    rows = []
    for model, of in (("notebook's model", first), ("fine-tuned model", best)):
        counts = confusion(of.logits > 0, of.labels, 2).tolist()
        parts = recalls(of)
        for i, name in enumerate(("negative", "positive")):
            called = (f"{count:,}" for count in counts[i])
            rows.append((model, name, *called, f"{parts[i]:.1%}"))
    header = ["model", "review", "called negative", "called positive", "correct"]
    return table(header, rows, "llrrr")


def results(models: Sequence[Result]) -> Markdown:
    """The models on the test reviews, each compared with the one before it."""
    rows = []
    for i, of in enumerate(models):
        low, high = of.interval
        p = p_value(mcnemar(of.correct, models[i - 1].correct)) if i else ""
        accuracy, interval = f"{of.accuracy:.2%}", f"{low:.1%} to {high:.1%}"
        parameters = (f"{of.trained:,}", f"{of.total:,}")
        rows.append((f"`{of.name}`", accuracy, interval, p, *parameters))
    return table(["run", "accuracy", "95% interval", "p", "trained", "total"], rows)


def undecided(models: Sequence[Result], level: float) -> str:
    """Neighbours in a ranking that McNemar's test does not tell apart at a level."""
    return listed(
        f"{one.name} and {other.name}"
        for one, other in pairwise(models)
        if mcnemar(one.correct, other.correct) >= level
    )


def curves(runs: Sequence[Run]) -> Figure:
    """Validation loss after each epoch, and thin the training loss, seed 0 of each."""
    fig, ax = plt.subplots(figsize=(6.0, 1.9))
    for run, colour in zip(runs, (BLUE, GREEN, ORANGE), strict=True):
        losses = run.predictions["losses"][0].float()
        valid = run.predictions["valid_loss"][0]
        length = len(losses) / len(valid)
        window = max(1, round(length / 20))
        running = losses.unfold(0, window, 1).mean(dim=1)
        middle = (np.arange(len(running)) + (window + 1) / 2) / length
        ax.plot(middle, running, color=colour, lw=0.6, alpha=0.7)
        ax.plot(range(1, len(valid) + 1), valid, "o-", color=colour, label=run.name)
    ax.axhline(math.log(2), color="black", ls="--", lw=0.8)
    ax.set(xlabel="epochs", ylabel="cross-entropy (nats)", ylim=(0, 0.75))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.92))
    return fig


def right(predictor: Predictor, texts: tuple[str, str]) -> str:
    """On how many of two reviews of Q4 a model agrees with a reader."""
    known = [READ[text] for text in texts]
    count = agreement(predictor.predict_proba(texts), known)
    return ("neither", "one", "both")[count]


def effects(predictor: Predictor, texts: Sequence[str]) -> dict[str, Occlusion]:
    """By how much each token of each text raises the logit."""
    return {text: inspection.occlusion(predictor, text) for text in texts}


def heaviest(effects: Mapping[str, Occlusion], texts: Sequence[str]) -> Markdown:
    """The token of each text that moves the logit most."""
    of = (effects[text] for text in texts)
    found = (tokens[int(np.abs(values).argmax())] for tokens, values in of)
    return Markdown(" and ".join(f"*{literal(token)}*" for token in found))


def occlusion(effects: Mapping[str, Occlusion]) -> Figure:
    """By how much each token of a text raises the logit, a panel for each text."""
    largest = max(abs(value) for _, values in effects.values() for value in values)
    longest = max(len(tokens) for tokens, _ in effects.values())
    titles = [textwrap.fill(drawable(text), 84 // len(effects)) for text in effects]
    lines = 1 + max(title.count("\n") for title in titles)
    height = 0.39 + 0.12 * lines + 0.13 * longest
    fig, axes = plt.subplots(1, len(effects), figsize=(6.2, height))
    of_texts = {"fontfamily": UNICODE_FONT, "parse_math": False}
    for ax, title, (tokens, values) in zip(axes, titles, effects.values(), strict=True):
        colours = [ORANGE if value < 0 else BLUE for value in values]
        ax.barh(range(len(tokens)), values, color=colours)
        names = [drawable(token) for token in tokens]
        ax.set_yticks(range(len(tokens)), names, fontsize=7.5, **of_texts)
        ax.set(xlim=(-1.05 * largest, 1.05 * largest), ylim=(longest - 0.5, -0.5))
        ax.set_title(title, fontsize=8, linespacing=1.0, **of_texts)
        ax.locator_params(axis="x", nbins=5)
        ax.grid(visible=False, axis="y")
    fig.supxlabel("difference of the logit", fontsize=8)
    return fig
