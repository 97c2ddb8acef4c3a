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

``experiment`` measures time and memory of a call, ``operations`` counts what it does.
"""

import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hw2.records import Checkpoint, Outcome, Score, Scores, Tensors, scored_by

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


# What they cost


def features(
    T: int, d: int = 64, seed: int = 0, dtype: torch.dtype = torch.float64
) -> QKV:
    """Random queries and keys, made positive by ``feature_map``, and values; (T, d).

    Raises ``ValueError`` for sizes below 1.
    """
    if not min(T, d) >= 1:
        raise ValueError(f"T and d must be at least 1, got {T} and {d}")
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, T, d, generator=generator, dtype=dtype)
    return feature_map(q), feature_map(k), v


def operations(attention: Attention, T: int, d: int) -> int:
    """Floating-point operations of a call on ``features(T, d)``, as PyTorch counts.

    It counts those of matrix products, a multiply-add as two; not sums and divisions.
    """
    qkv = features(T, d)
    with FlopCounterMode(display=False) as counter:
        attention(*qkv)
    count: int = counter.get_total_flops()
    return count


def crossover(d: int, d_v: int) -> float:
    """The T above which ``linear`` needs fewer operations than ``quadratic``.

    The counts 2 T^2 (d + d_v) and 4 T d d_v + 2 T d are equal there. Raises
    ``ValueError`` for sizes below 1.
    """
    if not min(d, d_v) >= 1:
        raise ValueError(f"d and d_v must be at least 1, got {d} and {d_v}")
    return d * (2 * d_v + 1) / (d + d_v)


def power_law(tokens: npt.ArrayLike, costs: npt.ArrayLike) -> tuple[float, float]:
    """The power p in costs ~ tokens^p, and half the width of its 95% interval.

    Both are of shape (n,), n >= 3. A line is fitted to the logarithms by least squares;
    the interval is Student's, from the scatter about the line. Raises ``ValueError``
    if shapes do not match, for fewer than 3 points, for equal ``tokens``, and for what
    is not positive.
    """
    x, y = np.asarray(tokens, float), np.asarray(costs, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        raise ValueError(f"expected 3 or more pairs, got shapes {x.shape}, {y.shape}")
    for name, values in (("tokens", x), ("costs", y)):
        if not (values > 0).all() or not np.isfinite(values).all():
            raise ValueError(f"{name} must be positive and finite, got {values}")
    if (x == x[0]).all():
        raise ValueError(f"tokens must differ, got {x}")
    line, covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    half_width = stats.t.ppf(0.975, len(x) - 2) * math.sqrt(covariance[0, 0])
    return float(line[0]), float(half_width)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention with the exponential, by PyTorch's fused kernel; (T, d) each.

    The kernel takes O(T^2) time, but goes through the T x T weights in blocks and never
    holds them all (Dao et al., arXiv:2205.14135). It needs the axes of batch and heads.
    """
    q, k, v = (tensor[None, None] for tensor in (q, k, v))
    y: Tensor = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return y[0, 0]


METHODS: dict[str, Attention] = {
    "quadratic": quadratic,
    "softmax": softmax_attention,
    "linear": linear,
}
LONG = 2**11  # tokens from which the fixed cost of a call does not matter


@dataclass(frozen=True)
class Scaling:
    """What is measured: the three methods, for T = 2^first to 2^last."""

    first: int = 7
    last: int = 17
    last_quadratic: int = 15  # its T x T weights take 4 GiB there
    d: int = 64  # of queries, keys and values
    rounds: int = 4  # over all lengths: a machine can be slow for seconds
    least_seconds: float = 0.02  # of all calls for one length in a round
    seed: int = 0


def seconds(attention: Attention, qkv: QKV, least: float) -> float:
    """Time of the fastest call, of at least two that take ``least`` seconds together.

    The first one finds cold caches and waits for memory that was never used.
    """
    times: list[float] = []
    while len(times) < 2 or sum(times) < least:
        start = time.perf_counter()
        attention(*qkv)
        times.append(time.perf_counter() - start)
    return min(times)


def peak_bytes(attention: Attention, qkv: QKV) -> int:
    """The most memory that a call holds at once, its output included, in bytes.

    It is exact: PyTorch's profiler lists what its allocator hands out and takes back.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own messages
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        attention(*qkv)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    memory = [event for event in events if event["name"] == "[memory]"]
    memory.sort(key=lambda event: event["ts"])
    held = itertools.accumulate(event["args"]["Bytes"] for event in memory)
    return max(held, default=0)


def lengths(name: str, config: Scaling) -> list[int]:
    """The numbers of tokens for which a method is measured."""
    last = config.last_quadratic if name == "quadratic" else config.last
    return [2**n for n in range(config.first, last + 1)]


def growth(measured: Tensors, name: str, what: str) -> tuple[float, float]:
    """The power of T by which a method's ``seconds`` or ``bytes`` grow from LONG on.

    With half the width of its 95% interval. The time is that of the fastest round.
    """
    tokens, costs = measured[f"{name}_tokens"], measured[f"{name}_{what}"]
    if what == "seconds":
        costs = costs.amin(0)
    return power_law(tokens[tokens >= LONG], costs[tokens >= LONG])


def score(predictions: Tensors) -> Scores:
    """The powers of T by which time and memory grow.

    The tolerance is for the caches and clocks of other machines, which move the power
    of the time by tenths. Memory is counted exactly, but the fused kernel has buffers
    for every thread, so its memory is no score.
    """
    scores = {}
    for name in METHODS:
        scores[f"{name} time"] = Score(growth(predictions, name, "seconds")[0], 0.3)
    for name in ("quadratic", "linear"):
        scores[f"{name} memory"] = Score(growth(predictions, name, "bytes")[0], 0.02)
    return scores


@scored_by(score)
def experiment(config: Scaling, checkpoint: Checkpoint) -> Outcome:
    """Measure each method in single precision, with PyTorch's own number of threads.

    For each method's name: ``_tokens`` (n,), ``_seconds`` (rounds, n) and ``_bytes``
    (n,). A checkpoint is kept after each round.
    """
    state = checkpoint.load("rounds") or {name: [] for name in METHODS}
    while len(state["linear"]) < config.rounds:
        for name, attention in METHODS.items():
            state[name].append(
                [
                    seconds(attention, _inputs(T, config), config.least_seconds)
                    for T in lengths(name, config)
                ]
            )
        checkpoint.save("rounds", state)
    predictions = {}
    for name, attention in METHODS.items():
        tokens = lengths(name, config)
        memory = [peak_bytes(attention, _inputs(T, config)) for T in tokens]
        predictions[f"{name}_tokens"] = torch.tensor(tokens)
        predictions[f"{name}_seconds"] = torch.tensor(state[name], dtype=torch.float64)
        predictions[f"{name}_bytes"] = torch.tensor(memory)
    return Outcome({"threads": torch.get_num_threads()}, predictions, {})


def _inputs(T: int, config: Scaling) -> QKV:
    return features(T, config.d, config.seed, torch.float32)


RUNS = {"linear-attention": Scaling()}
