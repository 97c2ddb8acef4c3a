"""Problem 3: self-attention without the exponential, in O(T^2) and in O(T).

Dot-product attention whose weights are the dot products themselves, divided by their
sum over the row:

    y_i = sum_j (q_i . k_j) v_j / sum_j (q_i . k_j).

Queries and keys are (..., T, d), values (..., T, d_v), outputs (..., T, d_v); leading
axes are a batch, the same for all three. Every function is differentiable. The weights
are positive if all dot products are, for instance because queries and keys went through
a positive feature map (Katharopoulos et al., arXiv:2006.16236, section 3.2); the
functions ask no more than what they divide by: a normaliser that is finite and not 0.
All raise ``ValueError`` if that fails, if an input is empty or not finite, or if shapes
or types do not match, and ``TypeError`` for inputs that are not floating-point.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hw2.records import Checkpoint, Outcome, Score, Scores, Tensors, scored_by


def quadratic(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Linear attention by its definition, in O(T^2): all T x T weights are formed."""
    q, k, v = _checked(q, k, v)
    scores = q @ k.mT  # (..., T, T)
    weights = scores / _nonzero(scores.sum(-1, keepdim=True))
    return weights @ v


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


def _checked(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (torch.as_tensor(tensor) for tensor in (q, k, v))
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating-point, got {tensor.dtype}")
        if tensor.ndim < 2 or tensor.numel() == 0:
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} must be (..., T, features), got shape {shape}")
        if not tensor.isfinite().all():
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


# How long they take


@dataclass(frozen=True)
class Timing:
    """What is timed: both orders of multiplication, for T = 2^first to 2^last."""

    first: int = 7
    last: int = 12
    d: int = 64  # of queries, keys and values
    rounds: int = 10  # over all lengths: a machine can be slow for seconds
    least_calls: int = 3
    least_ms: float = 20.0  # in all calls of a round together
    seed: int = 0


def features(
    T: int, d: int = 64, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Random queries and keys, made positive by elu(x) + 1, and values; (T, d) each."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, T, d, generator=generator, dtype=dtype)
    return torch.nn.functional.elu(q) + 1, torch.nn.functional.elu(k) + 1, v


def milliseconds(
    attention: Callable[[Tensor, Tensor, Tensor], Tensor], T: int, config: Timing
) -> float:
    """Processor time of the fastest of several calls in single precision."""
    q, k, v = features(T, config.d, config.seed, torch.float32)
    times: list[float] = []
    while len(times) < config.least_calls or sum(times) < config.least_ms:
        start = time.process_time()
        attention(q, k, v)
        times.append(1000 * (time.process_time() - start))
    return min(times)


def score(predictions: Tensors) -> Scores:
    """The power of T by which each time grows over the three longest sequences.

    The tolerance is for the caches and the clocks of other machines, which move such a
    slope by tenths.
    """
    tokens = predictions["tokens"][-3:].double().log()
    slopes = {
        name: np.polyfit(tokens, predictions[name][-3:].log(), 1)[0]
        for name in ("quadratic", "linear")
    }
    return {name: Score(float(slope), 0.3) for name, slope in slopes.items()}


@scored_by(score)
def experiment(config: Timing, _: Checkpoint) -> Outcome:
    """Time both on one core: milliseconds under their names, by ``tokens``.

    Each is the least of all rounds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tokens = torch.tensor([2**n for n in range(config.first, config.last + 1)])
        times = torch.tensor(
            [
                [
                    [milliseconds(attention, T, config) for T in tokens.tolist()]
                    for attention in (quadratic, linear)
                ]
                for _ in range(config.rounds)
            ],
            dtype=torch.float64,
        )
    finally:
        torch.set_num_threads(threads)
    slow, fast = times.amin(dim=0)
    return Outcome({}, {"tokens": tokens, "quadratic": slow, "linear": fast}, {})


RUNS = {"linear-attention": Timing()}
