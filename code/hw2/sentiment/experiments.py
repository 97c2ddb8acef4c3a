"""The runs of problem 5: encode, train and validate, then test once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw2 import data
from hw2.evaluation import accuracy_score
from hw2.sentiment.config import Config
from hw2.sentiment.encoder import Encoded, encode, fast_bfloat16, tokenize
from hw2.sentiment.model import build
from hw2.sentiment.reviews import Reviews, subsets
from hw2.sentiment.training import evaluate_epoch, fit
from recorded import Checkpoint, Metrics, Outcome, Run, Scores, Tensors, scored_by


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test reviews, a mean over the seeds."""
    logits, labels = predictions["logits"], predictions["labels"]
    correct = int(((logits > 0) == (labels == 1)).sum())
    return {"accuracy": accuracy_score(correct, logits.numel())}


def prepare(
    config: Config,
    folder: Callable[[], Path],
    checkpoint: Checkpoint,
    reviews: dict[str, Reviews],
) -> tuple[dict[str, Encoded], Metrics]:
    """Subsets of reviews, encoded, and facts of each."""
    model, tokenizer = build(config, folder)
    encoded: dict[str, Encoded] = {}
    facts: Metrics = {}
    for name, (texts, labels) in reviews.items():
        ids = tokenize(tokenizer, texts, config.max_tokens, config.both_ends)
        encoded[name] = Encoded(encode(model.encoder, ids, name, checkpoint), labels)
        facts[name] = {
            "count": len(texts),
            "positive": int(labels.sum()),
            "cut": sum(len(row) == config.max_tokens for row in ids),
            "seconds": encoded[name].states.seconds,
        }
    return encoded, facts


def confident_errors(reviews: Reviews, logits: Tensor) -> list[dict[str, Any]]:
    """The worst errors of either kind: label, logit, and how the review begins."""
    texts, labels = reviews
    wrong = (logits > 0) != (labels == 1)
    found = []
    for label in (0, 1):
        of = (wrong & (labels == label)).nonzero().squeeze(1)
        for i in of[logits[of].abs().argsort(descending=True)][:3].tolist():
            logit = logits[i].item()
            found.append({"label": label, "logit": logit, "text": texts[i][:400]})
    return found


def train_and_test(
    config: Config, folder: Callable[[], Path], checkpoint: Checkpoint
) -> Outcome:
    """Encode; with each seed train and choose the epoch by validation; test it once.

    The metrics hold of each seed the ``history`` (see ``fit``) and the ``test_loss``;
    the worst ``errors`` of seed 0; whether matrices were multiplied in ``bfloat16``;
    and of the ``reviews`` of each subset the ``count``, how many are ``positive`` and
    how many ``cut`` at the limit of tokens, and the ``seconds`` it took to encode them.
    The predictions are the logits (seeds, N) of the test reviews and their labels (N,).
    The weights are those that training changed, of seed 0, rounded to half precision
    before the test.
    """
    metrics: Metrics = {"bfloat16": fast_bfloat16()}
    logits: list[Tensor] = []
    weights: Tensors = {}
    reviews = subsets(config)
    encoded, metrics["reviews"] = prepare(config, folder, checkpoint, reviews)
    for seed in range(config.seeds):
        torch.manual_seed(seed)
        head = build(config, folder)[0].head
        train, valid = encoded["train"], encoded["valid"]
        stage = f"fit-{seed}"
        history, best = fit(head, train, valid, config, seed, checkpoint, stage)
        rounded = {name: weight.half() for name, weight in best.items()}
        head.load_state_dict(rounded, strict=False)
        weights = weights or rounded
        tested = checkpoint.load(f"test-{seed}")
        if not tested:
            loss, _, found = evaluate_epoch(head, encoded["test"])
            tested = {"loss": loss, "logits": found}
            checkpoint.save(f"test-{seed}", tested)
        metrics[f"seed-{seed}"] = {"history": history, "test_loss": tested["loss"]}
        logits.append(tested["logits"])
    metrics["errors"] = confident_errors(reviews["test"], logits[0])
    predictions = {"logits": torch.stack(logits), "labels": reviews["test"][1]}
    return Outcome(metrics, predictions, weights)


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """A run with all-MiniLM-L6-v2; see ``train_and_test``."""
    return train_and_test(config, data.minilm_folder, checkpoint)


@scored_by(score)
def experiment_bert_base(config: Config, checkpoint: Checkpoint) -> Outcome:
    """A run with bert-base-uncased; see ``train_and_test``."""
    return train_and_test(config, data.bert_base_folder, checkpoint)


def training_seconds(run: Run) -> float:
    """The seconds to encode, train and validate, over all seeds, without the test.

    States that were already on the disk count with the seconds that they once took. Of
    a run that notes no such times, as that of the baseline, all of its seconds.
    """
    if "reviews" not in run.metrics:
        return run.seconds
    parts = [*run.metrics["reviews"].values()]
    for seed in range(run.config["seeds"]):
        parts += run.metrics[f"seed-{seed}"]["history"]
    return float(sum(part["seconds"] for part in parts))
