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
from torch import Tensor

from hw2.linear_attention import FLOATS, crossover, linear, quadratic
from hw2.scaling import (
    FITTED,
    METHODS,
    Scaling,
    difference,
    experiment,
    fastest,
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
    for dtype in FLOATS:
        q, k, v = features(np.int8(100), torch.tensor(7), np.uint8(1), dtype)
        assert q.shape == (100, 7) and q.dtype == k.dtype == v.dtype == dtype
        assert (q > 0).all() and (k > 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"T": 2.0},
        {"T": 2, "d": "3"},
        {"T": 2, "seed": None},
        *({"T": 2, "dtype": dtype} for dtype in (torch.int64, torch.complex64, float)),
    ],
)
def test_bad_types_of_features(wrong: Any) -> None:
    with pytest.raises(TypeError):
        features(**wrong)


@pytest.mark.parametrize("T", [1, 300])
def test_the_difference_of_the_two_orders_is_rounding(T: int) -> None:
    q, k, v = features(T)
    expected = (linear(q, k, v) - quadratic(q, k, v)).abs().max()
    assert difference(T) == expected < 1e-12
    assert T == 1 or difference(T) > 0


@pytest.mark.parametrize("T", [1, 16, 333])
@pytest.mark.parametrize("d", [1, 8])
def test_operations_counted(T: int, d: int) -> None:
    assert operations(quadratic, T, d) == 2 * T * T * (2 * d + 1)
    assert operations(linear, T, d) == 4 * T * d * (d + 1)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 2)])
def test_sizes_are_positive(sizes: tuple[int, int]) -> None:
    for function in (crossover, features):
        with pytest.raises(ValueError, match="at least 1"):
            function(*sizes)


@given(st.floats(-3, 3), st.floats(1e-3, 1e3))
def test_an_exact_power_law(power: float, factor: float) -> None:
    tokens = 2.0 ** np.arange(7, 14)
    assert power_law(tokens, factor * tokens**power) == pytest.approx(power, abs=1e-9)


def test_the_power_law_is_that_of_least_squares() -> None:
    tokens, costs = np.array([1.0, 2, 4, 8]), np.array([1.0, 3, 7, 30])
    x, y = np.log(tokens), np.log(costs)
    expected = np.cov(x, y)[0, 1] / x.var(ddof=1)
    assert power_law(tokens, costs) == pytest.approx(expected)
    assert power_law([2, 4], [3, 24]) == pytest.approx(3)


ARRAYS = [np.array([1, 2, 4]).astype(code) for code in "bBhHiIlLqQefdg"]
DTYPES = [*FLOATS, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
TENSORS = [torch.tensor([1, 2, 4]).to(dtype) for dtype in DTYPES]
OTHERS = [[1, 2, 4], (1.0, 2, 4), torch.tensor([1.0, 2, 4], requires_grad=True)]


@pytest.mark.parametrize(
    "numbers", [*ARRAYS, *TENSORS, *OTHERS], ids=lambda n: str(getattr(n, "dtype", n))
)
def test_a_power_law_of_numbers_of_every_type(numbers: Any) -> None:
    assert power_law(numbers, numbers) == pytest.approx(1)


@pytest.mark.parametrize(
    "wrong",
    [
        *(np.ones(3).astype(code) for code in "?FDGSUOmM"),
        *(torch.ones(3).to(dtype) for dtype in (torch.bool, torch.complex64)),
        ["1", "2", "3"],
        [None, 1, 2],
    ],
    ids=lambda n: str(getattr(n, "dtype", n)),
)
def test_what_is_no_number_has_no_power_law(wrong: Any) -> None:
    for pair in ((wrong, [1, 2, 3]), ([1, 2, 3], wrong)):
        with pytest.raises(TypeError, match="must be real numbers"):
            power_law(*pair)


@pytest.mark.parametrize(
    ("tokens", "costs", "says"),
    [
        ([], [], "tokens must differ"),
        ([1], [1], "tokens must differ"),
        (2, 2, "shapes"),
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


def test_a_long_call_is_made_once() -> None:
    pauses = iter([1.0])

    def wait(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        time.sleep(next(pauses))
        return v

    assert seconds(wait, features(1, 1), 0.2) >= 1


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


SMALL = Scaling(
    first=9,
    last=13,
    last_quadratic=13,
    last_recurrent=10,
    d=4,
    rounds=2,
    least_seconds=0,
)


def test_the_measurement_is_whole() -> None:
    config = replace(SMALL, last_quadratic=12)
    measured = experiment(config, Checkpoint()).predictions
    for name in METHODS:
        n = {"quadratic": 4, "recurrent": 2}.get(name, 5)
        tokens = [512, 1024, 2048, 4096, 8192][:n]
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
        seconds = fastest(measured, name)
        assert growth(measured, name, seconds) == pytest.approx(power)
        first_round = measured[f"{name}_seconds"][0]
        assert growth(measured, name, first_round) > power + 1
    scores = {name: score.value for name, score in score(measured).items()}
    assert scores == pytest.approx(
        {f"{name} time": power for power, name in enumerate(FITTED, start=1)}
        | {"quadratic memory": 2, "linear memory": 6, "causal memory": 8}
    )
