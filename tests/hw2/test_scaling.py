"""What attention costs: operations that are counted, time and memory measured."""

import itertools
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from hw2.linear_attention import crossover, linear, quadratic
from hw2.scaling import (
    METHODS,
    Scaling,
    experiment,
    features,
    growth,
    lengths,
    operations,
    peak_bytes,
    power_law,
    score,
    seconds,
    softmax_attention,
)
from recorded import Checkpoint


def test_random_features_are_positive_reproducible_and_of_the_asked_kind() -> None:
    q, k, v = features(50, 7, seed=3, dtype=torch.float32)
    assert q.shape == k.shape == v.shape == (50, 7) and q.dtype == torch.float32
    assert (q > 0).all() and (k > 0).all() and (v < 0).any()
    again, other = features(50, 7, 3), features(50, 7, 4)
    assert torch.equal(features(50, 7, 3)[2], again[2])
    assert not torch.equal(other[2], again[2])


@pytest.mark.parametrize("T", [1, 16, 333])
@pytest.mark.parametrize("d", [1, 8])
def test_operations_counted(T: int, d: int) -> None:
    assert operations(quadratic, T, d) == 4 * T * T * d
    assert operations(linear, T, d) == 4 * T * d * d + 2 * T * d


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 2)])
def test_sizes_are_positive(sizes: tuple[int, int]) -> None:
    for function in (crossover, features):
        with pytest.raises(ValueError, match="at least 1"):
            function(*sizes)


@given(st.floats(-3, 3), st.floats(1e-3, 1e3))
def test_an_exact_power_law(power: float, factor: float) -> None:
    tokens = 2.0 ** np.arange(7, 14)
    found, half_width = power_law(tokens, factor * tokens**power)
    assert found == pytest.approx(power, abs=1e-9) and half_width < 1e-6


def test_the_interval_is_students() -> None:
    tokens, costs = np.array([1.0, 2, 4, 8]), np.array([1.0, 3, 7, 30])
    fit = stats.linregress(np.log(tokens), np.log(costs))
    expected = fit.slope, stats.t.ppf(0.975, 2) * fit.stderr
    assert power_law(tokens, costs) == pytest.approx(expected)


def test_the_interval_holds_the_power_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    tokens = 2.0 ** np.arange(11, 18)
    inside = 0
    for _ in range(1000):
        noise = np.exp(rng.normal(0, 0.1, len(tokens)))
        power, half_width = power_law(tokens, 3 * tokens**1.5 * noise)
        inside += abs(power - 1.5) <= half_width
    assert 930 <= inside <= 970


@pytest.mark.parametrize(
    ("tokens", "costs", "says"),
    [
        ([1, 2], [1, 2], "3 or more"),
        ([1, 2, 3], [1, 2], "shapes"),
        ([[1, 2, 3]], [[1, 2, 3]], "shapes"),
        ([0, 1, 2], [1, 2, 3], "tokens must be positive"),
        ([1, 2, 3], [1, -2, 3], "costs must be positive"),
        ([1, 2, 3], [1, math.nan, 3], "costs must be positive"),
        ([1, 2, math.inf], [1, 2, 3], "tokens must be positive"),
        ([2, 2, 2], [1, 2, 3], "tokens must differ"),
    ],
)
def test_bad_measurements(tokens: Any, costs: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        power_law(tokens, costs)


def test_the_fused_kernel_computes_softmax_attention() -> None:
    q, k, v = features(9, 4)
    weights = (q @ k.mT / math.sqrt(4)).softmax(-1)
    torch.testing.assert_close(softmax_attention(q, k, v), weights @ v)


@pytest.mark.parametrize(("least", "calls"), [(0.0, 2), (0.05, 5)])
def test_seconds_are_those_of_the_fastest_call(least: float, calls: int) -> None:
    pauses = iter([0.03, *[0.01] * 20])
    count = itertools.count()

    def wait(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        next(count)
        time.sleep(next(pauses))
        return v

    assert 0.01 <= seconds(wait, features(1, 1), least) < 0.03
    assert 2 <= next(count) <= calls


def test_peak_memory_is_what_is_held_at_once() -> None:
    def allocate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first = torch.empty(1000)
        second = torch.empty(500)
        del first
        third = torch.empty(700)  # second and third are less than first and second
        del second, third
        return torch.empty(10)

    assert peak_bytes(allocate, features(1, 1)) == 4 * 1500
    assert peak_bytes(lambda q, k, v: v, features(1, 1)) == 0


def test_peak_memory_of_both_orders() -> None:
    T, d = 512, 16
    qkv = features(T, d, dtype=torch.float32)
    assert 4 * T * T <= peak_bytes(quadratic, qkv) < 5 * T * T
    # The outputs before and after the division, and little else.
    assert 8 * T * d <= peak_bytes(linear, qkv) < 8 * T * d + 6 * T + 8 * d * d


SMALL = Scaling(first=9, last=13, last_quadratic=13, d=4, rounds=2, least_seconds=0)


def test_the_measurement_is_whole() -> None:
    config = replace(SMALL, last_quadratic=12)
    measured = experiment(config, Checkpoint()).predictions
    for name in METHODS:
        tokens = [512, 1024, 2048, 4096, 8192][: 4 if name == "quadratic" else 5]
        assert measured[f"{name}_tokens"].tolist() == tokens == lengths(name, config)
        for what, shape in (("seconds", (2, len(tokens))), ("bytes", (len(tokens),))):
            values = measured[f"{name}_{what}"]
            assert values.shape == shape and (values > 0).all()


def test_a_stopped_measurement_goes_on(tmp_path: Path) -> None:
    whole = experiment(SMALL, Checkpoint(tmp_path)).predictions
    again = experiment(SMALL, Checkpoint(tmp_path)).predictions
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    longer = experiment(replace(SMALL, rounds=3), Checkpoint(tmp_path)).predictions
    kept, added = longer["linear_seconds"].split((2, 1))
    assert torch.equal(kept, whole["linear_seconds"]) and (added > 0).all()


def test_growth_is_that_of_the_fastest_round_over_long_sequences() -> None:
    tokens = 2 ** torch.arange(7, 15)
    measured: dict[str, Tensor] = {}
    for power, name in enumerate(METHODS, start=1):
        cost = 3.0 * tokens.double() ** power
        cost[0] *= 100  # a short one, which does not count
        slow = cost.clone()
        slow[-1] *= 100  # in one round
        measured |= {
            f"{name}_tokens": tokens,
            f"{name}_seconds": torch.stack([slow, cost]),
            f"{name}_bytes": cost**2,
        }
    for power, name in enumerate(METHODS, start=1):
        assert growth(measured, name, "seconds") == pytest.approx((power, 0), abs=1e-6)
        assert growth(measured, name, "bytes")[0] == pytest.approx(2 * power)
    scores = {name: score.value for name, score in score(measured).items()}
    assert scores == pytest.approx(
        {
            "quadratic time": 1,
            "softmax time": 2,
            "linear time": 3,
            "quadratic memory": 2,
            "linear memory": 6,
        }
    )
