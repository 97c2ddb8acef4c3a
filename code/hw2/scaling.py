"""What problem 3's attention costs: operations counted, time and memory measured.

Shapes: T tokens, d features, n numbers of tokens for which something is measured.
"""

import itertools
import json
import operator
import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hw2.linear_attention import (
    FLOATS,
    QKV,
    Attention,
    causal,
    feature_map,
    linear,
    quadratic,
    recurrent,
)
from recorded import Checkpoint, Outcome, Score, Scores, Tensors, scored_by


def features(
    T: SupportsIndex,
    d: SupportsIndex = 64,
    seed: SupportsIndex = 0,
    dtype: torch.dtype = torch.float64,
) -> QKV:
    """Random queries and keys, made positive by ``feature_map``, and values; (T, d).

    Raises ``ValueError`` for sizes below 1, and ``TypeError`` for sizes and seeds that
    are not whole numbers and for types that ``linear_attention`` does not compute in.
    """
    T, d, seed = (operator.index(number) for number in (T, d, seed))
    if min(T, d) < 1:
        raise ValueError(f"T and d must be at least 1, got {T} and {d}")
    if dtype not in FLOATS:
        raise TypeError(f"dtype must be one of {FLOATS}, got {dtype}")
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, T, d, generator=generator, dtype=dtype)
    return feature_map(q), feature_map(k), v


def operations(attention: Attention, T: int, d: int) -> int:
    """Floating-point operations of a call on ``features(T, d)``, as PyTorch counts.

    It counts those of matrix products, a multiply-add as two. The sums over rows are
    products with a column of ones, and counted; the divisions are not.
    """
    qkv = features(T, d)
    with FlopCounterMode(display=False) as counter:
        attention(*qkv)
    count: int = counter.get_total_flops()
    return count


def difference(T: int) -> float:
    """The largest difference of an output entry between the two orders, on features."""
    qkv = features(T)
    return float((linear(*qkv) - quadratic(*qkv)).abs().max())


def power_law(tokens: npt.ArrayLike, costs: npt.ArrayLike) -> float:
    """The power p in costs ~ tokens^p, both (n,): least squares on the logarithms.

    Raises ``TypeError`` for what is not made of real numbers, and ``ValueError`` where
    shapes do not match, ``tokens`` are all equal, or a number is not positive.
    """
    x, y = _positive("tokens", tokens), _positive("costs", costs)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two rows alike, got shapes {x.shape}, {y.shape}")
    if len(np.unique(x)) < 2:
        raise ValueError(f"tokens must differ, got {x}")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _positive(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    if isinstance(values, Tensor) and values.dtype in FLOATS:
        values = values.detach().double()  # NumPy knows no bfloat16 and no gradients
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    if not (array > 0).all() or not np.isfinite(array).all():
        raise ValueError(f"{name} must be positive and finite, got {array}")
    return array.astype(float)


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
    "causal": causal,
    "recurrent": recurrent,
}
FITTED = ("quadratic", "softmax", "linear", "causal")  # measured far enough for it
LONG = 2**11  # tokens from which the fixed cost of a call does not matter


@dataclass(frozen=True)
class Scaling:
    """What is measured: ``METHODS``, for T = 2^first to 2^last."""

    first: int = 7
    last: int = 17
    last_quadratic: int = 15  # its T x T weights take 4 GiB there
    last_recurrent: int = 12
    d: int = 64  # of queries, keys and values
    rounds: int = 6  # over all lengths: a machine can be slow for seconds
    least_seconds: float = 0.2  # of all calls for one length in a round
    seed: int = 0


def seconds(attention: Attention, qkv: QKV, least: float) -> float:
    """Time of the fastest call, of at least two that take ``least`` seconds together.

    The first one finds cold caches and waits for memory that was never used. Where it
    takes a second that matters little, and it is the only one.
    """
    times: list[float] = []
    while sum(times) < least or (len(times) < 2 and sum(times) < 1):
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
    ends = {"quadratic": config.last_quadratic, "recurrent": config.last_recurrent}
    return [2**n for n in range(config.first, ends.get(name, config.last) + 1)]


def fastest(measured: Tensors, name: str) -> Tensor:
    """The seconds of a method's fastest call for each number of tokens, (n,)."""
    return measured[f"{name}_seconds"].amin(0)


def growth(measured: Tensors, name: str, costs: Tensor) -> float:
    """The power of T by which costs of a method, (n,), grow from LONG on."""
    tokens = measured[f"{name}_tokens"]
    return power_law(tokens[tokens >= LONG], costs[tokens >= LONG])


def ratios(measured: Tensors, slow: str, fast: str) -> Tensor:
    """How many times as long one method takes as another, (rounds, n).

    For each round and for the numbers of tokens for which both were measured.
    """
    costs = [measured[f"{name}_seconds"] for name in (slow, fast)]
    n = min(seconds.shape[1] for seconds in costs)
    return costs[0][:, :n] / costs[1][:, :n]


def faster_from(measured: Tensors, other: str) -> int:
    """The number of tokens from which on ``linear`` is faster in every round.

    Of the lengths for which both were measured. Raises ``ValueError`` if the other
    method is as fast in a round at the longest of them.
    """
    tokens = measured[f"{other}_tokens"]
    slower = (ratios(measured, other, "linear") <= 1).any(0)
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
    for name in FITTED:
        time_power = growth(predictions, name, fastest(predictions, name))
        scores[f"{name} time"] = Score(time_power, 0.3)
    for name in ("quadratic", "linear", "causal"):
        memory_power = growth(predictions, name, predictions[f"{name}_bytes"])
        scores[f"{name} memory"] = Score(memory_power, 0.02)
    return scores


@scored_by(score)
def experiment(config: Scaling, checkpoint: Checkpoint) -> Outcome:
    """Measure each method in single precision, with PyTorch's own number of threads.

    For each method's name: ``_tokens`` (n,), ``_seconds`` (rounds, n) and ``_bytes``
    (n,). In a round the methods take turns at each length, so that they are compared on
    the machine as it is at that time. A checkpoint is kept after each round.
    """
    inputs = partial(features, d=config.d, seed=config.seed, dtype=torch.float32)
    state = checkpoint.load("rounds") or {name: [] for name in METHODS}
    while len(state["linear"]) < config.rounds:
        times: dict[str, list[float]] = {name: [] for name in METHODS}
        for T in lengths("linear", config):
            qkv = inputs(T)
            for name, attention in METHODS.items():
                if T in lengths(name, config):
                    times[name].append(seconds(attention, qkv, config.least_seconds))
        for name in METHODS:
            state[name].append(times[name])
        checkpoint.save("rounds", state)
    predictions = {}
    for name, attention in METHODS.items():
        tokens = lengths(name, config)
        memory = [peak_bytes(attention, inputs(T)) for T in tokens]
        predictions[f"{name}_tokens"] = torch.tensor(tokens)
        predictions[f"{name}_seconds"] = torch.tensor(state[name], dtype=torch.float64)
        predictions[f"{name}_bytes"] = torch.tensor(memory)
    return Outcome({"threads": torch.get_num_threads()}, predictions, {})


RUNS = {"linear-attention": Scaling()}
