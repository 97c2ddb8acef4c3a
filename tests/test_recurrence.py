"""The recurrent network: exact states, its closed form, the decision, bad input."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw2.recurrence import closed_form, run, sigmoid

integers = st.integers(-(10**40), 10**40)
sequences = st.lists(integers, min_size=1, max_size=30)
even_sequences = st.lists(st.tuples(integers, integers), min_size=1, max_size=15).map(
    lambda pairs: [value for pair in pairs for value in pair]
)


def in_symbols(expression: sp.Expr, x: list[int]) -> sp.Expr:
    """The expression with numbers for ``x_1``, ``x_2``, ..."""
    return expression.subs({sp.Symbol(f"x_{k}"): v for k, v in enumerate(x, start=1)})


def test_a_sequence_by_hand() -> None:
    hidden, outputs = run([3, 1, 4, 1, 5, 9])
    assert hidden.tolist() == [3, -2, 6, -5, 10, -1]
    assert outputs.tolist() == [1, 0, 1, 0, 1, 0]


@settings(deadline=None)
@given(even_sequences)
def test_an_even_length_compares_even_with_odd_positions(x: list[int]) -> None:
    hidden, outputs = run(x)
    difference = sum(x[1::2]) - sum(x[0::2])
    assert hidden[-1] == difference
    assert isinstance(hidden[-1], int)
    assert outputs[-1] == (difference > 0) + 0.5 * (difference == 0)


@settings(deadline=None)
@given(sequences)
def test_every_state_is_an_alternating_sum(x: list[int]) -> None:
    hidden, outputs = run(x)
    assert hidden.shape == outputs.shape == (len(x),)
    for t in range(1, len(x) + 1):
        assert hidden[t - 1] == sum((-1) ** (t - k) * x[k - 1] for k in range(1, t + 1))


@settings(deadline=None)
@given(st.lists(integers, min_size=1, max_size=6), *[st.integers(-9, 9)] * 2)
def test_closed_form_is_what_the_network_does(
    x: list[int], w_in: int, w_rec: int
) -> None:
    hidden, _ = run(x, w_in, w_rec)
    assert in_symbols(closed_form(len(x), w_in, w_rec), x) == hidden[-1]


@pytest.mark.parametrize("T", [1, 2, 5, 8])
def test_closed_form_for_a_symbol_and_for_a_number_agree(T: int) -> None:
    symbol = sp.Symbol("T", integer=True, positive=True)
    w_in, w_rec = sp.symbols("w_in w_rec")
    x = sp.IndexedBase("x")
    general = closed_form(symbol, w_in, w_rec).subs(symbol, T).doit()
    written_out = general.subs({x[k]: sp.Symbol(f"x_{k}") for k in range(1, T + 1)})
    assert sp.expand(written_out - closed_form(T, w_in, w_rec)) == 0


def test_closed_form_with_no_memory_is_the_last_input() -> None:
    assert closed_form(4, w_rec=0) == sp.Symbol("x_4")
    assert run([7, 8, 9], w_rec=0)[0].tolist() == [7, 8, 9]


@settings(deadline=None)
@given(sequences, st.integers(-3, 3), st.integers(-3, 3), st.integers(-5, 5))
def test_the_sign_of_the_output_weight(
    x: list[int], w_in: int, w_rec: int, w_out: int
) -> None:
    hidden, outputs = run(x, w_in, w_rec, w_out)
    for h, y in zip(hidden, outputs, strict=True):
        assert 0 <= y <= 1
        assert np.sign(y - 0.5) == np.sign(w_out * h)


def test_fractional_weights() -> None:
    hidden, outputs = run([1, 2], w_in=0.5, w_rec=0.25, w_out=1.0)
    assert hidden.tolist() == [0.5, 1.125]
    expected = torch.tensor([0.5, 1.125], dtype=torch.float64).sigmoid()
    assert outputs == pytest.approx(expected.numpy(), rel=1e-15)


@settings(deadline=None)
@given(st.floats(-700, 700))
def test_sigmoid(z: float) -> None:
    assert sigmoid(z) == pytest.approx(float(1 / (1 + sp.exp(sp.Float(-z, 30)))))
    assert sigmoid(z) + sigmoid(-z) == pytest.approx(1)


@pytest.mark.parametrize("z", [10**400, 1e308, math.inf])
def test_sigmoid_of_anything_large(z: float) -> None:
    assert (sigmoid(z), sigmoid(-z), sigmoid(0)) == (1, 0, 0.5)


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_kinds_of_sequences(make: Callable[[list[int]], Any]) -> None:
    assert run(make([5, 7, 2]))[0].tolist() == [5, 2, 0]


def test_numpy_integers_do_not_wrap_around() -> None:
    largest = np.iinfo(np.int64).max
    hidden, _ = run(np.array([-largest, largest]))
    assert hidden[-1] == 2 * int(largest)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([], "x must be"),
        ([[1, 2]], "x must be"),
        (3, "x must be"),
        ("12", "x must be"),
        ([1, 2.5], r"x\[1\].*2.5"),
        ([math.nan], r"x\[0\].*nan"),
        ([0, math.inf], r"x\[1\].*inf"),
    ],
)
def test_bad_sequences(x: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run(x)


@pytest.mark.parametrize("name", ["w_in", "w_rec", "w_out"])
def test_bad_weights(name: str) -> None:
    wrong: dict[str, Any] = {name: "1"}
    with pytest.raises(ValueError, match=name):
        run([1, 2], **{name: math.nan})
    with pytest.raises(TypeError, match=name):
        run([1, 2], **wrong)


def test_floating_point_overflow_is_an_error() -> None:
    with pytest.raises(OverflowError, match="h_3"):
        run([1, 0, 0], w_in=0.5, w_rec=1.5e300)
    assert run([1, 0, 0], w_rec=10**300)[0][-1] == 10**600


@pytest.mark.parametrize("T", [0, -2])
def test_closed_form_needs_a_step(T: int) -> None:
    with pytest.raises(ValueError, match="T"):
        closed_form(T)


def test_closed_form_needs_a_whole_number_of_steps() -> None:
    with pytest.raises(TypeError):
        closed_form(sp.Rational(5, 2))
    with pytest.raises(TypeError):
        closed_form("4")
