"""Self-attention against references, at any scale, and the bound on its copies."""

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import sympy as sp
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hw2.attention import (
    attention,
    base_tokens,
    error_bound,
    exact_errors,
    self_attention,
)
from number_types import ARRAYS, COMPLEX, NO_NUMBERS, SCALARS

Array = npt.NDArray[np.float64]


def matrices(largest: float, max_side: int = 6) -> st.SearchStrategy[Array]:
    shapes = array_shapes(min_dims=2, max_dims=2, max_side=max_side)
    return arrays(np.float64, shapes, elements=st.floats(-largest, largest))


def independent_errors(beta: float, scale: float) -> list[sp.Float]:
    """Norms of y_i - x_i to 40 digits, without cancellation."""
    beta = sp.Float(sp.Rational(beta), 40)
    X = sp.Matrix([[0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0]]) * beta
    scores = (sp.Float(sp.Rational(scale), 40) * X * X.T).applyfunc(sp.exp)
    errors = []
    for i in range(3):
        total = sum(scores.row(i))
        # x_i - y_i, as a sum over the other tokens: no digits cancel.
        error = sp.zeros(1, 4)
        for j in range(3):
            error += scores[i, j] / total * (X.row(j) - X.row(i))
        errors.append(sp.sqrt(sum(entry**2 for entry in error)))
    return errors


