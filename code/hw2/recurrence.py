"""Problem 1: what the recurrent network of Figure 1 computes.

One input, one linear hidden unit, one sigmoid output, no biases, ``h_0 = 0``:

    h_t = w_in x_t + w_rec h_{t-1},    y_t = sigma(w_out h_t),    t = 1, ..., T.

``run`` runs the network on numbers, ``closed_form`` gives ``h_T`` in terms of the
inputs.
"""

import math
import operator
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
import numpy.typing as npt
import sympy as sp


def sigmoid(z: float) -> float:
    """Logistic function 1 / (1 + exp(-z)) of a number of any size."""
    tail = math.exp(-min(abs(z), 746))  # exp(-746) is already 0 in double precision
    return 1 / (1 + tail) if z >= 0 else tail / (1 + tail)


def run(
    x: Sequence[int] | npt.NDArray[np.integer],
    w_in: float = 1,
    w_rec: float = -1,
    w_out: float = 1000,
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.float64]]:
    """Run the network on a sequence of T >= 1 integers.

    Returns the hidden states ``h_1..h_T`` and the outputs ``y_1..y_T``, each of shape
    (T,). With whole weights the hidden states are exact: Python integers, of any size,
    in an array of objects. A weight that is not whole makes them floating-point.

    Raises ``ValueError`` if ``x`` is empty, not one-dimensional or holds anything but
    whole numbers, or if a weight is not finite; ``TypeError`` for what is no number;
    ``OverflowError`` if a floating-point hidden state leaves the range of doubles.
    """
    if np.ndim(x) != 1 or len(x) == 0:
        raise ValueError(f"x must be a sequence of T >= 1 integers, got {x!r}")
    inputs = [_number(value, f"x[{i}]") for i, value in enumerate(x)]
    for i, value in enumerate(inputs):
        if not isinstance(value, int):
            raise ValueError(f"x[{i}] must be a whole number, got {value!r}")
    w_in, w_rec = _number(w_in, "w_in"), _number(w_rec, "w_rec")
    w_out = _number(w_out, "w_out")

    h: float = 0
    hidden, outputs = [], []
    for t, x_t in enumerate(inputs, start=1):
        h = w_in * x_t + w_rec * h
        if not -math.inf < h < math.inf:
            raise OverflowError(f"h_{t} is beyond the range of doubles: {h}")
        hidden.append(h)
        outputs.append(sigmoid(w_out * h))
    return np.array(hidden, dtype=object), np.array(outputs)


def closed_form(
    T: int | sp.Expr, w_in: float | sp.Expr = 1, w_rec: float | sp.Expr = -1
) -> sp.Expr:
    """The last hidden state, h_T = sum over k of w_in w_rec^(T-k) x_k.

    For an integer ``T`` the expression is written out in the symbols ``x_1``, ...,
    ``x_T``; for a symbolic ``T`` it is a ``Sum`` over the indexed symbol ``x[k]``. The
    weights may be numbers or symbols. Raises ``ValueError`` for ``T < 1`` and
    ``TypeError`` for a ``T`` that is neither an integer nor a SymPy expression.
    """
    if isinstance(T, sp.Expr) and not T.is_number:
        k = sp.Symbol("k", integer=True)
        return sp.Sum(w_in * w_rec ** (T - k) * sp.IndexedBase("x")[k], (k, 1, T))
    length = operator.index(T)
    if length < 1:
        raise ValueError(f"T must be at least 1, got {T}")
    return sp.Add(
        *(
            w_in * sp.sympify(w_rec) ** (length - k) * sp.Symbol(f"x_{k}")
            for k in range(1, length + 1)
        )
    )


def _number(value: object, name: str) -> int | float:
    """A whole number as ``int``, for exact arithmetic, any other as ``float``."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        if not isinstance(value, SupportsFloat):
            raise TypeError(f"{name} must be a number, got {value!r}") from None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return int(number) if number.is_integer() else number
