"""What problem 5 is compared with, and what its choices rest on.

``survey`` looks at the reviews, ``tfidf`` is a baseline without a network, ``padding``
compares reading the padding with not reading it, ``search`` changes the first recipe of
the frozen encoder's head in one thing at a time, ``climb`` betters it idea by idea, and
``speed`` measures what storing the encoder's states saves.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pack_padded_sequence

from hw2 import data
from hw2.encoder import (
    batches,
    device,
    encode,
    fast_bfloat16,
    pad,
    pretrained,
    sixteen_bits,
    tokenize,
)
from hw2.records import (
    Checkpoint,
    Experiment,
    Metrics,
    Outcome,
    Score,
    Scores,
    Tensors,
    scored_by,
)
from hw2.sentiment import (
    Config,
    Encoded,
    GruHead,
    binary_accuracy,
    build,
    evaluate_epoch,
    fit,
    prepare,
    score,
    subsets,
)

# The reviews


@dataclass(frozen=True)
class Survey:
    """The reviews that are looked at, by the sizes of their subsets."""

    subsets: Config = field(default_factory=Config)


def survey_score(predictions: Tensors) -> Scores:
    """The mean number of tokens, and how many test reviews are in the training half."""
    lengths = torch.cat([predictions[name] for name in ("train", "valid", "test")])
    return {
        "tokens": Score(lengths.double().mean().item(), 0.01),
        "repeated": Score(float(predictions["repeated"].sum()), 0.5),
    }


@scored_by(survey_score)
def survey(config: Survey, checkpoint: Checkpoint) -> Outcome:
    """How long the reviews are, and which stand twice.

    The predictions are the numbers of tokens of the reviews to ``train``, ``valid`` and
    ``test`` on, int32 (N,) each, and which test reviews stand word for word among those
    to train or validate on, ``repeated`` (N,). The metrics count, in each subset, the
    reviews that an earlier one of the same subset repeats, ``twice``.
    """
    _, tokenizer = pretrained(data.minilm_folder())
    parts = subsets(config.subsets)
    predictions: Tensors = {}
    twice = {}
    for name, (texts, _) in parts.items():
        rows = tokenize(tokenizer, texts, 10**6)
        predictions[name] = torch.tensor([len(row) for row in rows], dtype=torch.int32)
        twice[name] = len(texts) - len(set(texts))
    seen = {*parts["train"][0], *parts["valid"][0]}
    predictions["repeated"] = torch.tensor([text in seen for text in parts["test"][0]])
    return Outcome({"twice": twice}, predictions, {})


# A baseline

PROBES = (
    ("The film is good.", 1),
    ("The film is not good.", 0),
    ("The film is bad.", 0),
    ("The film is not bad.", 1),
    ("I was bored.", 0),
    ("I was never bored.", 1),
    ("It is worth seeing.", 1),
    ("It is hardly worth seeing.", 0),
)  # short sentences, and what a reader would call them: 1 positive, 0 negative


@dataclass(frozen=True)
class Tfidf:
    """Logistic regression on weighted counts of words and pairs of words."""

    subsets: Config = field(default_factory=Config)
    strengths: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)  # tried, of C


def tfidf_score(predictions: Tensors) -> Scores:
    """Accuracy on the test reviews, trained on the training reviews, or on all."""
    labels = predictions["labels"]
    return {
        name: score({"logits": predictions[name], "labels": labels})["accuracy"]
        for name in ("accuracy", "all")
    }


@scored_by(tfidf_score)
def tfidf(config: Tfidf, checkpoint: Checkpoint) -> Outcome:
    """Choose how freely it may fit by the validation reviews; then test.

    The metrics are the accuracy on these of each strength, ``valid``, the strength that
    was ``chosen``, the number of ``features``, and the version of ``scikit-learn``. The
    predictions are the ``accuracy`` logits, of the model that was chosen, those after
    training it on the validation reviews as well, ``all``, and the ``labels``, (N,)
    each; and the logits of the ``probes`` by the model that was chosen.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    parts = subsets(config.subsets)
    (texts, labels), (valid, truth), (test, answers) = parts.values()

    def trained(texts: list[str], labels: Tensor, strength: float) -> Any:
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=strength, max_iter=1000)
        return words, model.fit(words.fit_transform(texts), labels.numpy())

    accuracies = []
    for strength in config.strengths:
        words, model = trained(texts, labels, strength)
        accuracies.append(float(model.score(words.transform(valid), truth.numpy())))
    best = max(zip(accuracies, config.strengths, strict=True))[1]
    predictions = {"labels": answers}
    features = 0
    for name, (texts_of, labels_of) in {
        "accuracy": (texts, labels),
        "all": (texts + valid, torch.cat([labels, truth])),
    }.items():
        words, model = trained(texts_of, labels_of, best)
        logits = model.decision_function(words.transform(test))
        predictions[name] = torch.tensor(logits, dtype=torch.float32)
        if name == "accuracy":
            features = len(words.vocabulary_)
            said = model.decision_function(
                words.transform([text for text, _ in PROBES])
            )
            predictions["probes"] = torch.tensor(said, dtype=torch.float32)
    metrics = {
        "valid": accuracies,
        "chosen": best,
        "features": features,
        "scikit-learn": version("scikit-learn"),
    }
    return Outcome(metrics, predictions, {})


