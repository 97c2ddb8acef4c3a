"""Problem 2: self-attention in its basic form, where it copies, and how exactly.

Queries, keys and values are the tokens themselves and nothing is scaled: the rows of
``X`` are mapped to the rows of ``softmax(X X^T) X``. In NumPy, double precision.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def self_attention(X: npt.ArrayLike) -> tuple[Array, Array]:
    """Weights softmax(X X^T), of shape (T, T), and outputs softmax(X X^T) X, (T, d).

    ``X`` holds T tokens of d features in its rows. Any finite ``X`` is allowed: rows as
    large as 1e300, whose inner products no double can hold, give neither infinities nor
    NaN. Raises ``ValueError`` if ``X`` is not two-dimensional, is empty or is not
    finite.
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must be a matrix of tokens (T, d), got shape {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError(f"X must be finite, got {X[~np.isfinite(X)][0]}")

    # Powers of two scale without rounding. The queries are scaled one by one, so that
    # a small token next to a huge one keeps its digits.
    query_scale, key_scale = _power_of_two(X, axis=1), _power_of_two(X)
    scores = (X / query_scale) @ (X / key_scale).T
    gaps = scores - scores.max(axis=1, keepdims=True)  # 0 for the largest, else < 0
    with np.errstate(over="ignore"):  # a gap may become -inf, and exp(-inf) is 0
        weights = np.exp(gaps * query_scale * key_scale)
        weights /= weights.sum(axis=1, keepdims=True)
        outputs = weights @ X
    # A weighted mean lies between the tokens; rounding must not take it outside.
    return weights, np.clip(outputs, X.min(axis=0), X.max(axis=0))


def base_tokens(beta: float, d: int = 4) -> Array:
    """The tokens x_1 = d + b, x_2 = a, x_3 = c + b, in the rows of a (3, d) matrix.

    The base vectors a, b, c, d are ``beta`` times the first four unit vectors of a
    space of ``d >= 4`` dimensions; the result does not depend on which orthogonal
    vectors are taken. Raises ``ValueError`` for ``d < 4`` and for a ``beta`` that is
    negative or not finite.
    """
    if d < 4:
        raise ValueError(f"d must be at least 4 for four orthogonal vectors, got {d}")
    base_a, base_b, base_c, base_d = _norm(beta) * np.eye(4, d)
    return np.stack([base_d + base_b, base_a, base_c + base_b])


def error_bound(beta: float) -> Array:
    """Upper bounds on the norms of y_i - x_i, i = 1, 2, 3, for ``base_tokens(beta)``.

    The bounds are sqrt(2), sqrt(10) and sqrt(2) times beta exp(-beta^2), and hold for
    the exact outputs at every ``beta >= 0``. They are rounded upwards, hence never
    below the smallest normal double. Raises ``ValueError`` for a ``beta`` that is
    negative or not finite.
    """
    beta = min(_norm(beta), 1e3)  # beyond, the bound has long been below any double
    bound = np.sqrt([2.0, 10.0, 2.0]) * beta * np.exp(-(beta**2))
    # Rounding beta^2 < 746 makes the exponential wrong by less than one part in 1e12.
    upper: Array = np.maximum(bound * (1 + 1e-12), np.finfo(np.float64).tiny)
    return upper


def _power_of_two(X: Array, axis: int | None = None) -> Array:
    """The largest power of two that is at most the largest magnitude along an axis."""
    _, exponent = np.frexp(np.abs(X).max(axis=axis, keepdims=True))
    return np.asarray(np.ldexp(1.0, exponent - 1))


def _norm(beta: float) -> float:
    if not 0 <= beta < np.inf:
        raise ValueError(f"beta must be a finite norm, 0 or larger, got {beta}")
    return float(beta)
