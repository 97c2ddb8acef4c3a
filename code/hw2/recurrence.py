"""Problem 1: what the recurrent network of Figure 1 computes.

One input, one linear hidden unit, one sigmoid output, no biases, ``h_0 = 0``:

    h_t = w_in x_t + w_rec h_{t-1},    y_t = sigma(w_out h_t),    t = 1, ..., T.

``step`` is the recurrence; ``run`` carries it out on numbers, the chapter on symbols
and on the unbounded integers of a solver. ``closed_form`` is h_T in terms of the
inputs, ``even_minus_odd`` what it comes to for an even T, and ``saturation`` tells from
where on sigma can't be told from a step.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp
import z3

from hw2.arguments import double, integer, number, real

W_IN, W_REC, W_OUT = 1, -1, 1000  # the numbers on the edges of Figure 1
PATIENCE = 10_000  # milliseconds for a proof by the solver

Integers = Sequence[int] | npt.NDArray[np.integer]


def step(h: Any, x: Any, w_in: Any = W_IN, w_rec: Any = W_REC) -> Any:
    """The hidden state after one more input, w_in x + w_rec h.

    Of whatever can be added and multiplied: numbers, SymPy's symbols, Z3's integers;
    numbers of NumPy and PyTorch are rounded, or wrap around, as their types do.
    """
    return w_in * x + w_rec * h


def sigmoid(z: float) -> float:
    """Logistic function 1 / (1 + exp(-z)) of a real number of any size, in a double.

    Raises ``TypeError`` for what is no number, ``ValueError`` for a complex one.
    """
    z = real(z, "z")
    tail = math.exp(-min(abs(z), 746))  # exp(-746) is already 0 in double precision
    return 1 / (1 + tail) if z >= 0 else tail / (1 + tail)


def run(
    x: Integers, w_in: float = W_IN, w_rec: float = W_REC, w_out: float = W_OUT
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.float64]]:
    """Run the network on a sequence of T >= 1 integers.

    Returns the hidden states ``h_1..h_T`` and the outputs ``y_1..y_T``, each of shape
    (T,). With whole weights the hidden states are exact: Python integers, of any size,
    in an array of objects. A weight that is not whole makes them floating-point. Whole
    numbers may be of any type, also of a floating-point one.

    Raises ``ValueError`` if ``x`` is empty, not one-dimensional or holds anything but
    whole numbers, or if a weight is complex or not finite; ``TypeError`` for what is no
    number; ``OverflowError`` if a weight that is not whole, or, with one, h_t or
    w_out h_t, can't be computed in the range of doubles.
    """
    x, w_in, w_rec, w_out = _checked(x, w_in, w_rec, w_out)
    h: float = 0
    hidden, outputs = [], []
    for t, x_t in enumerate(x, start=1):
        with _in_range(t):
            h = _finite(step(h, x_t, w_in, w_rec))
            y = sigmoid(w_out * h)
        hidden.append(h)
        outputs.append(y)
    return np.array(hidden, dtype=object), np.array(outputs)


def even_minus_odd(x: Integers) -> int:
    """The inputs at even positions minus those at odd ones, the first being x_1.

    Exact, for integers of any size. Raises ``ValueError`` if ``x`` is of odd length,
    empty, not one-dimensional, or holds anything but whole numbers; ``TypeError`` for
    what is no number.
    """
    x = _checked_pairs(x)
    return sum(x[1::2]) - sum(x[0::2])


def closed_form(
    T: int | sp.Expr, w_in: float | sp.Expr = W_IN, w_rec: float | sp.Expr = W_REC
) -> sp.Expr:
    """The last hidden state, h_T = sum over k of w_in w_rec^(T-k) x_k.

    For an integer ``T`` the expression is written out in the symbols ``x_1``, ...,
    ``x_T``; for a symbolic ``T`` it is a ``Sum`` over the indexed symbol ``x[k]``. The
    weights may be numbers or SymPy expressions. Raises ``ValueError`` for ``T < 1``,
    for weights that are not finite, and for a symbol ``k``, which is the index of the
    sum; ``TypeError`` for a ``T`` that is neither an integer nor a SymPy expression,
    and for weights that are neither numbers nor SymPy expressions.
    """
    T, w_in, w_rec = _checked_symbols(T, w_in, w_rec)
    if isinstance(T, int):
        steps = range(1, T + 1)
        return sp.Add(*(w_in * w_rec ** (T - k) * sp.Symbol(f"x_{k}") for k in steps))
    k = sp.Symbol("k", integer=True)
    return sp.Sum(w_in * w_rec ** (T - k) * sp.IndexedBase("x")[k], (k, 1, T))


def prove(claim: z3.BoolRef, *given: z3.BoolRef) -> None:
    """Prove that a claim follows from what is given, for all values of its variables.

    Z3 (de Moura and Bjorner, doi:10.1007/978-3-540-78800-3_24) looks for values that
    fulfil what is given and not the claim; its integers and real numbers are unbounded.
    Raises ``AssertionError`` with such values if there are any, or if nothing fulfils
    what is given, ``RuntimeError`` if the solver can't tell within ``PATIENCE``, and
    ``TypeError`` for what is no formula of Z3, such as a truth value of Python.
    """
    _check_formulas(claim, *given)
    solver = z3.Solver()
    solver.set(timeout=PATIENCE)
    solver.add(*given)
    if solver.check() == z3.unsat:
        raise AssertionError(f"what is given contradicts itself: {given}")
    solver.add(z3.Not(claim))
    answer = solver.check()
    if answer == z3.sat:
        raise AssertionError(f"not true, for example for {solver.model()}")
    if answer != z3.unsat:
        raise RuntimeError(f"neither proved nor refuted: {solver.reason_unknown()}")


def saturation(dtype: npt.DTypeLike) -> tuple[float, float]:
    """The z up to which sigma(z) rounds to 0, and that from which on it rounds to 1.

    For the exact sigma, rounded to the nearest number of a NumPy floating-point type,
    ties to even (IEEE 754, section 4.3.1): to 0 if it is at most half the smallest
    positive number, to 1 if it misses 1 by at most half the step below 1. Raises
    ``ValueError`` for a type that is not floating-point, ``TypeError`` for no type.
    """
    limits = np.finfo(_checked_floating(dtype))
    # eps = 2^-nmant, s = 2^(minexp - nmant); whole numbers, as 2 / s is no double.
    zero = -math.log(2 ** int(limits.nmant - limits.minexp + 1) - 1)  # sigma = s / 2
    one = math.log(2 ** int(limits.nmant + 2) - 1)  # 1 - sigma = eps / 4
    return zero, one


# Checks of what is given to the functions above.


def _checked(
    x: Integers, w_in: float, w_rec: float, w_out: float
) -> tuple[list[int], float, float, float]:
    inputs = _integers(x)
    w_in, w_rec = _number(w_in, "w_in"), _number(w_rec, "w_rec")
    return inputs, w_in, w_rec, _number(w_out, "w_out")


def _checked_pairs(x: Integers) -> list[int]:
    inputs = _integers(x)
    if len(inputs) % 2:
        raise ValueError(f"x must be of even length, got {len(inputs)} integers")
    return inputs


def _checked_symbols(
    T: int | sp.Expr, w_in: float | sp.Expr, w_rec: float | sp.Expr
) -> tuple[int | sp.Expr, sp.Expr, sp.Expr]:
    w_in, w_rec = _expression(w_in, "w_in"), _expression(w_rec, "w_rec")
    if not isinstance(T, sp.Expr):
        T = integer(T, "T")
    for name, weight in (("w_in", w_in), ("w_rec", w_rec)):
        if weight.is_finite is False or weight is sp.nan:
            raise ValueError(f"{name} must be finite, got {weight}")
    if any(symbol.name == "k" for symbol in sp.Tuple(T, w_in, w_rec).free_symbols):
        raise ValueError("k is the index of the sum and can't be given")
    if isinstance(T, sp.Expr) and not T.is_number:
        return T, w_in, w_rec
    length = integer(T, "T")
    if length < 1:
        raise ValueError(f"T must be at least 1, got {T}")
    return length, w_in, w_rec


def _expression(weight: float | sp.Expr, name: str) -> sp.Expr:
    if isinstance(weight, sp.Expr):
        return weight
    plain = number(weight, name)
    return sp.sympify(int(plain) if isinstance(plain, bool) else plain)


def _check_formulas(*formulas: z3.BoolRef) -> None:
    for formula in formulas:
        if not isinstance(formula, z3.BoolRef):
            raise TypeError(f"expected a formula of Z3, got {formula!r}")


def _checked_floating(dtype: npt.DTypeLike) -> np.dtype[Any]:
    if dtype is None:  # which NumPy takes for double precision
        raise TypeError("expected a floating-point type, got None")
    if not np.issubdtype(dtype, np.floating):
        raise ValueError(f"expected a floating-point type, got {dtype!r}")
    return np.dtype(dtype)


@contextmanager
def _in_range(t: int) -> Iterator[None]:
    """Say at which step a double overflows or can't hold an integer."""
    try:
        yield
    except OverflowError:
        message = f"h_{t} or w_out h_{t} is beyond the range of doubles"
        raise OverflowError(message) from None


