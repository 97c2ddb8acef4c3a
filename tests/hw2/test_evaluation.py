"""What a result is worth, against computations by hand and by another library."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hw2.evaluation import (
    accuracy_score,
    calibration,
    correct,
    difference_interval,
    interval,
    mcnemar,
    share,
)

# Accuracies


def test_the_largest_logit_of_a_row_counts() -> None:
    logits = torch.tensor([[0.1, 0.2, -3.0], [5.0, 4.0, 4.9], [-1.0, -2.0, -0.5]])
    assert correct(logits, torch.tensor([1, 0, 0])) == 2


def test_interval_of_an_accuracy() -> None:
    low, high = interval(9000, 10000)
    # Its bounds solve (p - 0.9)^2 = z^2 p (1 - p) / n: what it is derived from.
    for p in (low, high):
        assert (p - 0.9) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / 10000)
    assert low < 0.9 < high
    assert share(9000, 10000) == f"90.0% ({low:.1%} to {high:.1%})"
    assert interval(0, 5)[0] == 0
    assert interval(5, 5)[1] == 1
    for right, total in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="expected 0 <= correct"):
            interval(right, total)


def test_the_tolerance_of_an_accuracy_is_what_chance_explains() -> None:
    value, tolerance = accuracy_score(900, 1000)
    assert value == 0.9
    one, other = np.random.default_rng(0).binomial(1000, 0.9, (2, 20_000)) / 1000
    assert np.mean(abs(one - other) <= tolerance) == pytest.approx(0.95, abs=0.01)
    assert accuracy_score(7, 7) == (1, 0)


# Two classifiers on the same items


def answers(both: int, first: int, second: int, neither: int) -> Any:
    """Which items two classifiers get right, by the number of each kind."""
    kinds = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    counts = torch.tensor([both, first, second, neither])
    return kinds.repeat_interleave(counts, dim=0).unbind(1)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (8, 2, 2 * (1 + 10 + 45) / 2**10),  # 2 or fewer heads of 10, or 8 or more
        (5, 0, 2 / 2**5),
        (3, 3, 1.0),
        (1, 0, 1.0),
    ],
)
def test_mcnemar_by_hand(first: int, second: int, p: float) -> None:
    for both, neither in ((0, 0), (1000, 7)):  # which do not matter
        found = mcnemar(*answers(both, first, second, neither))
        assert found == pytest.approx(p)


@given(*[st.integers(0, 30)] * 4)
def test_mcnemar_is_the_same_either_way_round(
    both: int, first: int, second: int, neither: int
) -> None:
    one, other = answers(both, first, second, neither)
    assert mcnemar(one, other) == mcnemar(other, one)
    assert 0 < mcnemar(one, other) <= 1


def test_mcnemar_without_disagreement_is_1() -> None:
    assert mcnemar(*answers(5, 0, 0, 3)) == 1
    assert mcnemar(*answers(0, 0, 0, 0)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.ones(3, dtype=torch.bool), torch.ones(4, dtype=torch.bool)),
        (torch.ones(3, 1, dtype=torch.bool), torch.ones(3, dtype=torch.bool)),
        (torch.ones(3), torch.ones(3, dtype=torch.bool)),
        (torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)),
    ],
)
def test_mcnemar_refuses(one: torch.Tensor, other: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected two boolean tensors of one shape"):
        mcnemar(one, other)


# Probabilities


def test_a_perfect_calibration() -> None:
    found = calibration([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0], bins=2)
    assert found.probability.tolist() == found.fraction.tolist() == [0.25, 0.75]
    assert found.items.tolist() == [4, 4]
    assert found.error == found.excess == 0


def test_a_calibration_by_hand() -> None:
    found = calibration([0.05, 0.15, 0.95, 1.0], [0, 1, 1, 1])
    assert found.items.tolist() == [1, 1, *[0] * 7, 2]
    empty = [math.nan] * 7
    np.testing.assert_allclose(found.probability, [0.05, 0.15, *empty, 0.975])
    np.testing.assert_allclose(found.fraction, [0, 1, *empty, 1])
    assert found.error == pytest.approx((0.05 + 0.85 + 2 * 0.025) / 4)
    assert found.excess == pytest.approx((0.05 - 0.85 - 2 * 0.025) / 4)


def test_the_excess_is_positive_where_probabilities_are_too_high() -> None:
    assert calibration([0.9] * 4, [1, 0, 1, 0]).excess == pytest.approx(0.4)
    assert calibration([0.1] * 4, [1, 0, 1, 0]).excess == pytest.approx(-0.4)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1),
    st.integers(1, 20),
)
def test_the_excess_does_not_depend_on_the_bins(
    pairs: list[tuple[float, bool]], bins: int
) -> None:
    probabilities, happened = np.array(pairs, float).T
    found = calibration(probabilities, happened, bins)
    assert found.items.sum() == len(pairs)
    expected = probabilities.mean() - happened.mean()
    assert found.excess == pytest.approx(expected, abs=1e-12)
    assert abs(found.excess) <= found.error + 1e-12


@pytest.mark.parametrize(
    ("probabilities", "happened", "says"),
    [
        ([0.5, 0.5], [1], r"two of shape \(N,\), got \(2,\), \(1,\)"),
        ([[0.5]], [[1]], r"two of shape \(N,\)"),
        ([], [], r"two of shape \(N,\)"),
        ([0.5, 1.1], [1, 1], "range from 0.5 to 1.1"),
        ([-0.1, 0.5], [1, 1], "range from -0.1 to 0.5"),
        ([math.nan, 0.5], [1, 1], "range from nan"),
    ],
)
def test_calibration_refuses(probabilities: Any, happened: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        calibration(probabilities, happened)


# Several seeds


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_difference_of_two_means_is_scipys(level: float) -> None:
    groups = [[0.91, 0.93, 0.92, 0.90], [0.95, 0.90, 0.97, 0.94]]
    deviation, reach = difference_interval(groups, level)
    pooled = (np.var(groups[0], ddof=1) + np.var(groups[1], ddof=1)) / 2
    assert deviation == pytest.approx(math.sqrt(pooled))
    expected = stats.ttest_ind(*groups).confidence_interval(level)
    middle = np.mean(groups[0]) - np.mean(groups[1])
    assert middle - reach == pytest.approx(expected.low)
    assert middle + reach == pytest.approx(expected.high)


def test_more_groups_tell_more_of_the_deviation() -> None:
    deviation, reach = difference_interval([[1.0, 3.0]] * 5)
    assert deviation == pytest.approx(math.sqrt(2))
    assert reach == pytest.approx(2.570582 * math.sqrt(2))  # Student's t for 5 degrees
    assert reach < difference_interval([[1.0, 3.0]] * 2)[1]


def test_the_difference_is_within_reach_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    within = 0
    for _ in range(1000):
        groups = [*rng.normal([[1.0], [2.0], [4.0]], 0.3, (3, 3))]
        _, reach = difference_interval(groups)
        within += abs(groups[1].mean() - groups[0].mean() - 1) <= reach
    assert 930 <= within <= 970


@pytest.mark.parametrize(
    "groups", [[], [[1.0], [2.0]], [[1.0, 2.0], [1.0, 2.0, 3.0]], [[[1.0, 2.0]]]]
)
def test_difference_interval_refuses(groups: Any) -> None:
    with pytest.raises(ValueError, match="groups of one size of 2 or more"):
        difference_interval(groups)
