"""Self-attention against references, at any scale, and the bound on its copies."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sympy as sp
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hw2.attention import base_tokens, error_bound, self_attention

Array = npt.NDArray[np.float64]


def matrices(largest: float, max_side: int = 6) -> st.SearchStrategy[Array]:
    shapes = array_shapes(min_dims=2, max_dims=2, max_side=max_side)
    return arrays(np.float64, shapes, elements=st.floats(-largest, largest))


def exact_errors(beta: float) -> list[sp.Float]:
    """Norms of y_i - x_i to 40 digits, from the definition alone."""
    beta = sp.Float(sp.Rational(beta), 40)
    X = sp.Matrix([[0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0]]) * beta
    scores = (X * X.T).applyfunc(sp.exp)
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
@given(matrices(5))
def test_agrees_with_attention_of_torch(X: Array) -> None:
    tokens = torch.tensor(X)[None]
    reference = torch.nn.functional.scaled_dot_product_attention(
        tokens, tokens, tokens, scale=1.0
    )
    np.testing.assert_allclose(self_attention(X)[1], reference[0], atol=1e-12)


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
@given(st.floats(0, 40))
@example(0.0)
@example(26.6)  # where the bound leaves the normal doubles
@example(1e-300)
def test_bound_holds_for_exact_outputs_and_is_tight(beta: float) -> None:
    # A double is a rational number, so this compares without rounding.
    bounds = [sp.Rational(value) for value in error_bound(beta)]
    errors = exact_errors(beta)
    for bound, error in zip(bounds, errors, strict=True):
        assert error <= bound
        if 5 < beta < 26:
            assert error >= bound * (1 - sp.Rational(1, 10**9))


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


@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_bad_norms(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        base_tokens(beta)
    with pytest.raises(ValueError, match="beta"):
        error_bound(beta)


def test_too_few_dimensions() -> None:
    with pytest.raises(ValueError, match="3"):
        base_tokens(1.0, d=3)
