"""Problem 2: self-attention in its basic form, where it copies, and how exactly.

Queries, keys and values are the tokens themselves and nothing is scaled: the rows of
``X`` are mapped to the rows of ``softmax(X X^T) X``. With ``scale = 1 / sqrt(d)`` it is
the scaled form of Vaswani et al. (arXiv:1706.03762, equation 1). In NumPy, double
precision, except ``exact_errors``, which takes as many digits as it needs.
"""

import math

import mpmath
import numpy as np
import numpy.typing as npt

from hw2.arguments import double, integer, matrix

Array = npt.NDArray[np.float64]

# The tokens x_1 = d + b, x_2 = a, x_3 = c + b in the base vectors a, b, c, d.
TOKENS = ((0, 1, 0, 1), (1, 0, 0, 0), (0, 1, 1, 0))


def attention(
    q: npt.ArrayLike, k: npt.ArrayLike, v: npt.ArrayLike, scale: float = 1.0
) -> tuple[Array, Array]:
    """Weights softmax(scale q k^T), of shape (S, T), and outputs, (S, d_v).

    ``q`` holds S queries of d features in its rows, ``k`` and ``v`` T keys of d and T
    values of d_v features: arrays, tensors or lists of real numbers of any type.
    Anything finite is allowed: rows as large as 1e300, whose inner products no double
    can hold, give neither infinities nor NaN.

    A score q_i . k_j is the sum of its products q_if k_jf, rounded as doubles are. A
    product counts as zero, too, where it is below 1e-300 times the largest feature of
    q_i times the largest of all keys, in magnitude.

    Raises ``ValueError`` if a matrix is not two-dimensional, is empty, complex or not
    finite in double precision, if shapes do not match, or if ``scale`` is not positive
    and finite; ``TypeError`` for what is no number.
    """
    q, k, v, scale = _checked(q, k, v, scale)
    # Powers of two scale without rounding. The queries are scaled one by one, so that
    # a small token next to a huge one keeps its digits.
    query_scale, key_scale = _power_of_two(q, axis=1), _power_of_two(k)
    scores = (q / query_scale) @ (k / key_scale).T
    gaps = scores - scores.max(axis=1, keepdims=True)  # 0 for the largest, else < 0
    with np.errstate(over="ignore"):  # a gap may become -inf, and exp(-inf) is 0
        weights = np.exp(gaps * query_scale * key_scale * scale)
        weights /= weights.sum(axis=1, keepdims=True)
        outputs = weights @ v
    # A weighted mean lies between the values; rounding must not take it outside.
    return weights, np.clip(outputs, v.min(axis=0), v.max(axis=0))


def self_attention(X: npt.ArrayLike, scale: float = 1.0) -> tuple[Array, Array]:
    """Weights softmax(scale X X^T), of shape (T, T), and outputs, of shape (T, d).

    ``X`` holds T tokens of d features in its rows: ``attention`` with the tokens as
    queries, keys and values, and with its errors.
    """
    X = matrix(X, "X")
    return attention(X, X, X, scale)


def base_tokens(beta: float, d: int = 4) -> Array:
    """The tokens x_1 = d + b, x_2 = a, x_3 = c + b, in the rows of a (3, d) matrix.

    The base vectors a, b, c, d are ``beta`` times the first four unit vectors of a
    space of ``d >= 4`` dimensions; the result does not depend on which orthogonal
    vectors are taken. Raises ``ValueError`` for ``d < 4`` and for a ``beta`` that is
    negative or not finite, ``TypeError`` for what is no number or, ``d``, no integer.
    """
    beta, d = _checked_space(beta, d)
    return beta * np.array(TOKENS, dtype=np.float64) @ np.eye(4, d)


