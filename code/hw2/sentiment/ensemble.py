"""Several models together: a weighted sum of their logits.

Shapes: M models, N reviews.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hw2.evaluation import mcnemar
from hw2.sentiment.training import binary_accuracy, is_correct
from recorded import Run


class Combination(NamedTuple):
    """Models that are combined, once for each seed."""

    weights: Tensor  # (seeds, M), of the models' logits
    logits: Tensor  # (seeds, N), of the test reviews
    labels: Tensor  # (N,)

    @property
    def accuracy(self) -> float:
        """The accuracy on the test reviews, a mean over the seeds."""
        return binary_accuracy(self.logits, self.labels)

    def largest_p(self, run: Run) -> float:
        """The largest p of McNemar's tests, by seed, against the models of a run."""
        ours, others = (
            is_correct(of, self.labels)
            for of in (self.logits, run.predictions["logits"])
        )
        return max(mcnemar(*pair) for pair in zip(ours, others, strict=True))


def combine(runs: Sequence[Run]) -> Combination:
    """Combine the models of runs by weights that are chosen on the validation reviews.

    A run without seeds, as that of the baseline, is combined with each seed of the
    others. Raises ``ValueError`` for runs of different seeds or reviews.
    """
    first = runs[0].predictions
    for run in runs:
        for of in ("valid_labels", "labels"):
            if not torch.equal(run.predictions[of], first[of]):
                raise ValueError(f"{run.name} has other {of} than {runs[0].name}")
    valid, test = (
        [torch.atleast_2d(run.predictions[of]) for run in runs]
        for of in ("valid_logits", "logits")
    )
    seeds = max(len(of) for of in valid)
    if any(len(of) not in (1, seeds) for of in valid):
        raise ValueError(
            f"expected {seeds} seeds of each run, got {list(map(len, valid))}"
        )
    weights, logits = [], []
    for seed in range(seeds):
        one, other = (
            torch.stack([of[seed % len(of)] for of in part]) for part in (valid, test)
        )
        weights.append(best_weights(one, first["valid_labels"]))
        logits.append(weights[-1] @ other)
    return Combination(torch.stack(weights), torch.stack(logits), first["labels"])


def best_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """The weights (M,) of logits (M, N) whose sum has the smallest cross-entropy.

    That is a logistic regression of the ``labels`` (N,), without a bias.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=float("inf"), fit_intercept=False)
    model.fit(logits.T.double().numpy(), labels.numpy())
    return torch.tensor(model.coef_[0], dtype=logits.dtype)
