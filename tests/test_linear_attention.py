"""The two orders of multiplication agree, in values, gradients and causal form."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hw2.linear_attention import (
    Timing,
    causal,
    experiment,
    linear,
    quadratic,
    score,
)
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


@pytest.mark.parametrize("T", [1, 16, 333])
def test_operations_counted(T: int) -> None:
    d, d_v = 8, 5
    expected = {
        quadratic: 2 * T * T * (d + d_v),
        linear: 4 * T * d * d_v + 2 * T * d,
    }
    for attention, operations in expected.items():
        with FlopCounterMode(display=False) as counter:
            attention(*features((), T, d, d_v))
        assert counter.get_total_flops() == operations


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


@everywhere
def test_a_normaliser_that_overflows(attention: Attention) -> None:
    q, k, v = features((), 4, 3, 2)
    with pytest.raises(ValueError, match="normaliser"):
        attention(1e200 * q, 1e200 * k, v)


def test_the_timing_is_whole_and_leaves_the_threads() -> None:
    threads = torch.get_num_threads()
    config = Timing(first=3, last=6, d=4, rounds=2, least_ms=0)
    times = experiment(config, Checkpoint()).predictions
    assert torch.get_num_threads() == threads
    assert times["tokens"].tolist() == [8, 16, 32, 64]
    for name in ("quadratic", "linear"):
        assert times[name].shape == (4,) and (times[name] > 0).all()


def test_the_slopes_are_those_of_the_longest_sequences() -> None:
    tokens = torch.tensor([1, 2, 4, 8, 16])
    quadratic_times, linear_times = 3.0 * tokens.double() ** 2, 5.0 * tokens.double()
    quadratic_times[0] = 1e6  # a short one, which does not count
    times = {"tokens": tokens, "quadratic": quadratic_times, "linear": linear_times}
    slopes = {name: slope.value for name, slope in score(times).items()}
    assert slopes == pytest.approx({"quadratic": 2, "linear": 1})
