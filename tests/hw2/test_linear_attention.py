"""The two orders of multiplication agree, in values, gradients and causal form."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from hw2.linear_attention import (
    BLOCK,
    FLOATS,
    causal,
    crossover,
    feature_map,
    linear,
    quadratic,
    recurrent,
)

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
ALL = [quadratic, linear, causal, recurrent]
everywhere = pytest.mark.parametrize("attention", ALL)
in_turn = pytest.mark.parametrize("attention", [causal, recurrent])


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


def masked_quadratic(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q @ k.mT).tril()
    return scores / scores.sum(-1, keepdim=True) @ v


@in_turn
@settings(deadline=None)
@given(qkv=inputs)
def test_causal_is_masked_quadratic(
    attention: Attention, qkv: tuple[Tensor, Tensor, Tensor]
) -> None:
    expected = masked_quadratic(*qkv)
    torch.testing.assert_close(attention(*qkv), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (2, 3)])
@pytest.mark.parametrize(
    "T", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK - 7]
)
def test_blocks_of_causal(T: int, batch: tuple[int, ...]) -> None:
    found = []
    for attention in (causal, masked_quadratic):
        qkv = [t.requires_grad_() for t in features(batch, T, 3, 2)]
        y = attention(*qkv)
        y.square().sum().backward()
        found.append([y, *(t.grad for t in qkv)])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seen", [1, BLOCK - 1, BLOCK, BLOCK + 5, 2 * BLOCK])
def test_no_block_of_causal_sees_the_future(seen: int) -> None:
    q, k, v = features((2,), 2 * BLOCK + 9, 3, 2)
    y = causal(q, k, v)
    for tensor in (q, k, v):
        tensor[..., seen:, :] += 1
    changed = causal(q, k, v)
    torch.testing.assert_close(changed[..., :seen, :], y[..., :seen, :], rtol=0, atol=0)
    assert (changed[..., seen:, :] != y[..., seen:, :]).all()


@pytest.mark.parametrize(
    ("attention", "masked"),
    [(quadratic, False), (linear, False), (causal, True), (recurrent, True)],
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


@in_turn
def test_causal_ends_where_linear_does_and_sees_no_future(attention: Attention) -> None:
    q, k, v = features((2, 3), 7, 4, 5)
    y = attention(q, k, v)
    torch.testing.assert_close(y[..., -1, :], linear(q, k, v)[..., -1, :])
    k[..., 4:, :] += 1
    v[..., 4:, :] += 1
    changed = attention(q, k, v)
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
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_type_is_right_to_its_last_digits(
    attention: Attention, dtype: torch.dtype
) -> None:
    qkv = [t.to(dtype).requires_grad_() for t in features((2,), 9, 3, 2)]
    exact = [t.detach().double().requires_grad_() for t in qkv]
    y, expected = attention(*qkv), attention(*exact)
    y.sum().backward()
    expected.sum().backward()
    assert y.dtype == dtype
    eps = torch.finfo(dtype).eps
    rtol, atol = (eps, eps) if dtype.itemsize < 4 else (0, 9 * eps)
    torch.testing.assert_close(y.double(), expected, rtol=rtol, atol=atol)
    for t, other in zip(qkv, exact, strict=True):
        assert t.grad is not None and t.grad.dtype == dtype
        torch.testing.assert_close(t.grad.double(), other.grad, rtol=rtol, atol=atol)


@everywhere
@pytest.mark.parametrize("T", [1, 5000])
def test_half_precision_is_finite_where_the_result_is(
    attention: Attention, T: int
) -> None:
    """The dot products alone, 16 * 16 * 300, are above its range of 65,504."""
    q, k = (torch.full((T, 4), 16.0, dtype=torch.float16) for _ in "qk")
    v = torch.full((T, 2), 300.0, dtype=torch.float16)
    qkv = [t.requires_grad_() for t in (q, k, v)]
    if attention is recurrent:
        qkv = [t[:50] for t in qkv]
    y = attention(*qkv)
    assert (y == 300).all()
    for gradient in torch.autograd.grad(y.float().mean(), qkv):
        assert gradient.isfinite().all()


NUMPY = "?bBhHiIlLqQefdgFDGSUOmM"
TORCH = sorted({v for v in vars(torch).values() if isinstance(v, torch.dtype)}, key=str)


@everywhere
@pytest.mark.parametrize("code", NUMPY)
def test_arrays_of_every_type(attention: Attention, code: str) -> None:
    arrays: list[Any] = [np.ones((3, 2)).astype(code) for _ in "qkv"]
    if code in "efd":
        assert (attention(*arrays) == 1).all()
        flipped: list[Any] = [
            array[::-1].astype(array.dtype.newbyteorder()) for array in arrays
        ]
        assert (attention(*flipped) == 1).all()
    else:
        with pytest.raises(TypeError, match="q must be floating-point"):
            attention(*arrays)


@pytest.mark.filterwarnings("ignore::UserWarning")  # some types are deprecated
@everywhere
@pytest.mark.parametrize("dtype", TORCH, ids=str)
def test_tensors_of_every_type(attention: Attention, dtype: torch.dtype) -> None:
    tensors = [torch.empty(3, 2, dtype=dtype) for _ in "qkv"]
    if dtype in FLOATS:
        assert (attention(*(t.fill_(1) for t in tensors)) == 1).all()
    else:
        with pytest.raises(TypeError, match=rf"q must be floating-point.*got {dtype}"):
            attention(*tensors)


@everywhere
@pytest.mark.parametrize(
    "kind",
    [
        Tensor.tolist,
        Parameter,
        lambda t: t.mT.contiguous().mT,  # not contiguous
        lambda t: np.broadcast_to(t.numpy(), t.shape),  # read-only
    ],
)
def test_other_kinds_of_input(
    attention: Attention, kind: Callable[[Tensor], Any]
) -> None:
    qkv = [t.float() for t in features((), 4, 3, 2)]
    y = attention(*(kind(t) for t in qkv))
    torch.testing.assert_close(y.detach(), attention(*qkv), rtol=1e-6, atol=1e-6)


@everywhere
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "text",
        3.0,
        [[1.0], [1.0, 2.0]],
        {"q": 1},
        np.ma.masked_less(np.ones((4, 3)), 2),
        torch.ones(4, 3).to_sparse(),
        torch.ones(4, 3, device="meta"),
        torch.nested.nested_tensor([torch.ones(4, 3)], layout=torch.jagged),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_dense_tensor_of_floats(attention: Attention, wrong: Any) -> None:
    q, _, v = features((), 4, 3, 2)
    error = ValueError if isinstance(wrong, float) else TypeError
    with pytest.raises(error, match="k must be"):
        attention(q, wrong, v)


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


@in_turn
def test_causal_needs_every_prefix(attention: Attention) -> None:
    q, k = torch.ones(3, 1), torch.tensor([[1.0], [-1.0], [2.0]])
    v = torch.tensor([[1.0], [2.0], [3.0]])
    torch.testing.assert_close(linear(q, k, v), torch.full((3, 1), 2.5))
    with pytest.raises(ValueError, match="normaliser"):
        attention(q, k, v)


def test_causal_needs_every_prefix_in_every_block() -> None:
    q, k, v = features((), 3 * BLOCK - 5, 1, 2)
    for i in (0, BLOCK - 1, BLOCK, len(q) - 1):
        zero = q.clone()
        zero[i] = 0
        with pytest.raises(ValueError, match="normaliser"):
            causal(zero, k, v)


@everywhere
def test_a_normaliser_that_overflows(attention: Attention) -> None:
    q, k, v = features((), 4, 3, 2)
    for factor in (1e200, 1e-200):
        with pytest.raises(ValueError, match="normaliser"):
            attention(factor * q, factor * k, v)
    with pytest.raises(ValueError, match="normaliser"):  # its inverse is infinite
        attention(1e-155 * q, 1e-155 * k, v)


@everywhere
def test_an_output_that_overflows_is_infinite(attention: Attention) -> None:
    q, k, v = features((), 4, 3, 2)
    assert attention(1e3 * q, k, 1e308 * v.abs()).isinf().any()


@everywhere
def test_a_negative_normaliser_is_divided_by(attention: Attention) -> None:
    q, k = torch.tensor([[1.0], [1.0]]), torch.tensor([[-1.0], [-3.0]])
    v = torch.tensor([[0.0], [1.0]])
    first = 0.0 if attention in (causal, recurrent) else 0.75
    expected = torch.tensor([[first], [0.75]])
    torch.testing.assert_close(attention(q, k, v), expected)


@settings(deadline=None)
@given(st.lists(st.floats(-700, 1e300), min_size=1))
def test_the_feature_map_is_elu_plus_one_and_positive(x: list[float]) -> None:
    tensor = torch.tensor(x, dtype=torch.float64)
    expected = torch.nn.functional.elu(tensor) + 1
    torch.testing.assert_close(feature_map(tensor), expected, rtol=1e-12, atol=1e-15)
    assert (feature_map(tensor) > 0).all()


@pytest.mark.parametrize("dtype", TORCH, ids=str)
def test_the_feature_map_of_every_type(dtype: torch.dtype) -> None:
    lowest = {torch.float64: -745, torch.float32: -103, torch.bfloat16: -92}
    if dtype in FLOATS:
        x = torch.tensor([lowest.get(dtype, -17), -1, 0, 2], dtype=dtype)
        y = feature_map(x.requires_grad_())
        y.sum().backward()
        assert y.dtype == dtype and (y > 0).all()
        exact = torch.where(x > 0, x + 1, x.double().exp()).to(dtype)
        torch.testing.assert_close(y, exact)
        assert x.grad is not None
        torch.testing.assert_close(x.grad, torch.where(x > 0, 1, exact))
    else:
        with pytest.raises(TypeError, match="x must be floating-point"):
            feature_map(torch.empty(3, dtype=dtype))


def test_gradients_of_the_feature_map() -> None:
    x = torch.tensor([-700.0, -1, 0, 2, 1e6], dtype=torch.float64, requires_grad=True)
    feature_map(x).sum().backward()
    expected = [math.exp(-700), math.exp(-1), 1, 1, 1]
    torch.testing.assert_close(x.grad, torch.tensor(expected, dtype=torch.float64))


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_crossover_is_where_the_counts_are_equal(d: int, d_v: int) -> None:
    T = crossover(d, d_v)
    assert 2 * T**2 * (d + d_v + 1) == pytest.approx(4 * T * d * (d_v + 1))
    assert (
        crossover(np.int8(d % 128 or 1), torch.tensor(d_v)) <= 2 * d
    )  # no wrap-around


@pytest.mark.parametrize("wrong", [2.0, "2", None, 1j, np.ones(2), torch.ones(1)])
def test_sizes_of_the_crossover_are_whole(wrong: Any) -> None:
    for sizes in ((wrong, 3), (3, wrong)):
        with pytest.raises(TypeError):
            crossover(*sizes)
