"""The two orders of multiplication agree, in values, gradients and causal form."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from hw2.linear_attention import (
    METHODS,
    Scaling,
    causal,
    crossover,
    experiment,
    feature_map,
    growth,
    lengths,
    linear,
    operations,
    peak_bytes,
    power_law,
    quadratic,
    score,
    seconds,
    softmax_attention,
)
from hw2.linear_attention import features as random_features
from hw2.records import Checkpoint

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
everywhere = pytest.mark.parametrize("attention", [quadratic, linear, causal])


def features(
    batch: tuple[int, ...], T: int, d: int, d_v: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Positive queries and keys, and values of either sign."""
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.rand(2, *batch, T, d, generator=generator, dtype=torch.float64) + 0.01
    v = torch.randn(*batch, T, d_v, generator=generator, dtype=torch.float64)
    return q, k, v


sizes = st.integers(1, 8)
inputs = st.builds(
    features,
    st.lists(st.integers(1, 3), max_size=2).map(tuple),
    sizes,
    sizes,
    sizes,
    st.integers(0, 10**6),
)


def by_definition(q: Tensor, k: Tensor, v: Tensor, masked: bool) -> Tensor:
    """The definition, sum by sum, for one sequence."""
    rows = []
    for i in range(len(q)):
        seen = range(i + 1 if masked else len(q))
        total = sum(q[i] @ k[j] for j in seen)
        rows.append(sum((q[i] @ k[j]) / total * v[j] for j in seen))
    return torch.stack(rows)  # type: ignore[arg-type]


@settings(deadline=None)
@given(inputs)
def test_linear_is_quadratic(qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = quadratic(*qkv)
    assert expected.shape == qkv[2].shape
    torch.testing.assert_close(linear(*qkv), expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(inputs)
def test_causal_is_masked_quadratic(qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v = qkv
    scores = (q @ k.mT).tril()
    expected = scores / scores.sum(-1, keepdim=True) @ v
    torch.testing.assert_close(causal(q, k, v), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("attention", "masked"), [(quadratic, False), (linear, False), (causal, True)]
)
def test_definition(attention: Attention, masked: bool) -> None:
    q, k, v = features((), 6, 3, 2)
    torch.testing.assert_close(attention(q, k, v), by_definition(q, k, v, masked))


@everywhere
@settings(deadline=None)
@given(qkv=inputs)
def test_a_batch_is_its_sequences_one_by_one(
    attention: Attention, qkv: tuple[Tensor, Tensor, Tensor]
) -> None:
    whole = attention(*qkv).flatten(0, -3) if qkv[0].ndim > 2 else attention(*qkv)[None]
    flat = [t.flatten(0, -3) if t.ndim > 2 else t[None] for t in qkv]
    for y, q, k, v in zip(whole, *flat, strict=True):
        torch.testing.assert_close(y, attention(q, k, v), rtol=1e-12, atol=1e-12)


@everywhere
def test_equal_values_come_out_unchanged(attention: Attention) -> None:
    q, k, v = features((2,), 9, 4, 3)
    v = v[:, :1].expand_as(v)
    torch.testing.assert_close(attention(q, k, v), v)


def test_causal_ends_where_linear_does_and_sees_no_future() -> None:
    q, k, v = features((2, 3), 7, 4, 5)
    y = causal(q, k, v)
    torch.testing.assert_close(y[..., -1, :], linear(q, k, v)[..., -1, :])
    k[..., 4:, :] += 1
    v[..., 4:, :] += 1
    changed = causal(q, k, v)
    torch.testing.assert_close(changed[..., :4, :], y[..., :4, :], rtol=0, atol=0)
    assert (changed[..., 4:, :] != y[..., 4:, :]).all()


def test_gradients_of_both_orders_agree() -> None:
    gradients = []
    for attention in (quadratic, linear):
        qkv = [t.requires_grad_() for t in features((2,), 5, 3, 4)]
        attention(*qkv).square().sum().backward()
        gradients.append([t.grad for t in qkv])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)


@everywhere
def test_gradients_are_those_of_finite_differences(attention: Attention) -> None:
    qkv = [t.requires_grad_() for t in features((2,), 4, 3, 2)]
    assert torch.autograd.gradcheck(attention, qkv)


@everywhere
def test_single_precision_stays_single(attention: Attention) -> None:
    q, k, v = (t.float() for t in features((), 4, 3, 2))
    assert attention(q, k, v).dtype == torch.float32


@everywhere
@pytest.mark.parametrize("name", ["q", "k", "v"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite(attention: Attention, name: str, value: float) -> None:
    qkv = dict(zip("qkv", features((), 4, 3, 2), strict=True))
    qkv[name][1, 0] = value
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        attention(qkv["q"], qkv["k"], qkv["v"])


@everywhere
@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3), (4, 2), (4, 5)),
        ((4, 3), (3, 3), (4, 5)),
        ((4, 3), (4, 3), (3, 5)),
        ((2, 4, 3), (4, 3), (4, 5)),
        ((2, 4, 3), (2, 4, 3), (3, 4, 5)),
        ((3,), (3,), (3,)),
        ((0, 3), (0, 3), (0, 5)),
        ((4, 0), (4, 0), (4, 5)),
        ((4, 3), (4, 3), (4, 0)),
    ],
)
def test_bad_shapes(attention: Attention, shapes: list[tuple[int, ...]]) -> None:
    q, k, v = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match="got"):
        attention(q, k, v)


