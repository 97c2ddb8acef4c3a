"""What problem 3's attention costs: operations counted, time and memory measured.

Shapes: T tokens, d features.
"""

import itertools
import json
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hw2.linear_attention import QKV, Attention, feature_map, linear, quadratic
from recorded import Checkpoint, Outcome, Score, Scores, Tensors, scored_by


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


def fastest(measured: Tensors, name: str) -> Tensor:
    """The seconds of a method's fastest call for each number of tokens, (n,)."""
    return measured[f"{name}_seconds"].amin(0)


def faster_from(measured: Tensors, other: str) -> int:
    """The number of tokens from which on ``linear`` is faster than another method.

    Of the lengths for which both were measured. Raises ``ValueError`` if it is not
    faster at the longest of them.
    """
    tokens = measured[f"{other}_tokens"]
    slower = fastest(measured, "linear")[: len(tokens)] >= fastest(measured, other)
    if slower[-1]:
        raise ValueError(f"linear is not faster than {other} at {tokens[-1]} tokens")
    return int(tokens[np.flatnonzero(slower).max(initial=-1) + 1])


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
