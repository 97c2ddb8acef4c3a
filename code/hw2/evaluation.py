"""What a result is worth: accuracies, their intervals, and comparisons."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recorded import Score

Floats = npt.NDArray[np.float64]


def correct(logits: Tensor, labels: Tensor) -> int:
    """How many of the labels (N,) have the largest logit of their row (N, classes)."""
    return int((logits.argmax(dim=1) == labels).sum())


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The confusion matrix (classes, classes): items of class i predicted as class j.

    ``predicted`` and ``labels`` (N,) count the classes from 0.
    """
    pairs = classes * labels.long() + predicted.long()
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def accuracy_score(correct: int, total: int) -> Score:
    """An accuracy of ``correct`` out of ``total``, as the score of a run.

    Another machine rounds otherwise, so that a training run ends in other weights. The
    tolerance is what chance alone explains in 95% of cases between two networks of this
    accuracy that err independently on as many items.
    """
    p = correct / total
    return Score(p, 1.96 * math.sqrt(2 * p * (1 - p) / total))


def seed_accuracies(classes: Tensor, labels: Tensor) -> Floats:
    """The accuracy with each seed, (seeds,), by classes (seeds, N) and labels (N,)."""
    accuracies: Floats = (classes == labels).double().mean(dim=1).numpy()
    return accuracies


def share(correct: int, total: int) -> str:
    """An accuracy and its 95% interval (see ``interval``), as text."""
    low, high = interval(correct, total)
    return f"{correct / total:.1%} ({low:.1%} to {high:.1%})"


def interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% interval (Wilson 1927) of an accuracy of ``correct`` out of ``total``.

    Raises ``ValueError`` unless 0 <= correct <= total and total > 0.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(
            f"{correct} of {total}, expected 0 <= correct <= total, total > 0"
        )
    from scipy.stats import binomtest  # it takes a second, here and below

    bounds = binomtest(correct, total).proportion_ci(method="wilson")
    return float(bounds.low), float(bounds.high)


def mcnemar(one: Tensor, other: Tensor) -> float:
    """The p-value of McNemar's exact test (1947): are two classifiers equally good?

    ``one`` and ``other``, boolean (N,), say which items each of them gets right. If
    they were equally good, an item on which only one is right would fall to either with
    probability 1/2. It is 1 where there is no such item. Raises ``ValueError`` where
    the shapes differ or something else than truth values is given.
    """
    if one.shape != other.shape or {one.dtype, other.dtype} != {torch.bool}:
        raise ValueError(
            f"expected two boolean tensors of one shape, got {one.dtype} "
            f"{tuple(one.shape)} and {other.dtype} {tuple(other.shape)}"
        )
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    if first + second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(first, first + second).pvalue)


class Calibration(NamedTuple):
    """By bins of the probability (bins,): nan is the mean of a bin without items."""

    probability: Floats  # the mean of those that were given
    fraction: Floats  # how many of the items turned out so
    items: Floats  # their number

    @property
    def error(self) -> float:
        """The expected calibration error: how far apart the two are, on average."""
        return self._mean(abs(self.probability - self.fraction))

    @property
    def excess(self) -> float:
        """The mean probability minus the fraction: above 0 it is too high."""
        return self._mean(self.probability - self.fraction)

    def _mean(self, values: Floats) -> float:
        return float(np.nansum(self.items * values) / self.items.sum())


def calibration(
    probabilities: npt.ArrayLike, happened: npt.ArrayLike, bins: int = 10
) -> Calibration:
    """How often what was given a probability happened (Guo et al., arXiv:1706.04599).

    ``probabilities`` in [0, 1] and ``happened``, 0 or 1, are of shape (N,); the bins
    are equally wide. Raises ``ValueError`` where the shapes differ, nothing is given,
    or a probability is none.
    """
    p, outcomes = np.asarray(probabilities, float), np.asarray(happened, float)
    if p.ndim != 1 or p.shape != outcomes.shape or p.size == 0:
        raise ValueError(f"expected two of shape (N,), got {p.shape}, {outcomes.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"probabilities range from {p.min()} to {p.max()}")
    place = np.minimum((bins * p).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, of, bins) / count for of in (p, outcomes)]
    return Calibration(means[0], means[1], count.astype(float))


def difference_interval(
    groups: Sequence[npt.ArrayLike], level: float = 0.95
) -> tuple[float, float]:
    """The standard deviation within groups, and how far a difference of means reaches.

    Each of the groups has the results of one setting with n seeds. Their variance is
    taken to be the same and estimated from all groups; the second number is half the
    width of Student's interval of the difference of two means. Raises ``ValueError``
    for groups of different sizes, or of fewer than two results.
    """
    values = [np.asarray(group, float) for group in groups]
    sizes = {of.shape for of in values}
    if len(sizes) != 1 or values[0].ndim != 1 or len(values[0]) < 2:
        raise ValueError(f"expected groups of one size of 2 or more, got {sizes}")
    n = len(values[0])
    deviation = math.sqrt(np.mean([of.var(ddof=1) for of in values]))
    from scipy.stats import t as student

    reach = student.ppf((1 + level) / 2, len(values) * (n - 1)) * math.sqrt(2 / n)
    return deviation, float(reach * deviation)