# Padding


@dataclass(frozen=True)
class Padding:
    """The notebook's head, trained in both ways on the same reviews."""

    recipe: Config
    short: int = 128  # tokens of the reviews whose verdicts are watched, at most
    watched: int = 150


def padding_score(predictions: Tensors) -> Scores:
    """The accuracy with padding masked and with padding read, means over the seeds."""
    labels = predictions["labels"]
    return {
        name: score({"logits": predictions[name], "labels": labels})["accuracy"]
        for name in ("masked", "read")
    }


@scored_by(padding_score)
def padding(config: Padding, checkpoint: Checkpoint) -> Outcome:
    """Train with the padding masked, and with all reviews padded and the padding read.

    A batch of the notebook has 128 reviews in random order, so that one of them all but
    surely reaches the limit of tokens; so here every review is padded to that limit.
    The seeds are the same, and so are the first weights, but not the batches: only
    where padding is masked do they hold reviews of about equal length.

    The metrics are the histories, by way and seed. The predictions are the logits of
    the test reviews, ``masked`` and ``read`` (seeds, N); their ``labels`` (N,); and the
    logits, by the head of seed 0 that reads padding, of ``watched`` short reviews with
    more and more padding, (5, n): up to 0, 1/4, 1/2, 3/4 and all of what is missing to
    the limit.
    """
    recipe = config.recipe
    model, tokenizer = build(recipe, data.minilm_folder)
    ids = {
        name: (tokenize(tokenizer, texts, recipe.max_tokens), labels)
        for name, (texts, labels) in subsets(recipe).items()
    }
    test, labels = ids["test"]
    short = [row for row in test if len(row) <= config.short]
    # As the first half of the test reviews is negative, not the first of these.
    short = short[:: max(1, len(short) // config.watched)][: config.watched]
    metrics: Metrics = {}
    predictions: Tensors = {"labels": labels}
    for way in ("masked", "read"):
        limit = recipe.max_tokens if way == "read" else 0
        encoded = {
            name: Encoded(
                encode(model.encoder, padded(rows, limit), f"{way}-{name}", checkpoint),
                labels,
            )
            for name, (rows, labels) in ids.items()
        }
        logits = []
        for seed in range(recipe.seeds):
            torch.manual_seed(seed)
            head = build(recipe, data.minilm_folder)[0].head
            stage = f"{way}-{seed}"
            train, valid = encoded["train"], encoded["valid"]
            history, best = fit(head, train, valid, recipe, seed, checkpoint, stage)
            metrics[stage] = history
            head.load_state_dict(best)
            logits.append(evaluate_epoch(head, encoded["test"])[2])
            if stage == "read-0":
                predictions["watched"] = torch.stack(
                    [
                        logits_of(
                            model.encoder, head.cpu(), more(short, limit, quarters)
                        )
                        for quarters in range(5)
                    ]
                )
        predictions[way] = torch.stack(logits)
    return Outcome(metrics, predictions, {})


def padded(rows: list[list[int]], length: int) -> list[list[int]]:
    """Tokens, with padding as if it were text up to a length."""
    return [row + [0] * (length - len(row)) for row in rows]


def more(rows: list[list[int]], limit: int, quarters: int) -> list[list[int]]:
    """Tokens, with so many quarters of what is missing to the limit as padding."""
    return [row + [0] * ((limit - len(row)) * quarters // 4) for row in rows]


@torch.no_grad()
def logits_of(encoder: nn.Module, head: nn.Module, rows: list[list[int]]) -> Tensor:
    """The logits (N,) of reviews by their tokens, in single precision."""
    head.eval()
    logits = torch.empty(len(rows))
    for part in batches(torch.tensor([len(row) for row in rows]), 32):
        tokens, mask = pad([rows[i] for i in part.tolist()])
        states = encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        logits[part] = head(states, mask.sum(dim=1))
    return logits


# The recipe of the frozen encoder's head


@dataclass(frozen=True)
class Search:
    """One recipe, and what is changed in it, one thing at a time."""

    recipe: Config
    changes: dict[str, dict[str, Any]]  # options by the name of the change


@dataclass(frozen=True)
class Climb:
    """A recipe, and ideas to better it, of which each starts from the best so far."""

    recipe: Config
    ideas: dict[str, dict[str, Any]]  # options by the name of the idea
    gain: float = 0.002  # of validation accuracy: with this, an idea is taken over
    patience: int = 3  # so many ideas in a row without that gain, and it stops


def validation_score(predictions: Tensors) -> Scores:
    """The accuracy on the validation reviews with each change or idea."""
    labels = predictions["labels"]
    return {
        name: score({"logits": logits, "labels": labels})["accuracy"]
        for name, logits in predictions.items()
        if name != "labels"
    }


@scored_by(validation_score)
def search(config: Search, checkpoint: Checkpoint) -> Outcome:
    """Train with each change on a part of the reviews. The test reviews are not read.

    The metrics are the histories by change; the predictions are the logits (N,) of the
    validation reviews by change, at the epoch with the smallest validation loss, and
    their ``labels``.
    """
    metrics: Metrics = {}
    predictions: Tensors = {}
    for number, (name, change) in enumerate(config.changes.items()):
        recipe = replace(config.recipe, **change)
        metrics[name], predictions[name], predictions["labels"] = validated(
            recipe, f"change-{number}", checkpoint
        )
    return Outcome(metrics, predictions, {})


@scored_by(validation_score)
def climb(config: Climb, checkpoint: Checkpoint) -> Outcome:
    """Try one idea after the other, on validation reviews, and keep those that gain.

    The metrics are the histories by idea, in the order of trial, those of the recipe
    itself as ``start``, and the options that were ``taken`` over. The predictions are
    the logits (N,) by idea, and the ``labels``. The test reviews are not read.
    """
    metrics: Metrics = {}
    predictions: Tensors = {}
    taken: dict[str, Any] = {}
    highest = 0.0
    failed = 0
    for number, (name, idea) in enumerate({"start": {}, **config.ideas}.items()):
        if failed == config.patience:
            break
        recipe = replace(config.recipe, **(taken | idea))
        metrics[name], logits, labels = validated(recipe, f"idea-{number}", checkpoint)
        predictions[name], predictions["labels"] = logits, labels
        accuracy = binary_accuracy(logits, labels)
        if accuracy >= highest + config.gain:
            taken, highest, failed = taken | idea, accuracy, 0
        else:
            failed += 1
    return Outcome(metrics | {"taken": taken}, predictions, {})


def validated(
    recipe: Config, stage: str, checkpoint: Checkpoint
) -> tuple[list[dict[str, Any]], Tensor, Tensor]:
    """Train with seed 0: the history, and the validation reviews' logits and labels."""
    reviews = subsets(recipe)
    del reviews["test"]
    encoded, _ = prepare(recipe, data.minilm_folder, checkpoint, reviews)
    torch.manual_seed(0)
    head = build(recipe, data.minilm_folder)[0].head
    train, valid = encoded["train"], encoded["valid"]
    history, best = fit(head, train, valid, recipe, 0, checkpoint, stage)
    head.load_state_dict(best, strict=False)
    return history, evaluate_epoch(head, valid)[2], valid.labels


# Speed


@dataclass(frozen=True)
class Speed:
    """What is timed."""

    reviews: int = 512  # of the training half, drawn once
    max_tokens: int = 256  # for encoding; sentence-transformers' own limit
    epoch_reviews: int = 512  # several batches, whose reviews can be of like length
    epoch_tokens: int = 512  # for an epoch; the notebook's limit
    step_reviews: int = 64  # the first of those, for a step of training
    rounds: int = 2  # of all ways in turn: a machine can be slow for seconds
    batch: int = 128


class NotebookModel(nn.Module):
    """The notebook's model as given: no mask, and a GRU that runs over the padding."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = nn.GRU(
            width, 256, 2, bidirectional=True, batch_first=True, dropout=0.25
        )
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(512, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (N,) of padded tokens (N, T)."""
        with torch.no_grad():
            states = self.encoder(tokens).last_hidden_state
        _, last = self.gru(states)
        both = self.dropout(torch.cat([last[-2], last[-1]], dim=1))
        logits: Tensor = self.linear(both).squeeze(1)
        return logits


def speed_score(predictions: Tensors) -> Scores:
    """How many times faster this project's way is than another one.

    The ``encoding`` than the faster of the two others, an ``epoch`` than the
    notebook's, a ``step`` than with packed sequences; by the fastest round of each.
    Another machine may be half as good, or twice.
    """
    seconds = {name: times.min().item() for name, times in predictions.items()}
    times = {
        "encoding": min(seconds["library"], seconds["loop"]) / seconds["encode"],
        "epoch": seconds["notebook epoch"] / seconds["stored epoch"],
        "step": seconds["packed step"] / seconds["reversed step"],
    }
    return {name: Score(value, value / 2) for name, value in times.items()}


@scored_by(speed_score)
def speed(config: Speed, checkpoint: Checkpoint) -> Outcome:
    """Time ways to encode, of an epoch and of a step, in seconds, (rounds,) each.

    ``encode`` is this project's, to the disk; ``library`` is ``sentence_transformers``'
    own ``encode``, and ``loop`` one over batches of 32 in the given order, in single
    precision. All tokenize as well. An epoch trains the notebook's head: ``notebook
    epoch`` encodes each batch anew, as given, and ``stored epoch`` reads what
    ``epoch's states`` takes to store. A step is a forward and a backward pass of the
    GRU in single precision, with sequences that are ``packed``, ``padded`` (and the
    padding read), or ``reversed``. The metrics say whether this project's encoding and
    epoch multiplied in ``bfloat16``.
    """
    from sentence_transformers import SentenceTransformer

    reviews = subsets(Config(test_size=2))["train"]
    order = torch.randperm(len(reviews[0]), generator=torch.Generator().manual_seed(0))
    texts = [reviews[0][i] for i in order[: config.reviews].tolist()]
    labels = reviews[1][order[: config.reviews]]
    encoder, tokenizer = pretrained(data.minilm_folder())
    where = device()
    sentences = SentenceTransformer(str(data.minilm_folder()), device=where.type)
    sentences.max_seq_length = config.max_tokens

    def ours(count: int, max_tokens: int) -> Encoded:
        ids = tokenize(tokenizer, texts[:count], max_tokens)
        with tempfile.TemporaryDirectory() as folder:
            states = encode(encoder, ids, "timed", Checkpoint(), root=Path(folder))
        return Encoded(states, labels[:count])

    def loop() -> None:
        nn.Module.to(encoder, where)
        with torch.no_grad():
            for start in range(0, len(texts), 32):
                rows = tokenize(tokenizer, texts[start : start + 32], config.max_tokens)
                tokens, mask = pad(rows)
                encoder(input_ids=tokens.to(where), attention_mask=mask.to(where))

    stored = ours(config.epoch_reviews, config.epoch_tokens)
    rows = tokenize(tokenizer, texts[: config.epoch_reviews], config.epoch_tokens)
    width = encoder.config.hidden_size

    def notebook_epoch() -> None:
        model = nn.Module.to(NotebookModel(encoder, width).train(), where)
        encoder.eval()

        def loss_of(part: Tensor) -> Tensor:
            tokens, _ = pad([rows[i] for i in part.tolist()])
            loss: Tensor = binary_cross_entropy_with_logits(
                model(tokens.to(where)), labels[part].float().to(where)
            )
            return loss

        whole = torch.arange(config.epoch_reviews)
        steps(model, whole.split(config.batch), loss_of)

    def stored_epoch() -> None:
        head = GruHead(width, 256, 2, 0.25).train().to(where)

        def loss_of(part: Tensor) -> Tensor:
            states, lengths, truth = stored.batch(part)
            with sixteen_bits():
                logits = head(states, lengths)
            loss: Tensor = binary_cross_entropy_with_logits(logits.float(), truth)
            return loss

        random = torch.Generator().manual_seed(0)
        steps(head, batches(stored.states.lengths, config.batch, random), loss_of)

    states, lengths, _ = stored.batch(torch.arange(config.step_reviews))
    gru = nn.GRU(width, 256, 2, bidirectional=True, batch_first=True).to(where)
    head = GruHead(width, 256, 2, 0.0).to(where)

    def packed_step() -> None:
        sequences = pack_padded_sequence(
            states, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        gru(sequences)[1].sum().backward()

    ways: dict[str, Callable[[], Any]] = {
        "encode": lambda: ours(config.reviews, config.max_tokens),
        "library": lambda: sentences.encode(texts, show_progress_bar=False),
        "loop": loop,
        "epoch's states": lambda: ours(config.epoch_reviews, config.epoch_tokens),
        "stored epoch": stored_epoch,
        "notebook epoch": notebook_epoch,
        "packed step": packed_step,
        "padded step": lambda: gru(states)[1].sum().backward(),
        "reversed step": lambda: head(states, lengths).sum().backward(),
    }
    for way in ways.values():
        way()  # once unmeasured, for cold caches
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(config.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if where.type != "cpu":
                torch.accelerator.synchronize()
            seconds[name].append(time.perf_counter() - start)
    predictions = {
        name: torch.tensor(times, dtype=torch.float64)
        for name, times in seconds.items()
    }
    metrics = {
        "bfloat16": fast_bfloat16(),
        "sentence-transformers": version("sentence-transformers"),
    }
    return Outcome(metrics, predictions, {})


def steps(model: nn.Module, parts: Any, loss_of: Callable[[Tensor], Tensor]) -> None:
    """A step of Adam for each of the batches."""
    optimiser = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    for part in parts:
        optimiser.zero_grad()
        loss_of(part).backward()
        optimiser.step()


# What the searches for the recipe of ``sentiment-frozen`` begin with.
FIRST = Config(
    layer=3,
    both_ends=True,
    head="cnn",
    hidden=128,
    warm_up=0.1,
    fall=True,
    batch=64,
    epochs=4,
)

RUNS: dict[str, tuple[Experiment, Any]] = {
    "sentiment-data": (survey, Survey()),
    "sentiment-tfidf": (tfidf, Tfidf()),
    "sentiment-padding": (
        padding,
        Padding(
            Config(
                max_tokens=256,
                batch=32,
                epochs=3,
                seeds=3,
                train_size=1_500,
                valid_size=750,
                test_size=1_500,
            )
        ),
    ),
    "sentiment-search": (
        search,
        Search(
            replace(FIRST, train_size=1_500, valid_size=2_000, test_size=2),
            {
                "nothing": {},
                "the last layer, 6": {"layer": 6},
                "layer 2": {"layer": 2},
                "a GRU of 256": {"head": "gru", "hidden": 256},
                "dropout 0.5": {"dropout": 0.5},
                "twice the channels": {"hidden": 256},
            },
        ),
    ),
    "sentiment-climb": (
        climb,
        Climb(
            FIRST,
            {
                "twice the channels, 256": {"hidden": 256},
                "twice the epochs, 8": {"epochs": 8},
                "layer 4": {"layer": 4},
                "dropout 0.5": {"dropout": 0.5},
                "twice the rate, 0.002": {"lr": 2e-3},
                "batches of 32": {"batch": 32},
            },
        ),
    ),
    "sentiment-speed": (speed, Speed()),
}
