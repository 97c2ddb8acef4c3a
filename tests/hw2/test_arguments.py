"""What is taken for a number, and as which one."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from hw2.arguments import double, integer, matrix, number, real
from number_types import ARRAYS, COMPLEX, NO_NUMBERS, REAL, REAL_TENSORS, SCALARS


def test_every_type_is_tried() -> None:
    assert {"float16", "float64", "uint64", "int8", "bool"} <= {d.name for d in REAL}
    assert {torch.bfloat16, torch.half, torch.uint8, torch.bool} <= {*REAL_TENSORS}
    assert len(COMPLEX) > 6


@pytest.mark.parametrize("kind", SCALARS)
def test_a_number_is_the_same_number(kind: str) -> None:
    one = SCALARS[kind](1)
    for read in (number, real, double):
        assert float(read(one, "a")) == 1
        assert not isinstance(read(one, "a"), np.ndarray | torch.Tensor)
    assert type(double(one, "a")) is float


def test_an_integer_is_exact_or_none() -> None:
    for value in (np.uint64(2**64 - 1), torch.tensor(2**53 + 1), np.array(3), True):
        assert integer(value, "a") == int(value)
    for wrong in (1.0, np.float16(1), torch.tensor(1.0), Fraction(2), *NO_NUMBERS):
        with pytest.raises(TypeError, match="a must be an integer, got"):
            integer(wrong, "a")


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=repr)
def test_what_is_no_number(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a must be a number, got"):
        double(wrong, "a")


@pytest.mark.parametrize("value", COMPLEX, ids=repr)
def test_a_complex_number_is_not_real(value: Any) -> None:
    assert complex(number(value, "a")) == complex(value)
    for read in (real, double):
        with pytest.raises(ValueError, match="a must be real, got"):
            read(value, "a")


def test_doubles_beyond_their_range() -> None:
    tiny: list[Any] = [np.longdouble("1e-4000"), Fraction(1, 10**400)]
    huge: list[Any] = [np.longdouble("1e4000"), 10**400, Decimal("1e400")]
    for value in tiny:
        assert double(value, "a") == 0
    for value in huge:
        assert (double(value, "a"), double(-value, "a")) == (math.inf, -math.inf)
    for value in (np.nan, Decimal("nan"), Decimal("snan"), torch.tensor(math.nan)):
        assert math.isnan(double(value, "a"))


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_matrix_of_any_type(kind: str) -> None:
    make = ARRAYS[kind]
    whole, rows = make([[1, 0], [1, 1]]), [make([1, 0]), make([1, 1])]
    for given in (whole, rows, tuple(rows)):
        found = matrix(given, "X")
        assert found.dtype == np.float64 and type(found) is np.ndarray
        assert found.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("kind", SCALARS)
def test_a_matrix_of_single_numbers(kind: str) -> None:
    make = SCALARS[kind]
    assert matrix([[make(1), make(0)]], "X").tolist() == [[1, 0]]


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=repr)
def test_what_no_matrix_holds(wrong: Any) -> None:
    objects = np.empty((1, 1), dtype=object)
    objects[0, 0] = wrong
    with pytest.raises((TypeError, ValueError), match="X must"):
        matrix([[wrong]], "X")
    with pytest.raises((TypeError, ValueError), match="X must"):
        matrix(objects, "X")


@pytest.mark.parametrize("value", COMPLEX, ids=repr)
def test_a_matrix_of_complex_numbers(value: Any) -> None:
    for given in ([[value]], np.array([[complex(value)]], dtype=object)):
        with pytest.raises(ValueError, match="X must be real, got"):
            matrix(given, "X")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([[1], [2, 3]], "rows of other shapes"),
        (np.ma.masked_array([[1, 2]], [[False, True]]), "no masked entries"),
        ([np.ma.masked_array([1, 2], [False, True])], "no masked entries"),
        (torch.ones(2, 2).to_sparse()[0], r"got shape \(2,\)"),
        ([[10**400]], "finite, got inf"),
        ([[np.longdouble("-1e4000")]], "finite, got -inf"),
        (torch.tensor([[1.0, math.nan]]).bfloat16(), "finite, got nan"),
        ("12", r"got shape \(\)"),
        ({1: 2}, r"got shape \(\)"),
    ],
)
def test_what_is_no_matrix(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"X must .*{says}"):
        matrix(wrong, "X")
