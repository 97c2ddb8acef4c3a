"""What functions of numbers are given: of Python, NumPy, PyTorch, SymPy or mpmath."""

import math
import numbers
import operator
from fractions import Fraction
from typing import Any, SupportsFloat

import numpy as np
import numpy.typing as npt


def number(value: Any, name: str) -> Any:
    """A number as it is, one of NumPy or PyTorch as Python's of the same value.

    So it can neither wrap around nor be rounded to few digits in what follows; one of
    extended precision becomes a fraction. Raises ``TypeError`` for what is no number:
    text, an array with axes, nothing.
    """
    plain = value
    if hasattr(value, "item"):
        is_time = getattr(value.dtype, "kind", "") in ("m", "M")
        try:
            plain = None if value.ndim or is_time else value.item()
        except RuntimeError:  # a tensor without a value
            plain = None
    if np.ma.is_masked(value) or not isinstance(plain, numbers.Number | SupportsFloat):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if isinstance(plain, np.longdouble) and np.isfinite(plain):
        return Fraction(*plain.as_integer_ratio())
    return complex(plain) if isinstance(plain, np.clongdouble) else plain


def real(value: Any, name: str) -> Any:
    """``number``, with a ``ValueError`` for one of a complex type."""
    plain = number(value, name)
    if isinstance(plain, numbers.Complex) and not isinstance(plain, numbers.Real):
        raise ValueError(f"{name} must be real, got {value!r}")
    try:
        float(plain)
    except TypeError:  # a symbol
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except (OverflowError, ValueError):  # too large, or a decimal nan that signals
        pass
    return plain


def double(value: Any, name: str) -> float:
    """The double that is nearest to a real number, infinite beyond their range.

    With the errors of ``real``.
    """
    plain = real(value, name)
    try:
        return float(plain)
    except OverflowError:
        return math.inf if plain > 0 else -math.inf
    except ValueError:
        return math.nan


def integer(value: Any, name: str) -> int:
    """An integer; ``TypeError`` for anything else, a whole number of a float, too."""
    try:
        return operator.index(number(value, name))
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def matrix(values: Any, name: str) -> npt.NDArray[np.float64]:
    """A matrix in double precision, of an array, a tensor, or rows in lists.

    Raises ``ValueError`` if it is not two-dimensional, is empty, complex, masked in
    part or not finite in double precision, ``TypeError`` for entries that are no
    numbers.
    """
    plain = _arrays(values, name)
    try:
        array = np.asarray(plain)
    except ValueError:
        raise ValueError(f"{name} must be a matrix, got rows of other shapes") from None
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{name} must be a matrix with a row for each token and not empty, "
            f"got shape {array.shape}"
        )
    if array.dtype.kind == "c":
        raise ValueError(f"{name} must be real, got complex numbers")
    if array.dtype.kind == "O":
        entry = f"each entry of {name}"
        array = np.array([[double(x, entry) for x in row] for row in array])
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {array.dtype}")
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.float64] = np.array(array, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite, got {found[~np.isfinite(found)][0]}")
    return found


def _arrays(values: Any, name: str) -> Any:
    """Tensors as arrays, in lists, too: of any float type, with or without gradient."""
    if isinstance(values, list | tuple):
        return [_arrays(item, name) for item in values]
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must have no masked entries")
    if not hasattr(values, "detach"):
        return values
    if values.is_meta:  # a shape without values
        raise TypeError(f"{name} must hold numbers, got {values!r}")
    tensor = values.detach().to_dense().cpu()
    return (tensor.cfloat() if tensor.is_complex() else tensor.double()).numpy()
