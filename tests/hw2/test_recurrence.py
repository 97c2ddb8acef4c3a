"""The recurrent network: exact states, its closed form, the decision, bad input."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import sympy as sp
import torch
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from hw2.recurrence import (
    W_OUT,
    closed_form,
    even_minus_odd,
    prove,
    run,
    saturation,
    sigmoid,
    step,
)
from number_types import ARRAYS, COMPLEX, NO_NUMBERS, REAL, REAL_TENSORS, SCALARS

integers = st.integers(-(10**40), 10**40)
sequences = st.lists(integers, min_size=1, max_size=30)
even_sequences = st.lists(st.tuples(integers, integers), min_size=1, max_size=15).map(
    lambda pairs: [value for pair in pairs for value in pair]
)


# Long ones, of numbers whose sums no double can hold: blocks, repeated and joined.
blocks = st.tuples(
    st.lists(st.integers(-(10**400), 10**400), min_size=1, max_size=12),
    st.integers(1, 300),
).map(lambda block: block[0] * block[1])
long_sequences = st.lists(blocks, min_size=1, max_size=3).map(
    lambda parts: [value for part in parts for value in part]
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
@given(long_sequences, st.integers(-1, 1))
def test_long_sequences_of_huge_numbers(x: list[int], difference: int) -> None:
    x = x[: len(x) // 2 * 2] or [0, 0]
    odd, even = sum(x[0::2]), sum(x[1::2])
    assert even_minus_odd(x) == even - odd
    x[-1] += difference - (even - odd)  # as close to a tie as integers can be
    hidden, outputs = run(x)
    assert hidden[-1] == difference == even_minus_odd(x)
    assert outputs[-1] == 0.5 + 0.5 * difference
    assert hidden[-2] == x[-1] - difference  # an odd length: odd minus even


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
    with pytest.raises(OverflowError, match="h_3"):
        run([-1, 0, 0], w_in=0.5, w_rec=1.5e300)
    assert run([1, 0, 0], w_rec=10**300)[0][-1] == 10**600


def test_an_integer_that_no_double_can_hold() -> None:
    for weights in ({"w_out": 0.5}, {"w_in": 0.5}):
        with pytest.raises(OverflowError, match="h_1"):
            run([10**400, 0], **weights)


@pytest.mark.parametrize("kind", [Fraction, Decimal, np.longdouble, float])
def test_whole_numbers_of_other_kinds_are_exact(kind: Callable[[int], Any]) -> None:
    exact = 2**60 if kind is float else 10**18 + 1
    assert run([kind(exact)])[0].tolist() == [exact]
    with pytest.raises(ValueError, match="whole"):
        run([kind(1) / 2])


def test_huge_whole_numbers_of_other_kinds_are_exact() -> None:
    for kind in (Fraction, Decimal):
        x: Any = [kind(10**25 + 1), 0]
        assert run(x)[0].tolist() == [10**25 + 1, -(10**25) - 1]


def test_text_is_no_number() -> None:
    for x in (["1", "2"], np.array(["1", "2"])):
        wrong: Any = x
        with pytest.raises((TypeError, ValueError), match=r"x\[0\]"):
            run(wrong)


@pytest.mark.parametrize("weight", [math.nan, math.inf, sp.nan, sp.oo, sp.zoo])
def test_closed_form_needs_finite_weights(weight: Any) -> None:
    for weights in ({"w_in": weight}, {"w_rec": weight}):
        with pytest.raises(ValueError, match="finite"):
            closed_form(3, **weights)


def test_the_index_of_the_sum_is_no_length() -> None:
    T, k = sp.symbols("T k")
    for length, weight in ((k, 1), (T, k), (3, k)):
        with pytest.raises(ValueError, match="k is the index"):
            closed_form(length, weight)


@pytest.mark.parametrize("T", [0, -2])
def test_closed_form_needs_a_step(T: int) -> None:
    with pytest.raises(ValueError, match="T"):
        closed_form(T)


def test_closed_form_needs_a_whole_number_of_steps() -> None:
    with pytest.raises(TypeError):
        closed_form(sp.Rational(5, 2))
    with pytest.raises(TypeError):
        closed_form("4")


def test_a_step_is_the_same_on_numbers_symbols_and_a_solver() -> None:
    assert step(5, 3) == -2
    assert step(5, 3, 2, 10) == 56
    h, x, w_in, w_rec = sp.symbols("h x w_in w_rec")
    assert step(h, x, w_in, w_rec) == w_in * x + w_rec * h
    z3_h, z3_x = z3.Ints("h x")
    prove(step(z3_h, z3_x) == z3_x - z3_h)


def test_what_is_not_true_is_not_proved() -> None:
    even, odd = z3.Ints("even odd")
    prove(z3.Or(even == odd, even - odd >= 1, odd - even >= 1))
    prove(even > odd, even >= odd, even != odd)
    with pytest.raises(AssertionError, match=r"for example.*even = "):
        prove(even > odd, even >= odd)
    even, odd = z3.Reals("even odd")
    with pytest.raises(AssertionError, match="for example"):
        prove(z3.Or(even == odd, even - odd >= 1, odd - even >= 1))


def test_nothing_follows_from_a_contradiction() -> None:
    x = z3.Int("x")
    with pytest.raises(AssertionError, match="contradicts"):
        prove(x > 5, x > 1, x < 0)


def test_what_cannot_be_told_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hw2.recurrence.PATIENCE", 100)
    x, y, z = z3.Ints("x y z")
    with pytest.raises(RuntimeError, match="neither proved nor refuted"):
        prove(x**3 + y**3 + z**3 != 42, x > 10**9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_saturation_is_where_rounding_changes(dtype: npt.DTypeLike) -> None:
    zero, one = saturation(dtype)
    limits = np.finfo(np.dtype(dtype))
    with mpmath.workdps(400):
        # Just inside, the nearest numbers are the smallest one and the one below 1.
        for limit, value, neighbour in (
            (zero, 0, float(limits.smallest_subnormal)),
            (one, 1, float(1 - limits.epsneg)),
        ):
            midpoint = (mpmath.mpf(value) + mpmath.mpf(neighbour)) / 2
            sigma = 1 / (1 + mpmath.exp(-mpmath.mpf(limit)))
            distance = min(midpoint, 1 - midpoint)  # from the nearer end
            assert abs(sigma - midpoint) < 1e-12 * distance


def test_saturation_by_rounding_every_neighbour() -> None:
    zero, one = saturation("float32")
    for limit, value in ((zero, 0), (one, 1)):
        with mpmath.workdps(60):
            sigma = [1 / (1 + mpmath.exp(-limit * f)) for f in (1.00001, 0.99999)]
        beyond, before = (np.float32(float(s)) for s in sigma)
        assert beyond == value != before
    assert max(-zero, one) < W_OUT


@pytest.mark.parametrize("dtype", [np.int64, np.complex128, bool])
def test_only_floating_point_saturates(dtype: Any) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        saturation(dtype)


@pytest.mark.parametrize("length", [1, 3, 17])
def test_an_odd_length_where_an_even_one_is_promised(length: int) -> None:
    with pytest.raises(ValueError, match=f"even length, got {length}"):
        even_minus_odd([1] * length)


@pytest.mark.parametrize("x", [[], [[1, 2]], [1, 2.5], [1, math.nan], 3, "12"])
def test_bad_sequences_have_no_sums(x: Any) -> None:
    with pytest.raises(ValueError, match="x"):
        even_minus_odd(x)


def test_numpy_sums_do_not_wrap_around() -> None:
    smallest = np.iinfo(np.int64).min
    assert even_minus_odd(np.array([smallest, -1 - smallest])) == 2**64 - 1


# Numbers of every type


@pytest.mark.parametrize("kind", ARRAYS)
def test_inputs_of_any_type(kind: str) -> None:
    make = ARRAYS[kind]
    for x in (make([1, 0, 1, 1]), [make(1), make(0), make(1), make(1)]):
        if kind == "sparse" and isinstance(x, list):
            continue
        hidden, outputs = run(x)
        assert hidden.tolist() == [1, -1, 2, -1] and type(hidden[0]) is int
        assert outputs.tolist() == [1, 0, 1, 0]
        assert even_minus_odd(x) == -1


@pytest.mark.parametrize("kind", SCALARS)
def test_weights_of_any_type(kind: str) -> None:
    one = SCALARS[kind](1)
    hidden, outputs = run([1, 2], one, one, one)
    assert hidden.tolist() == [1, 3] and type(hidden[0]) is int
    assert outputs.tolist() == [sigmoid(1), sigmoid(3)]
    assert sigmoid(one) == sigmoid(1.0) and type(sigmoid(one)) is float
    difference = closed_form(2, one, one) - sum(sp.symbols("x_1 x_2"))
    assert sp.nsimplify(difference) == 0


@pytest.mark.parametrize("dtype", [d for d in REAL if d != np.bool_], ids=str)
def test_the_largest_numbers_of_numpy(dtype: np.dtype[Any]) -> None:
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    ends = np.array([limits.min, limits.max], dtype=dtype)
    low, high = map(int, ends)
    assert run(ends)[0].tolist() == [low, high - low]
    assert run([0, 1], ends[1], ends[0])[0].tolist() == [0, high]
    assert [sigmoid(end) for end in ends] == [sigmoid(low), sigmoid(high)]
    if dtype.kind != "f":
        doubled = closed_form(2, ends[1], 2)
        assert doubled == high * (2 * sp.Symbol("x_1") + sp.Symbol("x_2"))


def test_numbers_between_the_integers() -> None:
    halves: list[Any] = [
        *(np.float16(0.5), torch.tensor(0.5).bfloat16(), Fraction(1, 2), sp.Float(0.5)),
        *(Decimal("0.5"), np.longdouble(0.5), sp.Rational(1, 2), mpmath.mpf(0.5)),
    ]
    for half in halves:
        assert run([1, 2], w_in=half)[0].tolist() == [0.5, 0.5]
        assert sigmoid(half) == sigmoid(0.5)
        with pytest.raises(ValueError, match=r"x\[0\] must be a whole number"):
            run([half])


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=repr)
def test_what_is_no_number(wrong: Any) -> None:
    with pytest.raises(TypeError, match="z must be a number"):
        sigmoid(wrong)
    for name in ("w_in", "w_rec", "w_out"):
        with pytest.raises(TypeError, match=f"{name} must be a number"):
            run([1, 2], **{name: wrong})
    for take in (run, even_minus_odd):
        with pytest.raises((TypeError, ValueError), match=r"^x"):
            take([wrong, wrong])
    if not isinstance(wrong, sp.Symbol):
        for name in ("w_in", "w_rec"):
            with pytest.raises(TypeError, match=f"{name} must be a number"):
                closed_form(2, **{name: wrong})
        with pytest.raises(TypeError, match="T must be an integer"):
            closed_form(wrong)


@pytest.mark.parametrize("value", COMPLEX, ids=repr)
def test_complex_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match="z must be real"):
        sigmoid(value)
    for name in ("w_in", "w_rec", "w_out"):
        with pytest.raises(ValueError, match=f"{name} must be real"):
            run([1, 2], **{name: value})
    for take in (run, even_minus_odd):
        with pytest.raises(ValueError, match=r"x\[0\] must be real"):
            take([value, value])
    expected = sp.sympify(complex(value)) * sp.Symbol("x_1")
    assert sp.simplify(closed_form(1, value) - expected) == 0


def test_lengths_of_any_type() -> None:
    for dtype in (dtype for dtype in REAL if dtype.kind in "iu"):
        assert closed_form(dtype.type(3)) == closed_form(3)
    for kind in (dtype for dtype in REAL_TENSORS if dtype != torch.bool):
        length: Any = torch.tensor(3).to(kind)
        if kind.is_floating_point:
            with pytest.raises(TypeError, match="T must be an integer"):
                closed_form(length)
        else:
            assert closed_form(length) == closed_form(3)


def test_types_that_do_not_saturate() -> None:
    for dtype in REAL:
        if dtype.kind == "f":
            zero, one = saturation(dtype)
            assert -math.inf < zero < 0 < one < math.inf
        else:
            with pytest.raises(ValueError, match="floating-point"):
                saturation(dtype)
    for wrong in (None, "no type", 3, np.floating, *REAL_TENSORS):
        with pytest.raises(TypeError):
            saturation(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [True, np.bool_(True), None, z3.Int("x"), sp.true])
def test_only_formulas_are_proved(wrong: Any) -> None:
    for formulas in ((wrong,), (z3.Int("x") == 1, wrong)):
        with pytest.raises(TypeError, match="expected a formula of Z3"):
            prove(*formulas)
