"""Problem 3: self-attention without the exponential, in O(T^2) and in O(T).

Dot-product attention whose weights are the dot products themselves, divided by their
sum over the row:

    y_i = sum_j (q_i . k_j) v_j / sum_j (q_i . k_j).

Queries and keys are (..., T, d), values (..., T, d_v), outputs (..., T, d_v); leading
axes are a batch, the same for all three. They are dense tensors, arrays or lists of one
type: float64, float32, float16 or bfloat16. The last two are computed in float32 and
rounded once, at the end; that is wide enough for all products of float16. Every
function is differentiable.

The weights are positive if all dot products are, for instance because queries and keys
went through ``feature_map`` (Katharopoulos et al., arXiv:2006.16236, section 3.2). The
functions ask less: a normaliser that is finite and not 0, nor so small that its inverse
is infinite. They raise ``ValueError`` if that fails, if an input is empty or not
finite, or if shapes, types or devices do not match, and ``TypeError`` for inputs of
other types. A product that leaves the range of the type it is computed in becomes
infinite, as in any product of matrices.

``scaling`` counts and measures what they cost.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hw2.arguments import integer

QKV = tuple[Tensor, Tensor, Tensor]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
BLOCK = 64  # tokens; for d = 64 on a CPU no slower than 32, 128 and 256


def normalised(
    sums: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]],
) -> Attention:
    """Attention as the quotient of two sums over the tokens j.

    ``sums`` gives those of (q_i . k_j) v_j, (..., T, d_v), and of q_i . k_j, (..., T,
    1). Inputs are checked, and half precision is made single. An input that is not
    finite shows in the result, so the inputs are searched for it only then.
    """

    @functools.wraps(sums)
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = _checked(q, k, v)
        dtype = q.dtype
        if dtype.itemsize < 4:
            q, k, v = q.float(), k.float(), v.float()
        weighted, normaliser = sums(q, k, v)
        # The gradient of a product takes fewer passes over y than that of a quotient.
        inverse = normaliser.reciprocal()
        y = weighted * inverse
        usable = _is_finite(inverse) and bool(inverse.all())  # all(): none is 0
        if not (usable and _is_finite(y)):
            for name, tensor in (("q", q), ("k", k), ("v", v)):
                if not _is_finite(tensor):
                    raise ValueError(f"{name} must be finite, and holds inf or nan")
        if not usable:
            raise ValueError(
                "the normaliser, the sum over j of q_i . k_j, must be finite and not 0"
            )
        return y.to(dtype)

    return attention


@normalised
def quadratic(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Linear attention by its definition, in O(T^2): all T x T weights are formed."""
    weights = q @ k.mT  # (..., T, T)
    return weights @ v, weights @ _ones(v)


