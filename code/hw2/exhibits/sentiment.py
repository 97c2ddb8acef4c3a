"""The tables of chapter 5."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from IPython.display import Markdown
from transformers import BertConfig

from hw2.evaluation import confusion, mcnemar
from hw2.figures import p_value, signed, table
from hw2.sentiment.config import Config, Speed
from hw2.sentiment.experiments import training_seconds
from hw2.sentiment.inspection import Result
from hw2.sentiment.predict import Predictor
from hw2.sentiment.search import Trial
from hw2.sentiment.tfidf import PROBES
from hw2.sentiment.training import is_correct
from recorded import Run

HEADS = {"gru": "GRU", "cnn": "convolution", "upper": "upper layers"}
MARKS = (  # what was published and what was aimed at, by the name of a run
    ("sentiment-notebook", 0.909, "published, BERT-base frozen"),
    ("sentiment-frozen", 0.87, "aim"),
    ("sentiment-frozen", 0.909, "published, BERT-base frozen"),
    ("sentiment-finetuned", 0.915, "aim on a processor"),
    ("sentiment-finetuned", 0.933, "published, BERT-base trained"),
)


def setup(runs: Mapping[str, Config], encoder: BertConfig) -> Markdown:
    """The options of the notebook's experiment and of the runs, with their encoder."""
    configs, base = list(runs.values()), BertConfig()

    def each(option: str) -> list[int]:
        return [getattr(of, option) for of in configs]

    def size(of: BertConfig) -> str:
        return f"{of.num_hidden_layers}, {of.hidden_size}"

    reads = ["both ends" if of.both_ends else "the start" for of in configs]
    shapes = ["rises, then falls" if of.fall else "constant" for of in configs]
    rates = [f"{of.lr:g}, {shape}" for of, shape in zip(configs, shapes, strict=True)]
    return table(
        ["", "the notebook", *(name.removeprefix("sentiment-") for name in runs)],
        [
            ("encoder", "bert-base-uncased", *["MiniLM"] * len(runs)),
            ("its layers, its width", size(base), *[size(encoder)] * len(runs)),
            ("frozen up to layer", base.num_hidden_layers, *each("layer")),
            ("head", "GRU", *[HEADS[of.head] for of in configs]),
            ("its units or channels", 256, *each("hidden")),
            ("tokens of a review, at most", 512, *each("max_tokens")),
            ("of longer ones", "the start", *reads),
            ("reviews in a batch", 128, *each("batch")),
            ("learning rate", "0.001, constant", *rates),
            ("epochs", 2, *each("epochs")),
            ("seeds", "", *each("seeds")),
        ],
        widths=[9, 8, 7, 7, 7],
    )


def verdicts(predictor: Predictor, texts: Sequence[str]) -> str:
    """What a model calls each text, with the probability of positive."""
    return " and ".join(
        f"“{text}” {'positive' if p > 0.5 else 'negative'} ({p:.2f})"
        for text, p in zip(texts, predictor.predict_proba(texts), strict=True)
    )


def precision(run: Run) -> str:
    """The precision in which a run multiplied its matrices."""
    return "bfloat16" if run.metrics["bfloat16"] else "single precision"


def epochs(run: Run) -> Markdown:
    """Loss, accuracy and time of each epoch of seed 0."""
    header = ["epoch", "loss", "accuracy", "validation loss", "validation accuracy"]
    return table(
        [*header, "seconds"],
        [
            (
                epoch,
                f"{row['loss']:.3f}",
                f"{row['accuracy']:.2%}",
                f"{row['valid_loss']:.3f}",
                f"{row['valid_accuracy']:.2%}",
                f"{row['seconds']:.0f}",
            )
            for epoch, row in enumerate(run.metrics["seed-0"]["history"], 1)
        ],
    )


def confusions(first: Result, best: Result) -> Markdown:
    """What the notebook's and the best model call the test reviews of either kind."""
    rows = []
    for model, of in (("notebook's model", first), ("fine-tuned model", best)):
        counts = confusion(of.logits > 0, of.labels, 2).tolist()
        for i, name in enumerate(("negative", "positive")):
            called = (f"{count:,}" for count in counts[i])
            rows.append((model, name, *called, f"{counts[i][i] / sum(counts[i]):.1%}"))
    header = ["model", "review", "called negative", "called positive", "right"]
    return table(header, rows, "llrrr")


def padding(run: Run) -> Markdown:
    """Test accuracy by seed with padding left unread and read, and McNemar's test."""
    rows, ways = [], []
    for name, way in (("padding left unread", "masked"), ("padding read", "read")):
        correct = is_correct(run.predictions[way], run.predictions["labels"])
        ways.append(correct)
        by_seed = (f"{of.double().mean():.1%}" for of in correct)
        rows.append((name, *by_seed, f"{correct.double().mean():.1%}"))
    tests = [p_value(mcnemar(*pair)) for pair in zip(*ways, strict=True)]
    rows.append(("p", *tests, ""))
    return table(["", *(f"seed {seed}" for seed in range(len(tests))), "mean"], rows)


def search(tried: Iterable[Trial], of: str) -> Markdown:
    """What a search tried, the recipe first; ``of`` names what was tried.

    A search for ideas says which of them were taken over, too.
    """
    climbs, rows = of == "idea", []
    for i, trial in enumerate(tried):
        compared = [signed(100 * trial.gain), p_value(trial.p)]
        compared += ["yes" if trial.taken else "no"] * climbs
        if i == 0:
            compared = [""] * len(compared)
        minutes = f"{trial.seconds / 60:.1f}"
        rows.append((trial.name, f"{trial.accuracy:.2%}", *compared, minutes))
    header = [of, "accuracy", "points", "p", *["taken"] * climbs, "minutes"]
    return table(header, rows, widths=[14, 7, 7, 7, *[6] * climbs, 7])


def results(models: Sequence[Result]) -> Markdown:
    """The models on the test reviews, each compared with the one before it."""
    rows = []
    for i, of in enumerate(models):
        low, high = of.interval
        p = p_value(mcnemar(of.correct, models[i - 1].correct)) if i else ""
        accuracy, interval = f"{of.accuracy:.2%}", f"{low:.1%} to {high:.1%}"
        minutes = f"{training_seconds(of.run) / 60:.0f}"
        parameters = (f"{of.trained:,}", f"{of.total:,}")
        rows.append((f"`{of.name}`", accuracy, interval, p, *parameters, minutes))
    header = ["run", "accuracy", "interval", "p", "trained", "total", "minutes"]
    return table(header, rows, widths=[10, 8, 14, 9, 11, 11, 8])


def order(models: Sequence[Result]) -> Markdown:
    """The names of the models, in their order, as a part of a sentence."""
    *first, last = (f"`{of.name}`" for of in models)
    return Markdown(f"{', '.join(first)} and {last}")


def met(value: float, mark: float) -> str:
    """Whether a mark is reached."""
    return "reached" if value >= mark else "missed"


def marks(models: Mapping[str, Result]) -> str:
    """The accuracy of each model beside the marks set for it, a line for each."""
    return "\n".join(
        f"{name:19} {models[name].accuracy:.2%}  {mark:.1%} ({what}): "
        f"{met(models[name].accuracy, mark)}"
        for name, mark, what in MARKS
    )


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
