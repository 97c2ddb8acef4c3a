"""The runs of problem 5: encode, train and validate, then test once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2 import data
from hw2.evaluation import accuracy_score
from hw2.sentiment.config import Config
from hw2.sentiment.encoder import Encoded, encode, fast_bfloat16
from hw2.sentiment.model import build, trained_weights
from hw2.sentiment.reviews import Reviews, subsets
from hw2.sentiment.tokens import Tokens, tokenize
from hw2.sentiment.training import evaluate_epoch, fit, is_correct
from hw2.study import Study
from hw2.training import stacked
from recorded import (
    Checkpoint,
    Metrics,
    Outcome,
    Run,
    Score,
    Scores,
    Tensors,
    scored_by,
)


def score_of(logits: Tensor, labels: Tensor) -> Score:
    """The accuracy of logits (N,) or (seeds, N), a mean over the seeds."""
    return accuracy_score(int(is_correct(logits, labels).sum()), logits.numel())


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test reviews, a mean over the seeds."""
    return {"accuracy": score_of(predictions["logits"], predictions["labels"])}


def prepare(
    config: Config,
    folder: Callable[[], Path],
    checkpoint: Checkpoint,
    reviews: dict[str, Reviews],
) -> tuple[dict[str, Encoded | Tokens], Metrics]:
    """Subsets of reviews as they are trained on, and facts of each.

    They are tokens where the encoder is trained, and else what the encoder gives.
    """
    model, tokenizer = build(config, folder)
    prepared: dict[str, Encoded | Tokens] = {}
    facts: Metrics = {}
    for name, (texts, labels) in reviews.items():
        ids = tokenize(tokenizer, texts, config.max_tokens, config.both_ends)
        facts[name] = {
            "count": len(texts),
            "positive": int(labels.sum()),
            "truncated": sum(len(row) == config.max_tokens for row in ids),
        }
        prepared[name] = Tokens(ids, labels)
        if not config.rank:
            states = encode(model.encoder, ids, name, checkpoint)
            prepared[name] = Encoded(states, labels)
            facts[name] |= {"seconds": states.seconds, "reused": states.reused}
    return prepared, facts


def confident_errors(reviews: Reviews, logits: Tensor) -> list[dict[str, Any]]:
    """The worst errors of either kind: label, logit, and how the review begins."""
    texts, labels = reviews
    wrong = ~is_correct(logits, labels)
    found = []
    for label in (0, 1):
        of = (wrong & (labels == label)).nonzero().squeeze(1)
        for i in of[logits[of].abs().argsort(descending=True)][:3].tolist():
            logit = logits[i].item()
            found.append({"label": label, "logit": logit, "text": texts[i][:400]})
    return found


def train_and_test(
    config: Config,
    folder: Callable[[], Path],
    reviews: dict[str, Reviews],
    checkpoint: Checkpoint,
    name: str = "seed",
) -> Outcome:
    """With each seed train and choose the epoch by validation; test it once, if at all.

    ``reviews`` has those to train on, ``train``, to validate on, ``valid``, and, if the
    models are tested, ``test``. The metrics say of each the ``count``, how many are
    ``positive`` and how many have as many tokens as are read at most, ``truncated``;
    where they were encoded, the ``seconds`` it took and whether an earlier run did it,
    ``reused``; and whether matrices were multiplied in ``bfloat16``. The predictions
    are the histories (see ``fit``), a row for each seed; the logits (seeds, N) of the
    test reviews and their ``labels`` (N,), and those of the validation reviews,
    ``valid_logits`` and ``valid_labels``. The weights are those that training changed,
    of seed 0, rounded to half precision before the test.
    """
    prepared, facts = prepare(config, folder, checkpoint, reviews)
    histories, weights = [], []
    logits: dict[str, list[Tensor]] = {part: [] for part in reviews if part != "train"}

    for seed in range(config.seeds):
        torch.manual_seed(seed)
        model, _ = build(config, folder)
        trained = model if config.rank else model.head
        history, best = fit(
            trained,
            prepared["train"],
            prepared["valid"],
            config,
            seed=seed,
            name=f"{name}-{seed}",
            checkpoint=checkpoint,
        )

        rounded = {what: weight.half() for what, weight in best.items()}
        trained.load_state_dict(rounded, strict=False)
        histories.append(history)
        weights.append({w: of.half() for w, of in trained_weights(model).items()})
        for part, found in logits.items():
            found.append(evaluate_epoch(trained, prepared[part])[2])

    predictions = stacked(histories)
    for part, found in logits.items():
        start = "" if part == "test" else f"{part}_"
        predictions[f"{start}logits"] = torch.stack(found)
        predictions[f"{start}labels"] = reviews[part][1]
    metrics = {"bfloat16": fast_bfloat16(), "reviews": facts}
    return Outcome(metrics, predictions, weights[0])


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """A run with all-MiniLM-L6-v2; see ``train_and_test``.

    The metrics have the worst ``errors`` of seed 0 as well.
    """
    return _whole(config, data.minilm_folder, checkpoint)