@everywhere
def test_bad_types(attention: Attention) -> None:
    q, k, v = features((), 4, 3, 2)
    with pytest.raises(TypeError, match=r"k must be floating-point.*int64"):
        attention(q, k.long(), v)
    with pytest.raises(ValueError, match=r"float64.*float32"):
        attention(q, k, v.float())


@everywhere
def test_a_normaliser_of_zero(attention: Attention) -> None:
    q, k, v = features((), 4, 3, 2)
    q[2] = 0
    with pytest.raises(ValueError, match="normaliser"):
        attention(q, k, v)


def test_causal_needs_every_prefix() -> None:
    q, k = torch.ones(3, 1), torch.tensor([[1.0], [-1.0], [2.0]])
    v = torch.tensor([[1.0], [2.0], [3.0]])
    torch.testing.assert_close(linear(q, k, v), torch.full((3, 1), 2.5))
    with pytest.raises(ValueError, match="normaliser"):
        causal(q, k, v)


@everywhere
def test_a_normaliser_that_overflows(attention: Attention) -> None:
    q, k, v = features((), 4, 3, 2)
    with pytest.raises(ValueError, match="normaliser"):
        attention(1e200 * q, 1e200 * k, v)


@everywhere
def test_a_negative_normaliser_is_divided_by(attention: Attention) -> None:
    q, k = torch.tensor([[1.0], [1.0]]), torch.tensor([[-1.0], [-3.0]])
    v = torch.tensor([[0.0], [1.0]])
    expected = torch.tensor([[0.0 if attention is causal else 0.75], [0.75]])
    torch.testing.assert_close(attention(q, k, v), expected)


@settings(deadline=None)
@given(st.lists(st.floats(-700, 1e300), min_size=1))
def test_the_feature_map_is_elu_plus_one_and_positive(x: list[float]) -> None:
    tensor = torch.tensor(x, dtype=torch.float64)
    expected = torch.nn.functional.elu(tensor) + 1
    torch.testing.assert_close(feature_map(tensor), expected, rtol=1e-12, atol=1e-15)
    assert (feature_map(tensor) > 0).all()


def test_gradients_of_the_feature_map() -> None:
    x = torch.tensor([-700.0, -1, 0, 2, 1e6], dtype=torch.float64, requires_grad=True)
    feature_map(x).sum().backward()
    expected = [math.exp(-700), math.exp(-1), 1, 1, 1]
    torch.testing.assert_close(x.grad, torch.tensor(expected, dtype=torch.float64))


def test_random_features_are_positive_reproducible_and_of_the_asked_kind() -> None:
    q, k, v = random_features(50, 7, seed=3, dtype=torch.float32)
    assert q.shape == k.shape == v.shape == (50, 7) and q.dtype == torch.float32
    assert (q > 0).all() and (k > 0).all() and (v < 0).any()
    again, other = random_features(50, 7, 3), random_features(50, 7, 4)
    assert torch.equal(random_features(50, 7, 3)[2], again[2])
    assert not torch.equal(other[2], again[2])


@pytest.mark.parametrize("T", [1, 16, 333])
@pytest.mark.parametrize("d", [1, 8])
def test_operations_counted(T: int, d: int) -> None:
    assert operations(quadratic, T, d) == 4 * T * T * d
    assert operations(linear, T, d) == 4 * T * d * d + 2 * T * d


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_crossover_is_where_the_counts_are_equal(d: int, d_v: int) -> None:
    T = crossover(d, d_v)
    assert 2 * T**2 * (d + d_v) == pytest.approx(4 * T * d * d_v + 2 * T * d)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 2)])
def test_sizes_are_positive(sizes: tuple[int, int]) -> None:
    for function in (crossover, random_features):
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
    q, k, v = features((), 9, 4, 3)
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

    assert 0.01 <= seconds(wait, features((), 1, 1, 1), least) < 0.03
    assert 2 <= next(count) <= calls


def test_peak_memory_is_what_is_held_at_once() -> None:
    def allocate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first = torch.empty(1000)
        second = torch.empty(500)
        del first
        third = torch.empty(700)  # second and third are less than first and second
        del second, third
        return torch.empty(10)

    assert peak_bytes(allocate, features((), 1, 1, 1)) == 4 * 1500
    assert peak_bytes(lambda q, k, v: v, features((), 1, 1, 1)) == 0


def test_peak_memory_of_both_orders() -> None:
    T, d = 512, 16
    qkv = random_features(T, d, dtype=torch.float32)
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
