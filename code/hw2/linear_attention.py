"""Problem 3: self-attention without the exponential, in O(T^2) and in O(T).

Dot-product attention whose weights are the dot products themselves, divided by their
sum over the row:

    y_i = sum_j (q_i . k_j) v_j / sum_j (q_i . k_j).

Queries and keys are (..., T, d), values (..., T, d_v), outputs (..., T, d_v); leading
axes are a batch, the same for all three. Every function is differentiable. The weights
are positive if all dot products are, for instance because queries and keys went through
``feature_map`` (Katharopoulos et al., arXiv:2006.16236, section 3.2); the functions ask
no more than what they divide by: a normaliser that is finite and not 0. All raise
``ValueError`` if that fails, if an input is empty or not finite, or if shapes or types
do not match, and ``TypeError`` for inputs that are not floating-point. An output that
leaves the range of its type becomes infinite, as in any product of matrices.

``scaling`` counts and measures what they cost.
"""

from collections.abc import Callable

import torch
from torch import Tensor

QKV = tuple[Tensor, Tensor, Tensor]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def quadratic(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Linear attention by its definition, in O(T^2): all T x T weights are formed."""
    q, k, v = _checked(q, k, v)
    weights = q @ k.mT  # (..., T, T)
    return weights @ v / _nonzero(weights.sum(-1, keepdim=True))


def linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same function in O(T): keys meet values first, in a d x d_v matrix."""
    q, k, v = _checked(q, k, v)
    state = k.mT @ v  # (..., d, d_v), sum over j of k_j v_j^T
    key_sum = k.sum(-2).unsqueeze(-1)  # (..., d, 1)
    return q @ state / _nonzero(q @ key_sum)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Its autoregressive form, y_i from the tokens j <= i alone, as a recurrence.

    One step costs O(d d_v) and needs only the state of the step before, whatever T
    (Katharopoulos et al., arXiv:2006.16236, section 3.4).
    """
    q, k, v = _checked(q, k, v)
    batch, d, d_v = k.shape[:-2], k.shape[-1], v.shape[-1]
    state, key_sum = k.new_zeros(*batch, d, d_v), k.new_zeros(*batch, d)
    outputs = []
    for q_t, k_t, v_t in zip(q.unbind(-2), k.unbind(-2), v.unbind(-2), strict=True):
        state = state + k_t.unsqueeze(-1) * v_t.unsqueeze(-2)
        key_sum = key_sum + k_t
        normaliser = _nonzero((q_t * key_sum).sum(-1, keepdim=True))
        outputs.append((q_t.unsqueeze(-2) @ state).squeeze(-2) / normaliser)
    return torch.stack(outputs, dim=-2)


def feature_map(x: Tensor) -> Tensor:
    """elu(x) + 1, that is x + 1 for x > 0 and e^x for x <= 0; a tensor like ``x``.

    Positive features have positive dot products (Katharopoulos et al.,
    arXiv:2006.16236, equation 7). They are positive up to where e^x rounds to 0, x =
    -745 in double and -103 in single precision; ``elu(x) + 1`` as it is written would
    round to 0 from x = -38 and -18 on.
    """
    # The exponential of a large x, not taken, would spoil the gradient all the same.
    return torch.where(x > 0, x + 1, x.masked_fill(x > 0, 0).exp())


def crossover(d: int, d_v: int) -> float:
    """The T above which ``linear`` needs fewer operations than ``quadratic``.

    The counts 2 T^2 (d + d_v) and 4 T d d_v + 2 T d are equal there. Raises
    ``ValueError`` for sizes below 1.
    """
    if not min(d, d_v) >= 1:
        raise ValueError(f"d and d_v must be at least 1, got {d} and {d_v}")
    return d * (2 * d_v + 1) / (d + d_v)


def _checked(q: Tensor, k: Tensor, v: Tensor) -> QKV:
    q, k, v = (torch.as_tensor(tensor) for tensor in (q, k, v))
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating-point, got {tensor.dtype}")
        if tensor.ndim < 2 or tensor.numel() == 0:
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} must be (..., T, features), got shape {shape}")
        # One pass without a copy; NaN comes through as both.
        if not torch.stack(tensor.detach().aminmax()).isfinite().all():
            raise ValueError(f"{name} must be finite, and holds inf or nan")
    if q.shape != k.shape or k.shape[:-1] != v.shape[:-1]:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (q, k, v))
        raise ValueError(
            f"q, k, v must be (..., T, d), (..., T, d), (..., T, d_v), got {shapes}"
        )
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k, v differ in type: {q.dtype}, {k.dtype}, {v.dtype}")
    return q, k, v


def _nonzero(normaliser: Tensor) -> Tensor:
    if not normaliser.isfinite().all() or (normaliser == 0).any():
        raise ValueError(
            "the normaliser, the sum over j of q_i . k_j, must be finite and not 0"
        )
    return normaliser