@normalised
def linear(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The same function in O(T): keys meet values first, in a d x d_v matrix."""
    state = k.mT @ v  # (..., d, d_v), sum over j of k_j v_j^T
    key_sum = k.mT @ _ones(v)  # (..., d, 1)
    return q @ state, q @ key_sum


@normalised
def recurrent(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """Its autoregressive form, y_i from the tokens j <= i alone, as a recurrence.

    One step costs O(d d_v) and needs only the state of the step before, whatever T
    (Katharopoulos et al., arXiv:2006.16236, section 3.4).
    """
    d_v, v = v.shape[-1], pad(v, (0, 1), value=1.0)  # a column of ones adds up the keys
    state = k.new_zeros(*k.shape[:-2], k.shape[-1], d_v + 1)
    sums = []
    for q_i, k_i, v_i in zip(q.unbind(-2), k.unbind(-2), v.unbind(-2), strict=True):
        state = state + k_i.unsqueeze(-1) * v_i.unsqueeze(-2)
        sums.append(q_i.unsqueeze(-2) @ state)
    return torch.split(torch.cat(sums, dim=-2), [d_v, 1], dim=-1)


@normalised
def causal(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """The same function as ``recurrent``, a block of ``BLOCK`` tokens at a time, O(T).

    Within a block the weights are formed and masked; what came before it is in the
    state (Sun et al., arXiv:2307.08621, "chunkwise recurrent"). One state of d x (d_v +
    1) is kept for each block, where the gradient of ``recurrent`` keeps one for each
    token.
    """
    T, d_v, block = q.shape[-2], v.shape[-1], min(BLOCK, q.shape[-2])
    v = pad(v, (0, 1), value=1.0)
    if T % block:  # else it would only copy
        q, k, v = (pad(x, (0, 0, 0, -T % block)) for x in (q, k, v))
    q, k, v = (x.unflatten(-2, (-1, block)) for x in (q, k, v))
    states = (k.mT @ v).cumsum(-3)  # after each block
    before = pad(states, (0, 0, 0, 0, 1, -1))  # before each; zeros before the first
    sums = (q @ k.mT).tril_() @ v
    sums += q @ before
    return torch.split(sums.flatten(-3, -2)[..., :T, :], [d_v, 1], dim=-1)


def feature_map(x: Tensor) -> Tensor:
    """elu(x) + 1, that is x + 1 for x > 0 and e^x for x <= 0; a tensor like ``x``.

    Positive features have positive dot products (Katharopoulos et al.,
    arXiv:2006.16236, equation 7). They are positive up to where e^x rounds to 0, x =
    -745 in double, -103 in single, -92 in bfloat16 and -17 in half precision; ``elu(x)
    + 1`` as it is written would round to 0 from x = -38, -18, -6 and -9 on. Raises
    ``TypeError`` where ``x`` is not of one of these types.
    """
    x = _floats("x", x)
    # The exponential of a large x, not taken, would spoil the gradient all the same.
    return torch.where(x > 0, x + 1, x.masked_fill(x > 0, 0).exp())


def crossover(d: SupportsIndex, d_v: SupportsIndex) -> float:
    """The T above which ``linear`` needs fewer operations than ``quadratic``.

    The counts 2 T^2 (d + d_v + 1) and 4 T d (d_v + 1) are equal there: those of all
    matrix products, the row sums among them. Raises ``TypeError`` for sizes that are
    not whole numbers and ``ValueError`` for those below 1.
    """
    d, d_v = integer(d, "d"), integer(d_v, "d_v")
    if min(d, d_v) < 1:
        raise ValueError(f"d and d_v must be at least 1, got {d} and {d_v}")
    return 2 * d * (d_v + 1) / (d + d_v + 1)


def _checked(q: Any, k: Any, v: Any) -> QKV:
    q, k, v = (_floats(name, x) for name, x in (("q", q), ("k", k), ("v", v)))
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.ndim < 2 or tensor.numel() == 0:
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} must be (..., T, features), got shape {shape}")
    if q.shape != k.shape or k.shape[:-1] != v.shape[:-1]:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (q, k, v))
        raise ValueError(
            f"q, k, v must be (..., T, d), (..., T, d), (..., T, d_v), got {shapes}"
        )
    for what in ("dtype", "device"):
        found = [getattr(tensor, what) for tensor in (q, k, v)]
        if len(set(found)) > 1:
            raise ValueError(f"q, k, v must be of one {what}, got {found}")
    return q, k, v


def _floats(name: str, values: Any) -> Tensor:
    """A dense tensor of one of ``FLOATS`` from a tensor, an array or nested lists."""
    expected = f"{name} must be floating-point, dense and of type {FLOATS}"
    try:
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError("PyTorch would ignore its mask")
        if isinstance(values, np.ndarray):
            # A copy: PyTorch has no negative strides and no foreign byte order.
            values = values.astype(values.dtype.newbyteorder("="))
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{expected}, got {type(values).__name__} ({error})") from error
    dense = tensor.layout == torch.strided and not (tensor.is_nested or tensor.is_meta)
    if tensor.dtype not in FLOATS or not dense:
        got = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
        raise TypeError(f"{expected}, got {got}")
    return tensor


def _ones(v: Tensor) -> Tensor:
    return torch.ones_like(v[..., :1])  # (..., T, 1)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all entries are, in one pass without a copy; one nan makes both nan."""
    low, high = (value.item() for value in tensor.detach().aminmax())
    return -math.inf < low and high < math.inf
