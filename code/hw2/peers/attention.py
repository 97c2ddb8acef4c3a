"""Attention forward and backward in several forms, after their results are compared.

Shapes: T tokens, d features; queries, keys, values and outputs are (1, 1, T, d), since
public code asks for the axes of batch and heads.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from hw2.linear_attention import QKV, Attention, causal, linear
from hw2.peers.config import ATTENTIONS, Peers, check, lengths
from hw2.scaling import features

Pass = Callable[[], tuple[Tensor, ...]]


def products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The two matrix products of ``linear``, and nothing else."""
    return q @ (k.mT @ v)


def mapped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``linear`` with the feature maps of Shen et al. (arXiv:1812.01243, section 3.1).

    They are the softmax of each query, and that of each feature over the keys.
    """
    return linear(q.softmax(-1), k.softmax(-2), v)


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``causal`` by its definition, with a T x T matrix of weights."""
    weights = (q @ k.mT).tril()
    return weights @ v / weights.sum(-1, keepdim=True)


def attentions() -> dict[str, Attention]:
    """What is timed, by name; ``public`` is of ``linear-attention-transformer``."""
    from linear_attention_transformer.linear_attention_transformer import linear_attn

    every = (products, linear, mapped, linear_attn, causal, masked)
    return dict(zip(ATTENTIONS, every, strict=True))


def both_ways(attention: Attention, qkv: QKV, direction: Tensor) -> tuple[Tensor, ...]:
    """The outputs, and the gradients along a ``direction`` by queries, keys, values."""
    y = attention(*qkv)
    return y.detach(), *torch.autograd.grad(y, qkv, direction)


def passes(config: Peers) -> dict[str, list[Pass]]:
    """For each attention a pass forward and backward at each T.

    All are given the same tensors (1, 1, T, d). Raises ``Unequal`` where outputs or
    gradients differ: of ``public`` from ``mapped``, but for the factor 1 / sqrt(d) that
    it has besides, and of ``causal`` from ``masked``.
    """
    every = attentions()
    calls: dict[str, list[Pass]] = {name: [] for name in every}
    for T in lengths(config):
        q, k, v = (
            part[None, None].requires_grad_()
            for part in features(T, config.d, config.seed, torch.float32)
        )
        direction = features(T, config.d, config.seed + 1, torch.float32)[2][None, None]
        found = {
            name: both_ways(of, (q, k, v), direction) for name, of in every.items()
        }
        for given, wanted in zip(found["public"], found["mapped"], strict=True):
            check("linear-attention-transformer", given * math.sqrt(config.d), wanted)
        for given, wanted in zip(found["causal"], found["masked"], strict=True):
            check("causal", given, wanted)
        for name, of in every.items():
            calls[name].append(partial(both_ways, of, (q, k, v), direction))
    return calls