def error_bound(beta: float, scale: float = 1.0) -> Array:
    """Upper bounds on the norms of y_i - x_i, i = 1, 2, 3, for ``base_tokens(beta)``.

    The bounds are sqrt(2), sqrt(10) and sqrt(2) times beta exp(-scale beta^2), and hold
    for the exact outputs at every ``beta >= 0``. They are rounded upwards, hence never
    below the smallest normal double. Raises ``ValueError`` for a ``beta`` that is
    negative or not finite and a ``scale`` that is not positive and finite,
    ``TypeError`` for what is no number.
    """
    beta, scale = _checked_norm(beta), _checked_scale(scale)
    with np.errstate(divide="ignore", over="ignore"):
        # The square of beta alone may be infinite; the logarithm of 0 is.
        exponent = np.log(beta) - np.square(np.sqrt(scale) * beta)
        bound = np.sqrt([2.0, 10.0, 2.0]) * np.exp(exponent)
    # Rounding an exponent of less than 1500 changes its exponential by less than that.
    upper: Array = np.maximum(bound * (1 + 1e-11), np.finfo(np.float64).tiny)
    return upper


def exact_errors(
    beta: float, scale: float = 1.0, digits: int = 30
) -> tuple[mpmath.mpf, ...]:
    """The norms of y_i - x_i, i = 1, 2, 3, to ``digits`` digits, from the definition.

    Weights and outputs are computed as they are defined, in as many digits as the
    difference of output and token cancels, and ``digits`` more. Raises ``ValueError``
    for a ``beta`` that is negative or not finite, for a ``scale`` that is not positive
    and finite, for ``digits`` below 1, and where more than 100,000 digits are needed;
    ``TypeError`` for what is no number or, ``digits``, no integer.
    """
    beta, scale, digits = _checked_digits(beta, scale, digits)
    with mpmath.workdps(math.ceil(_cancelled(beta, scale)) + digits + 10):
        X = mpmath.mpf(beta) * mpmath.matrix(TOKENS)
        weights = (mpmath.mpf(scale) * X * X.T).apply(mpmath.exp)
        errors = []
        for i in range(3):
            row = weights[i, :] / mpmath.fsum(weights[i, :])
            errors.append(mpmath.norm(row * X - X[i, :]))
    with mpmath.workdps(digits):
        return tuple(+error for error in errors)


def _power_of_two(X: Array, axis: int | None = None) -> Array:
    """The largest power of two that is at most the largest magnitude along an axis."""
    _, exponent = np.frexp(np.abs(X).max(axis=axis, keepdims=True))
    return np.asarray(np.ldexp(1.0, exponent - 1))


def _cancelled(beta: float, scale: float) -> float:
    """How many digits output minus token cancels, log10 of exp(scale beta^2)."""
    return scale * beta * beta / math.log(10)


# Checks of what is given to the functions above.


def _checked(
    q: npt.ArrayLike, k: npt.ArrayLike, v: npt.ArrayLike, scale: float
) -> tuple[Array, Array, Array, float]:
    q, k, v = matrix(q, "q"), matrix(k, "k"), matrix(v, "v")
    if q.shape[1] != k.shape[1] or len(k) != len(v):
        raise ValueError(
            "q, k, v must be (S, d), (T, d), (T, d_v), "
            f"got {q.shape}, {k.shape}, {v.shape}"
        )
    return q, k, v, _checked_scale(scale)


def _checked_norm(beta: float) -> float:
    norm = double(beta, "beta")
    if not 0 <= norm < np.inf:
        raise ValueError(f"beta must be a finite norm, 0 or larger, got {beta}")
    return norm


def _checked_scale(scale: float) -> float:
    factor = double(scale, "scale")
    if not 0 < factor < np.inf:
        raise ValueError(
            f"scale must be positive and finite in double precision, got {scale}"
        )
    return factor


def _checked_space(beta: float, d: int) -> tuple[float, int]:
    d = integer(d, "d")
    if d < 4:
        raise ValueError(f"d must be at least 4 for four orthogonal vectors, got {d}")
    return _checked_norm(beta), d


def _checked_digits(beta: float, scale: float, digits: int) -> tuple[float, float, int]:
    beta, scale = _checked_norm(beta), _checked_scale(scale)
    digits = integer(digits, "digits")
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    if not _cancelled(beta, scale) + digits <= 100_000:
        raise ValueError(f"beta {beta} with scale {scale} needs too many digits")
    return beta, scale, digits
