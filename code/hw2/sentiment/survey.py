"""A study: how long the reviews are, and which stand twice."""

import torch
from torch import Tensor

from hw2 import data
from hw2.sentiment.config import Survey
from hw2.sentiment.encoder import pretrained
from hw2.sentiment.reviews import subsets
from hw2.sentiment.tokens import tokenize
from recorded import Checkpoint, Outcome, Score, Scores, Tensors, scored_by


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


def beyond(lengths: Tensor, limit: int) -> tuple[float, float]:
    """The fraction of reviews longer than ``limit`` tokens, and of tokens beyond it.

    ``lengths`` (N,) are the numbers of tokens.
    """
    lengths = lengths.double()
    lost = (lengths - limit).clamp(min=0).sum() / lengths.sum()
    return (lengths > limit).double().mean().item(), lost.item()


def change_without(correct: Tensor, left_out: Tensor) -> float:
    """By how much the accuracy changes if some reviews are left out.

    ``correct`` says of each review whether a model gets it right, and ``left_out``
    whether it is left out; both are boolean, (N,).
    """
    return (correct[~left_out].double().mean() - correct.double().mean()).item()
