"""The tables of chapter 5."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
from IPython.display import Markdown
from transformers import BertConfig

from hw2.evaluation import confusion, mcnemar
from hw2.figures import listed, p_value, signed, table
from hw2.sentiment.config import Config, Speed
from hw2.sentiment.ensemble import Combination
from hw2.sentiment.experiments import training_seconds
from hw2.sentiment.inspection import Result, Trial, epoch_seconds, test_loss
from hw2.sentiment.predict import Predictor
from hw2.sentiment.tfidf import PROBES
from hw2.sentiment.training import best_epoch, binary_accuracy, is_correct
from recorded import Run

HEADS = {"gru": "GRU", "cnn": "convolution"}


def setup(runs: Mapping[str, Config], encoder: BertConfig) -> Markdown:
    """The options of the notebook's experiment and of the runs, with their encoder."""
    configs, base = list(runs.values()), BertConfig()

    def each(option: str) -> list[int]:
        return [getattr(of, option) for of in configs]

    encoders = [base, *[encoder] * len(runs)]
    sizes = [f"{of.num_hidden_layers}, {of.hidden_size}" for of in encoders]
    updates = [f"by updates of rank {of.rank}" if of.rank else "no" for of in configs]
    dropouts = ["in training" if of.rank else "no" for of in configs]
    reads = ["both ends" if of.both_ends else "the start" for of in configs]
    shapes = ["rises, then falls" if of.decay else "constant" for of in configs]
    rates = [f"{of.lr:g}, {shape}" for of, shape in zip(configs, shapes, strict=True)]
    means = [f"decay {of.averaging:g}" if of.averaging else "no" for of in configs]
    return table(
        ["", "the notebook", *(name.removeprefix("sentiment-") for name in runs)],
        [
            ("encoder", "bert-base-uncased", *["MiniLM"] * len(runs)),
            ("its layers, its width", *sizes),
            ("layer that the head reads", base.num_hidden_layers, *each("layer")),
            ("encoder trained", "no", *updates),
            ("head", "GRU", *[HEADS[of.head] for of in configs]),
            ("its units or channels", 256, *each("hidden")),
            ("tokens of a review, at most", 512, *each("max_tokens")),
            ("of longer ones", "the start", *reads),
            ("padding", "read", *["masked"] * len(runs)),
            ("reviews in a batch", 128, *each("batch")),
            ("batches for training", "random", *["by length"] * len(runs)),
            ("dropout in the encoder", "in training", *dropouts),
            ("learning rate", "0.001, constant", *rates),
            ("epochs", 2, *each("epochs")),
            ("weight of R-Drop", 0, *(f"{of.agreement:g}" for of in configs)),
            ("mean of the weights", "no", *means),
            ("seeds", "", *each("seeds")),
        ],
        widths=[9, 8, 7, 7, 9],
    )


def predictions(predictor: Predictor, texts: Sequence[str]) -> str:
    """What a model calls each text, with the probability of positive."""
    return " and ".join(
        f"“{text}” {'positive' if p > 0.5 else 'negative'} ({p:.3f})"
        for text, p in zip(texts, predictor.predict_proba(texts), strict=True)
    )


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
    accuracy = binary_accuracy(of["logits"], run.predictions["labels"])
    lines.append(
        f"test, weights of epoch {best_epoch(of['valid_loss']) + 1}: "
        f"loss {test_loss(run, seed):.3f}, accuracy {accuracy:.2%}"
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
            (
                test_loss(run, seed),
                binary_accuracy(of["logits"], run.predictions["labels"]),
            ),
        )
        shown = (f"{loss:.3f} {accuracy:.2%}".split() for loss, accuracy in pairs)
        rows.append((seed, epoch + 1, *chain(*shown)))
    header = ["seed", "epoch", "training loss", "accuracy", "validation loss"]
    return table([*header, "accuracy", "test loss", "accuracy"], rows)


def confusions(first: Result, best: Result) -> Markdown:
    """What the notebook's and the best model call the test reviews of either kind."""
    rows = []
    for model, of in (("notebook's model", first), ("fine-tuned model", best)):
        counts = confusion(of.logits > 0, of.labels, 2).tolist()
        for i, name in enumerate(("negative", "positive")):
            called = (f"{count:,}" for count in counts[i])
            rows.append((model, name, *called, f"{counts[i][i] / sum(counts[i]):.1%}"))
    header = ["model", "review", "called negative", "called positive", "correct"]
    return table(header, rows, "llrrr")


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


def results(models: Sequence[Result]) -> Markdown:
    """The models on the test reviews, each compared with the one before it."""
    rows = []
    for i, of in enumerate(models):
        low, high = of.interval
        p = p_value(mcnemar(of.correct, models[i - 1].correct)) if i else ""
        accuracy, interval = f"{of.accuracy:.2%}", f"{low:.1%} to {high:.1%}"
        minutes = f"{training_seconds(of.run) / 60:.0f}"
        place = re.sub(r"^1 x NVIDIA |^(\d+ cores?) of .*", r"\1", of.run.hardware)
        parameters = (f"{of.trained:,}", f"{of.total:,}")
        name = f"`{of.name}`"
        rows.append((name, accuracy, interval, p, *parameters, minutes, place))
    header = ["run", "accuracy", "interval", "p", "trained", "total", "minutes", "on"]
    return table(header, rows, "lrrrrrrl", [10, 9, 17, 10, 10, 11, 8, 7])


def undecided(models: Sequence[Result], level: float) -> str:
    """Neighbours in a ranking that McNemar's test does not tell apart at a level."""
    return listed(
        f"{one.name} and {other.name}"
        for one, other in pairwise(models)
        if mcnemar(one.correct, other.correct) >= level
    )


def weights(found: Combination, names: Sequence[str]) -> str:
    """The weights of combined models, relative to their sum, as a mean of the seeds."""
    shares = (found.weights / found.weights.sum(dim=1, keepdim=True)).mean(dim=0)
    pairs = zip(names, shares.tolist(), strict=True)
    return listed((f"{name} {signed(share)}" for name, share in pairs), ", ")


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
    return re.sub(r"([\\`*_{}\[\]<>#$~^@\"'])", r"\\\1", cut)


def negation(said: Mapping[str, npt.NDArray[np.float32]]) -> Markdown:
    """What each model gives the sentences with and without a negation, P(positive)."""
    rows = [
        (text if positive else f"*{text}*", *(f"{p[i]:.2f}" for p in said.values()))
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