def _finite(h: float) -> float:
    if not -math.inf < h < math.inf:
        raise OverflowError
    return h


def _integers(x: Integers) -> list[int]:
    if not _is_sequence(x) or len(x) == 0 or any(map(_is_sequence, x)):
        raise ValueError(f"x must be a sequence of T >= 1 integers, got {x!r}")
    inputs = []
    for i, value in enumerate(x):
        plain = _number(value, f"x[{i}]")
        if not isinstance(plain, int):
            raise ValueError(f"x[{i}] must be a whole number, got {value!r}")
        inputs.append(plain)
    return inputs


def _is_sequence(x: object) -> bool:
    """Whether it has a length and an order: an array with axes, a list, but no text."""
    listed = isinstance(x, Sequence) and not isinstance(x, str | bytes | bytearray)
    return listed or getattr(x, "ndim", 0) > 0


def _number(value: object, name: str) -> int | float:
    """A whole number as ``int``, for exact arithmetic, any other as ``float``."""
    plain = real(value, name)
    try:
        whole = int(plain)  # exact, which float is not
    except (OverflowError, ValueError):
        raise ValueError(f"{name} must be finite, got {value!r}") from None
    if whole == plain or not plain - whole:  # no Float of SymPy equals an integer
        return whole
    nearest = double(plain, name)
    if math.isinf(nearest):
        raise OverflowError(f"{name} is beyond the range of doubles, got {value!r}")
    return nearest
