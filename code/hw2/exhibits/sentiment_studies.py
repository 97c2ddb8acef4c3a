"""The tables of the studies of chapter 5, which only the HTML book shows."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from IPython.display import Markdown

from hw2.evaluation import mcnemar
from hw2.exhibits.sentiment import HEADS
from hw2.figures import listed, literal, p_value, signed, table
from hw2.sentiment.config import Speed
from hw2.sentiment.ensemble import Combination
from hw2.sentiment.inspection import Trial
from hw2.sentiment.predict import Predictor
from hw2.sentiment.tfidf import PROBES
from hw2.sentiment.training import is_correct
from recorded import Run


def padding(run: Run) -> Markdown:
    """Test accuracy by seed and way, and McNemar's test against masked padding."""
    labels, rows = run.predictions["labels"], []
    masked = is_correct(run.predictions["masked"], labels)
    for name, way in (
        ("masked in training and test", "masked"),
        ("read in training; test sorted by length", "sorted"),
        ("read in training; test padded to the limit", "padded"),
    ):
        correct = is_correct(run.predictions[way], labels)
        accuracies = (f"{of.double().mean():.1%}" for of in correct)
        tests = [p_value(mcnemar(*pair)) for pair in zip(correct, masked, strict=True)]
        compared = listed(tests, ", ") if way != "masked" else ""
        rows.append((name, *accuracies, f"{correct.double().mean():.1%}", compared))
    seeds = (f"seed {seed}" for seed in range(len(masked)))
    header = ["padding", *seeds, "mean", "p, by seed"]
    return table(header, rows, widths=[20, *[6] * len(masked), 6, 18])


def gap(cells: Mapping[tuple[int, str], npt.NDArray[np.float64]]) -> Markdown:
    """The mean test accuracy by layer (rows) and head (columns), and that by seed."""
    rows = []
    for layer in sorted({layer for layer, _ in cells}, reverse=True):
        row = [f"layer {layer}"]
        for head in HEADS.values():
            each = cells[layer, head]
            seeds = ", ".join(f"{100 * of:.1f}" for of in each)
            row.append(f"{each.mean():.2%} ({seeds})")
        rows.append(row)
    return table(["", *HEADS.values()], rows)


def search(tried: Iterable[Trial]) -> Markdown:
    """What a search tried, the recipe first."""
    rows = []
    for i, trial in enumerate(tried):
        compared = [signed(100 * trial.gain), p_value(trial.p)] if i else ["", ""]
        rows.append((trial.name, f"{trial.accuracy:.2%}", *compared))
    return table(["change", "accuracy", "points", "p"], rows, widths=[16, 7, 7, 7])


def errors(run: Run) -> Markdown:
    """How the worst errors of a run begin."""
    rows = [
        (
            "positive" if of["label"] else "negative",
            f"{1 / (1 + math.exp(-of['logit'])):.3f}",
            excerpt(of["text"]),
        )
        for of in run.metrics["errors"]
    ]
    return table(["label", "P", "review"], rows, "lrl", [9, 6, 60])


def excerpt(text: str, length: int = 130) -> str:
    """The beginning of a review, as Markdown for a cell of a table."""
    text = re.sub(r"\s+", " ", re.sub(r"<br\s*/?>", " ", text))
    cut = text if len(text) <= length else text[:length].rsplit(" ", 1)[0] + " …"
    return literal(cut)


def on_probes(
    predictors: Mapping[str, Predictor], tfidf: Run
) -> tuple[dict[str, npt.NDArray[np.float32]], list[int]]:
    """P(positive) of each model for the sentences about negation, and their labels."""
    texts, classes = zip(*PROBES, strict=True)
    said = {name: of.predict_proba(texts) for name, of in predictors.items()}
    said[tfidf.name] = tfidf.predictions["probes"].sigmoid().numpy()
    return said, list(classes)


def largest_p(together: Combination, run: Run) -> Markdown:
    """The largest p-value, among the seeds, of combined models against a run."""
    return Markdown(p_value(together.largest_p(run)))


def weights(found: Combination, names: Sequence[str]) -> str:
    """The weights of combined models, relative to their sum, as a mean of the seeds."""
    shares = (found.weights / found.weights.sum(dim=1, keepdim=True)).mean(dim=0)
    pairs = zip(names, shares.tolist(), strict=True)
    return listed((f"{name} {signed(share)}" for name, share in pairs), ", ")


def negation(said: Mapping[str, npt.NDArray[np.float32]]) -> Markdown:
    """What each model gives the sentences with and without a negation, P(positive)."""
    rows = [
        (
            literal(text) if positive else f"*{literal(text)}*",
            *(f"{p[i]:.2f}" for p in said.values()),
        )
        for i, (text, positive) in enumerate(PROBES)
    ]
    names = (name.removeprefix("sentiment-") for name in said)
    return table(["", *names], rows)


def seconds(time: float) -> str:
    """A time to two digits, or to the second."""
    return f"{time:.2g}" if time < 10 else f"{time:.0f}"


def speed(fastest: Mapping[str, float], config: Speed) -> Markdown:
    """Seconds of each way that was timed, and its reviews in a second."""
    limit, reviews = f"up to {config.max_tokens} tokens", config.reviews
    of_epoch, count = f"up to {config.epoch_tokens} tokens", config.epoch_reviews
    same, few = "the same reviews", config.step_reviews
    names = {
        "encode": (f"encode to the disk, {limit}", reviews),
        "library": (f"`sentence_transformers`, {same}", reviews),
        "loop": (f"a plain loop over batches, {same}", reviews),
        "epoch's states": (f"storing states, {of_epoch}", count),
        "stored epoch": (f"epoch with stored states, {of_epoch}", count),
        "notebook epoch": (f"epoch in the notebook's way, {same}", count),
        "reversed step": ("step with reversed sequences", few),
        "packed step": (f"step with packed sequences, {same}", few),
        "padded step": (f"step that reads the padding, {same}", few),
    }
    rows = [
        (name, seconds(fastest[key]), f"{number / fastest[key]:.1f}")
        for key, (name, number) in names.items()
    ]
    return table(["", "seconds", "reviews / s"], rows, widths=[36, 9, 12])