@scored_by(score)
def experiment_bert_base(config: Config, checkpoint: Checkpoint) -> Outcome:
    """A run with bert-base-uncased; see ``experiment``."""
    return _whole(config, data.bert_base_folder, checkpoint)


def _whole(
    config: Config, folder: Callable[[], Path], checkpoint: Checkpoint
) -> Outcome:
    reviews = subsets(config)
    outcome = train_and_test(config, folder, reviews, checkpoint)
    logits = outcome.predictions["logits"][0]
    outcome.metrics["errors"] = confident_errors(reviews["test"], logits)
    return outcome


# Studies


def changes_score(predictions: Tensors) -> Scores:
    """The accuracy with each change, a mean over the seeds.

    It is that on the test reviews, where these were read, else on those to validate on.
    """
    start = "" if "labels" in predictions else "valid_"
    labels = predictions[f"{start}labels"]
    end = f": {start}logits"
    return {
        name.removesuffix(end): score_of(logits, labels)
        for name, logits in predictions.items()
        if name.endswith(end)
    }


@scored_by(changes_score)
def search(study: Study[Config], checkpoint: Checkpoint) -> Outcome:
    """Train with each change and validate. The test reviews are not read."""
    return _each(study, checkpoint, ("train", "valid"))


@scored_by(changes_score)
def compare(study: Study[Config], checkpoint: Checkpoint) -> Outcome:
    """Train with each change, and test. Nothing is chosen by that."""
    return _each(study, checkpoint, ("train", "valid", "test"))


def _each(
    study: Study[Config], checkpoint: Checkpoint, parts: tuple[str, ...]
) -> Outcome:
    """Train with each change and each of the study's seeds.

    The predictions are those of ``train_and_test``, each after the name of its change
    and a colon, but for the labels, which are the same for all. So are the metrics.
    """
    metrics: Metrics = {}
    predictions: Tensors = {}
    for number, (name, recipe) in enumerate(study.recipes()):
        config = replace(recipe, seeds=study.seeds)
        reviews = {part: of for part, of in subsets(config).items() if part in parts}
        outcome = train_and_test(
            config, data.minilm_folder, reviews, checkpoint, f"change-{number}"
        )
        metrics[name] = outcome.metrics
        for what, tensor in outcome.predictions.items():
            whole = what if what.endswith("labels") else f"{name}: {what}"
            predictions[whole] = tensor
    return Outcome(metrics, predictions, {})


def training_seconds(run: Run) -> float:
    """The seconds to encode, train and validate, over all seeds, without the test.

    States that an earlier run had left on the disk count with the seconds that they
    once took. Of a run that notes no such times, as that of the baseline, all of its
    seconds.
    """
    if "reviews" not in run.metrics:
        return run.seconds
    encoding = sum(
        of.get("seconds", 0.0)
        for name, of in run.metrics["reviews"].items()
        if name != "test"
    )
    training = run.predictions["seconds"][:, -1].sum()
    return float(encoding + training + run.predictions["valid_seconds"].sum())
