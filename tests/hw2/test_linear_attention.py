"""The two orders of multiplication agree, in values, gradients and causal form."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hw2.linear_attention import causal, crossover, feature_map, linear, quadratic

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


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_crossover_is_where_the_counts_are_equal(d: int, d_v: int) -> None:
    T = crossover(d, d_v)
    assert 2 * T**2 * (d + d_v) == pytest.approx(4 * T * d * d_v + 2 * T * d)
