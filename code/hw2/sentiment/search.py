"""Two searches for the recipe of a head on the frozen encoder, by validation alone."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hw2 import data
from hw2.evaluation import mcnemar
from hw2.sentiment.config import Climb, Config, Search
from hw2.sentiment.experiments import prepare, score
from hw2.sentiment.model import build
from hw2.sentiment.reviews import subsets
from hw2.sentiment.training import binary_accuracy, evaluate_epoch, fit, is_correct
from recorded import Checkpoint, Metrics, Outcome, Run, Scores, Tensors, scored_by


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


LEVEL = 0.05  # of McNemar's test


class Trial(NamedTuple):
    """A change of a recipe on the validation reviews, beside what it changed."""

    name: str
    accuracy: float
    gain: float  # of accuracy
    p: float  # of McNemar's test
    seconds: float  # of training and validation
    taken: bool  # over, into the recipe that the next ones change


def trials(
    run: Run, ideas: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Trial]:
    """What a run of ``search`` or ``climb`` tried, in that order, the recipe first.

    ``ideas`` are those of a climb, each of which is compared with the best recipe so
    far; without them each change is compared with the first recipe.
    """
    labels = run.predictions["labels"]
    options = run.metrics.get("taken", {}).items()
    found: list[Trial] = []
    for name, history in run.metrics.items():
        if name not in run.predictions:
            continue
        correct = is_correct(run.predictions[name], labels)
        accuracy = correct.double().mean().item()
        taken = not found or (ideas is not None and ideas[name].items() <= options)
        if not found:
            best, level = correct, accuracy
        p, seconds = mcnemar(correct, best), sum(row["seconds"] for row in history)
        found.append(Trial(name, accuracy, accuracy - level, p, seconds, taken))
        if taken:
            best, level = correct, accuracy
    return found


def significant(tried: Iterable[Trial], sign: int, level: float = LEVEL) -> list[str]:
    """Which changes gain (``sign`` 1) or lose (-1), by McNemar's test at that level."""
    return [of.name for of in tried if sign * of.gain > 0 and of.p < level]
