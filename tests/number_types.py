"""Numbers of every type that may be given to a function, and what is no number."""

import datetime
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import sympy as sp
import torch


def _can_hold(dtype: torch.dtype) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some complex types are experimental
            return torch.tensor([1, 0]).to(dtype).tolist() == [1, 0]
    except (RuntimeError, NotImplementedError):  # made for other things
        return False


LETTERS = "?" + np.typecodes["AllInteger"] + np.typecodes["Float"]
REAL = sorted({np.dtype(letter) for letter in LETTERS}, key=str)
TENSORS = {found for found in vars(torch).values() if isinstance(found, torch.dtype)}
TENSORS = {dtype for dtype in TENSORS if _can_hold(dtype)}
REAL_TENSORS = sorted({dtype for dtype in TENSORS if not dtype.is_complex}, key=str)
COMPLEX_TENSORS = sorted(TENSORS - {*REAL_TENSORS}, key=str)
Make = Callable[[Any], Any]


def of_numpy(dtype: np.dtype[Any]) -> Make:
    return lambda value: np.array(value).astype(dtype)[()]


def of_torch(dtype: torch.dtype) -> Make:
    return lambda value: torch.tensor(value).to(dtype)


# What makes an array or a tensor of numbers, or a single one, from Python's.
ARRAYS: dict[str, Make] = {
    **{f"numpy {dtype}": of_numpy(dtype) for dtype in REAL},
    **{str(dtype): of_torch(dtype) for dtype in REAL_TENSORS},
    "objects": lambda value: np.array(value, dtype=object),
    "with gradient": lambda value: torch.tensor(value).double().requires_grad_(),
    "sparse": lambda value: torch.tensor(value).to_sparse(),
    "without a mask": lambda value: np.ma.masked_array(value, mask=False),
}
SCALARS: dict[str, Make] = {
    **{name: make for name, make in ARRAYS.items() if name != "sparse"},
    "without axes": lambda value: np.array(value),
    **{kind.__name__: kind for kind in (bool, int, float, Fraction, Decimal)},
    **{kind.__name__: kind for kind in (sp.Integer, sp.Float, sp.Rational, mpmath.mpf)},
}
COMPLEX: list[Any] = [
    1j,
    complex(1),
    *(np.dtype(letter).type(1) for letter in np.typecodes["Complex"]),
    *(torch.tensor(1).to(dtype) for dtype in COMPLEX_TENSORS),
]
NO_NUMBERS: list[Any] = [
    *("1", b"1", np.str_("1"), np.bytes_(b"1"), np.array("1")),
    *(None, ..., [1], (1,), {1: 1}, np.array([1]), torch.tensor([1.0])),
    *(np.ma.masked, np.datetime64(1, "ns"), np.timedelta64(1, "ns")),
    *(datetime.date(2024, 3, 25), torch.tensor(1.0, device="meta"), sp.Symbol("a")),
]
