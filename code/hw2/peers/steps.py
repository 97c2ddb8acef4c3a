"""A training step of each network in each way, after their results are compared.

Shapes: N images.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2.peers.config import NETWORKS, WAYS, Peers, check
from hw2.peers.networks import drawn, simple_vit, timm_vit
from hw2.vit import Config
from hw2.vit.training import compiled

Step = Callable[[], None]


def answer(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, 10), and the gradient of the cross-entropy by the images."""
    images = images.clone().requires_grad_()
    logits = network(images)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels), images)
    return logits.detach(), gradient


def classify(network: nn.Module, images: Tensor, bf16: bool) -> Tensor:
    """Logits (N, 10) in single precision, with products in 16 bits if so asked."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits: Tensor = network(images)
    return logits.float()


def training_step(
    network: nn.Module, images: Tensor, labels: Tensor, bf16: bool
) -> Step:
    """A function that takes one step of AdamW down the cross-entropy of a batch."""
    optimiser = torch.optim.AdamW(network.parameters())

    def step() -> None:
        F.cross_entropy(classify(network, images, bf16), labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def networks(config: Peers) -> dict[str, nn.Module]:
    """The networks by name, with the same weights."""
    size = Config(layers=config.layers)
    model = drawn(size, config.seed)
    peers = (simple_vit(model, size), timm_vit(model, size))
    return dict(zip(NETWORKS, (model, *peers), strict=True))


def steps(config: Peers) -> dict[str, list[Step]]:
    """For each network a training step in each of ``WAYS``.

    All are compiled with the same options. Raises ``Unequal`` for a network whose
    logits, or their gradient, are not those of the project's; products in 16 bits have
    three digits.
    """
    images = torch.rand(config.batch, 1, 28, 28)
    labels = torch.randint(10, (config.batch,))
    every = networks(config)
    answers = answer(every["hw2"], images, labels)
    calls: dict[str, list[Step]] = {name: [] for name in every}
    for name, network in every.items():
        for given, wanted in zip(answer(network, images, labels), answers, strict=True):
            check(name, given, wanted)
        for way in WAYS:
            made, bf16 = copy.deepcopy(network), way.endswith("16 bits")
            if way != "eager":
                made = compiled(made)
            logits = classify(made, images, bf16)
            check(f"{name}, {way}", logits, answers[0], 0.05 if bf16 else 1e-4)
            calls[name].append(training_step(made, images, labels, bf16))
    return calls