@settings(deadline=None)
@given(matrices(20))
def test_agrees_with_softmax_of_torch(X: Array) -> None:
    weights, outputs = self_attention(X)
    reference = torch.softmax(torch.from_numpy(X @ X.T), dim=1).numpy()
    np.testing.assert_allclose(weights, reference, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(outputs, reference @ X, rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(matrices(5), st.floats(0.01, 10))
def test_agrees_with_attention_of_torch(X: Array, scale: float) -> None:
    tokens = torch.tensor(X)[None]
    reference = torch.nn.functional.scaled_dot_product_attention(
        tokens, tokens, tokens, scale=scale
    )
    outputs = self_attention(X, scale)[1]
    np.testing.assert_allclose(outputs, reference[0], atol=1e-11)


@settings(deadline=None)
@given(*[st.integers(1, 6)] * 4, st.integers(0, 10**6))
def test_queries_keys_and_values_of_their_own(
    S: int, T: int, d: int, d_v: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (
        rng.normal(size=(S, d)),
        rng.normal(size=(T, d)),
        rng.normal(size=(T, d_v)),
    )
    weights, outputs = attention(q, k, v, scale=d**-0.5)
    Q, K, V = (torch.tensor(matrix)[None] for matrix in (q, k, v))
    reference = torch.nn.functional.scaled_dot_product_attention(Q, K, V)
    assert weights.shape == (S, T)
    np.testing.assert_allclose(outputs, reference[0], atol=1e-12)


@settings(deadline=None)
@given(matrices(np.finfo(np.float64).max))
def test_any_finite_tokens_give_a_mean_of_tokens(X: Array) -> None:
    weights, outputs = self_attention(X)
    assert weights.shape == (len(X), len(X)) and outputs.shape == X.shape
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
    assert (X.min(axis=0) <= outputs).all() and (outputs <= X.max(axis=0)).all()


@settings(deadline=None)
@given(matrices(1e3), st.randoms(use_true_random=False))
def test_permuting_the_tokens_permutes_the_outputs(X: Array, random: Any) -> None:
    # Whole numbers: their inner products are exact, whatever the order of summation.
    X = np.round(X)
    order = np.array(random.sample(range(len(X)), len(X)))
    weights, outputs = self_attention(X)
    permuted_weights, permuted_outputs = self_attention(X[order])
    np.testing.assert_allclose(
        permuted_weights, weights[order][:, order], rtol=1e-12, atol=1e-300
    )
    np.testing.assert_allclose(permuted_outputs, outputs[order], rtol=1e-9, atol=1e-9)


def test_a_small_token_beside_a_huge_one() -> None:
    # Row 2 has the scores 1e200 and 1e-200; row 3 has 0 and its own, 1.
    X = [[1e300, 0.0], [1e-100, 0.0], [0.0, 1.0]]
    weights, _ = self_attention(X)
    total = 2 + math.e
    last = [1 / total, 1 / total, math.e / total]
    expected = np.array([[1, 0, 0], [1, 0, 0], last])
    np.testing.assert_allclose(weights, expected, rtol=1e-15)


def test_nothing_is_scaled_unless_it_is_asked_for() -> None:
    X = base_tokens(1.0)
    assert X.shape == (3, 4)
    for weights, _ in (attention(X, X, X), self_attention(X)):
        assert weights[0, 2] / weights[0, 0] == pytest.approx(math.exp(-1))


def test_a_single_token_is_its_own_output() -> None:
    weights, outputs = self_attention([[3, -1e300, 1e-300]])
    assert weights.tolist() == [[1]] and outputs.tolist() == [[3, -1e300, 1e-300]]


@pytest.mark.parametrize("d", [4, 7])
def test_base_tokens(d: int) -> None:
    X = base_tokens(3.0, d)
    assert X.shape == (3, d)
    assert (X @ X.T).tolist() == [[18, 0, 9], [0, 9, 0], [9, 0, 18]]


@settings(deadline=None)
@given(st.floats(0, 30))
def test_weights_and_outputs_are_those_of_the_answer(beta: float) -> None:
    weights, outputs = self_attention(base_tokens(beta))
    e = math.exp(-(beta**2))
    expected = np.array([[1, e**2, e], [e, 1, e], [e, e**2, 1]])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(outputs, expected @ base_tokens(beta), atol=1e-11)


@settings(deadline=None)
@given(st.floats(0, 40), st.sampled_from([1.0, 0.5, 0.125, 3.0]))
@example(0.0, 1.0)
@example(26.6, 1.0)  # where the bound leaves the normal doubles
@example(1e-300, 1.0)
def test_bound_holds_for_exact_outputs_and_is_tight(beta: float, scale: float) -> None:
    # A double is a rational number, so this compares without rounding.
    bounds = [sp.Rational(value) for value in error_bound(beta, scale)]
    errors = independent_errors(beta, scale)
    for bound, error in zip(bounds, errors, strict=True):
        assert error <= bound
        if beta > 1e-300 and scale * beta**2 < 700:
            small = sp.exp(-sp.Float(scale * beta**2, 40))
            assert error >= bound / (1 + 2 * small) * (1 - sp.Rational(1, 10**9))


@given(st.floats(0, 1e308), st.floats(1e-300, 1e300))
def test_a_bound_is_never_missing(beta: float, scale: float) -> None:
    assert (error_bound(beta, scale) > 0).all()  # and not NaN


def test_a_bound_where_the_square_of_the_norm_is_no_double() -> None:
    beta, scale = 1e155, 1e-308
    exponent = sp.log(10**155) - sp.Rational(scale) * sp.Rational(beta) ** 2
    expected = sp.N(sp.sqrt(2) * sp.exp(exponent), 40)
    bound = sp.Rational(error_bound(beta, scale)[0])
    assert 0 <= sp.N(bound / expected - 1, 40) < 2e-11


def test_a_bound_for_a_huge_norm_and_a_tiny_scale() -> None:
    # The exponential alone is no normal double, its product with beta is.
    beta, scale = 1e10, 7.2e-18
    expected = sp.sqrt(2) * sp.exp(sp.log(10**10) - sp.Rational(scale) * 10**20)
    bound = sp.Rational(error_bound(beta, scale)[0])
    assert 0 <= sp.N(bound / expected - 1, 40) < 2e-11


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 60), st.sampled_from([1.0, 0.125]))
def test_exact_errors_have_the_digits_they_promise(beta: float, scale: float) -> None:
    for exact, other in zip(
        exact_errors(beta, scale), independent_errors(beta, scale), strict=True
    ):
        assert abs(sp.Float(exact, 40) - other) <= sp.Float("1e-28") * other


def test_exact_errors_where_no_double_can_hold_them() -> None:
    first, second, _ = exact_errors(100.0, digits=20)
    # sqrt(2) beta exp(-beta^2), of which the error is short by a factor 1 + O(e^-10^4).
    with mpmath.workdps(20):
        expected = mpmath.sqrt(2) * 100 * mpmath.exp(-10000)
        assert abs(first / expected - 1) < 1e-18
        assert abs(second / first - mpmath.sqrt(5)) < 1e-18


@pytest.mark.parametrize("beta", [1e3, 1e200])
def test_too_many_digits(beta: float) -> None:
    with pytest.raises(ValueError, match="too many digits"):
        exact_errors(beta)
    with pytest.raises(ValueError, match="too many digits"):
        exact_errors(1.0, digits=100_001)
    with pytest.raises(ValueError, match="digits must be at least 1"):
        exact_errors(1.0, digits=0)


@settings(deadline=None)
@given(st.one_of(st.floats(0, 10), st.floats(0, 1e308)))
def test_bound_holds_in_double_precision(beta: float) -> None:
    X = base_tokens(beta)
    _, Y = self_attention(X)
    # math.hypot takes norms without overflow.
    errors = [math.hypot(*row) for row in Y - X]
    rounding = 1e-15 * beta
    assert (np.array(errors) <= error_bound(beta) + rounding).all()


@pytest.mark.parametrize(
    "X", [[], [[]], [1.0, 2.0], [[[1.0]]], [[1.0, math.nan]], [[math.inf]]]
)
def test_bad_tokens(X: Any) -> None:
    with pytest.raises(ValueError, match="X must be"):
        self_attention(X)


@pytest.mark.parametrize("name", ["q", "k", "v"])
@pytest.mark.parametrize("bad", [[1.0, 2.0], [[]], [[math.nan]], [[-math.inf]], [[1j]]])
def test_bad_matrices(name: str, bad: Any) -> None:
    qkv: dict[str, Any] = {"q": [[1.0]], "k": [[1.0]], "v": [[1.0]]} | {name: bad}
    with pytest.raises(ValueError, match=f"{name} must be"):
        attention(**qkv)


@pytest.mark.parametrize("shapes", [((2, 3), (4, 2), (4, 1)), ((2, 3), (4, 3), (3, 1))])
def test_shapes_that_do_not_match(shapes: Any) -> None:
    q, k, v = (np.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"got \(2, 3\)"):
        attention(q, k, v)


@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_bad_norms(beta: float) -> None:
    for function in (base_tokens, error_bound, exact_errors):
        with pytest.raises(ValueError, match="beta"):
            function(beta)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_bad_scales(scale: float) -> None:
    for function in (error_bound, exact_errors):
        with pytest.raises(ValueError, match="scale"):
            function(1.0, scale)
    with pytest.raises(ValueError, match="scale"):
        self_attention([[1.0]], scale)


def test_too_few_dimensions() -> None:
    with pytest.raises(ValueError, match="3"):
        base_tokens(1.0, d=3)


# Numbers of every type


@pytest.mark.parametrize("kind", ARRAYS)
def test_matrices_of_any_type(kind: str) -> None:
    X = [[1, 0], [0, 1], [1, 1]]
    given = ARRAYS[kind](X)
    for found in (attention(given, given, given), self_attention(given)):
        for got, expected in zip(found, self_attention(X), strict=True):
            assert got.dtype == np.float64
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", SCALARS)
def test_numbers_of_any_type(kind: str) -> None:
    one = SCALARS[kind](1)
    X = base_tokens(1.0)
    np.testing.assert_array_equal(base_tokens(one), X)
    np.testing.assert_array_equal(error_bound(one, one), error_bound(1.0, 1.0))
    assert exact_errors(one, one) == exact_errors(1.0, 1.0)
    for function in (self_attention, lambda X, scale: attention(X, X, X, scale)):
        for got, expected in zip(function(X, one), function(X, 1.0), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_small_types_do_not_wrap_around() -> None:
    X = np.array([[127, -128], [100, 100]], dtype=np.int8)
    np.testing.assert_array_equal(self_attention(X), self_attention(X.astype(float)))
    small: list[Any] = [np.int8(100), np.float16(2**-14), np.int8(127)]
    np.testing.assert_array_equal(error_bound(*small[:2]), error_bound(100.0, 2**-14))
    assert exact_errors(*small) == exact_errors(100.0, 2**-14, 127)


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=repr)
def test_what_is_no_number(wrong: Any) -> None:
    for name, function in (("beta", base_tokens), ("beta", error_bound)):
        with pytest.raises(TypeError, match=f"{name} must be a number"):
            function(wrong)
    for call in (
        lambda: error_bound(1.0, wrong),
        lambda: exact_errors(1.0, wrong),
        lambda: self_attention([[1.0]], wrong),
    ):
        with pytest.raises(TypeError, match="scale must be a number"):
            call()
    with pytest.raises(TypeError, match="d must be an integer"):
        base_tokens(1.0, wrong)
    with pytest.raises(TypeError, match="digits must be an integer"):
        exact_errors(1.0, 1.0, wrong)
    with pytest.raises((TypeError, ValueError), match="X must"):
        self_attention([[wrong]])


@pytest.mark.parametrize("value", COMPLEX, ids=repr)
def test_complex_numbers(value: Any) -> None:
    for name, call in (
        ("beta", lambda: base_tokens(value)),
        ("beta", lambda: error_bound(value)),
        ("beta", lambda: exact_errors(value)),
        ("scale", lambda: self_attention([[1.0]], value)),
        ("X", lambda: self_attention([[value]])),
    ):
        with pytest.raises(ValueError, match=f"{name} must be real"):
            call()


@pytest.mark.parametrize("number", [4.0, 4.5, np.float16(4), Fraction(4)])
def test_only_integers_count(number: Any) -> None:
    with pytest.raises(TypeError, match="d must be an integer"):
        base_tokens(1.0, number)
    with pytest.raises(TypeError, match="digits must be an integer"):
        exact_errors(1.0, digits=number)


# Queries that span hundreds of orders of magnitude


def exact_weights(q: list[float], k: list[list[float]]) -> list[float]:
    """Those of one query, by sums of fractions."""
    scores = [
        sum(Fraction(a) * Fraction(b) for a, b in zip(q, row, strict=True)) for row in k
    ]
    gaps = [float(max(score - max(scores), Fraction(-1000))) for score in scores]
    return [math.exp(gap) / math.fsum(map(math.exp, gaps)) for gap in gaps]


@pytest.mark.parametrize(
    ("q", "k"),
    [
        # the products that are left out are far too small to matter
        ([1e200, 1e-200], [[1e-200, 1e-200], [0.0, 1e-200]]),
        ([1e200, 1e-200], [[1e200, 1e200], [-1e200, 0.0], [1.0, 1.0]]),
        # 1e-299 times the largest features
        ([1e150, 1e-149], [[0.0, 1e149], [0.0, -1e149], [-1e149, 0.0]]),
    ],
)
def test_a_query_of_large_and_small_features(
    q: list[float], k: list[list[float]]
) -> None:
    weights, _ = attention([q], k, k)
    np.testing.assert_allclose(weights[0], exact_weights(q, k), rtol=1e-12)


def test_the_limit_of_what_a_query_can_span() -> None:
    """As the docstring says: a product of 1 beside the largest features, 1e400."""
    for q, k in (
        ([1e200, 1e-200], [[0.0, 1e200], [0.0, 0.0], [-1e200, 0.0]]),
        ([1e200, 1.0], [[0.0, 1.0], [0.0, 0.0], [-1e200, 0.0]]),
    ):
        assert exact_weights(q, k)[0] == pytest.approx(math.e / (1 + math.e))
        assert attention([q], k, k)[0].tolist() == [[0.5, 0.5, 0.0]]
