"""Problem 4: a Vision Transformer on FashionMNIST, beside a dense network.

The model is that of Dosovitskiy et al. 2021 (arXiv:2010.11929, equations 1 to 4), but
classifies the mean of the tokens, in place of a token of its own.

Shapes: N images, p the patch, T = (28 / p)^2 tokens of a width, h heads.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2 import data, records
from hw2.records import Checkpoint, Metrics, Outcome, Run, Scores, Tensors, scored_by
from hw2.training import (
    History,
    Images,
    Network,
    Recipe,
    accuracy_score,
    correct,
    fit,
    hold_out,
    predict,
)

SIDE = 28  # pixels
CLASSES = 10
PIXEL_MEAN, PIXEL_STD = 0.286, 0.353  # of the training images, in [0, 1]


@dataclass(frozen=True)
class Config(Recipe):
    """What a run depends on. The problem sets patch, layers and heads.

    A dense network has ``layers`` hidden layers of ``width`` units, and no other size.
    """

    network: str = "vit"  # or "dense"
    patch: int = 4
    layers: int = 6
    heads: int = 4
    width: int = 64
    mlp: int = 128
    held_out: int = 5000  # of the training images
    seeds: int = 3  # 0, 1, ...: one training each


def standardise(images: Tensor) -> Tensor:
    """Images (N, 1, 28, 28) in [0, 1], shifted and scaled as the training set asks.

    Raises ``ValueError`` for any other shape, type or range.
    """
    if images.ndim != 4 or images.shape[1:] != (1, SIDE, SIDE):
        raise ValueError(
            f"images have shape {tuple(images.shape)}, expected (N, 1, {SIDE}, {SIDE})"
        )
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}, expected floats in [0, 1]")
    if len(images):
        low, high = images.aminmax()
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise ValueError(
                f"images range from {low:.3g} to {high:.3g}, expected [0, 1]"
            )
    return (images - PIXEL_MEAN) / PIXEL_STD


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images (N, 1, H, W) into tokens (N, H / size * W / size, size^2).

    The patches, and the pixels of each, are in reading order.
    """
    grid = images.squeeze(1).unfold(1, size, size).unfold(2, size, size)
    return grid.flatten(3).flatten(1, 2)  # grid is (N, H / size, W / size, size, size)


def some(tokens: Tensor, drop: float) -> Tensor:
    """Tokens (N, T, width) without a part of them, drawn for each image."""
    count = round(tokens.shape[1] * (1 - drop))
    kept = torch.rand(tokens.shape[:2], device=tokens.device).argsort(dim=1)[:, :count]
    return tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))


class Attention(nn.Module):
    """Self-attention in several heads: (N, T, width) to (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        weights, values = self.attend(x)  # (N, h, T, T) and (N, h, T, width / h)
        y: Tensor = self.out((weights @ values).transpose(1, 2).flatten(2))
        return y

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How much each token takes of each, (N, h, T, T), and of what."""
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, h, T, width / h)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1), v


class Block(nn.Module):
    """A layer of the transformer: (N, T, width) to (N, T, width).

    It begins as the identity: what it adds to ``x`` is 0 before the first step.
    """

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        last = nn.Linear(mlp, width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), last)
        for layer in (self.attention.out, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class ViT(Network):
    """Images (N, 1, 28, 28) in [0, 1] to logits (N, 10).

    Raises ``ValueError`` where the patch does not divide 28 or the heads the width.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.patch < 1 or SIDE % config.patch:
            raise ValueError(f"patch is {config.patch}, expected a divisor of {SIDE}")
        if config.heads < 1 or config.width % config.heads:
            raise ValueError(
                f"heads is {config.heads}, expected a divisor of width {config.width}"
            )
        self.patch = config.patch
        self.embed = nn.Linear(config.patch**2, config.width)
        tokens = (SIDE // config.patch) ** 2
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, config.width))
        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.heads, config.mlp)
                for _ in range(config.layers)
            )
        )
        self.norm = nn.LayerNorm(config.width)
        self.classify = nn.Linear(config.width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = patches(standardise(images), self.patch)  # (N, T, p^2)
        x = self.embed(x) + self.positions  # (N, T, width)
        if self.training and self.drop:
            x = some(x, self.drop)  # fewer tokens
        x = self.norm(self.blocks(x))  # (N, T, width)
        logits: Tensor = self.classify(x.mean(dim=1))  # (N, 10)
        return logits


class Dense(Network):
    """The baseline, HW1's kind: images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes = [SIDE**2] + [config.width] * config.layers
        layers: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        self.blocks = nn.Sequential(*layers)
        self.classify = nn.Linear(config.width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(standardise(images).flatten(1))  # (N, width)
        logits: Tensor = self.classify(x)  # (N, 10)
        return logits


def network(config: Config) -> ViT | Dense:
    """A network before training.

    Raises ``ValueError`` for an unknown one, and where a dense one would drop tokens.
    """
    if config.network not in ("vit", "dense"):
        raise ValueError(f"network is {config.network!r}, expected 'vit' or 'dense'")
    if config.network == "dense" and config.drop:
        raise ValueError(f"drop is {config.drop}, expected 0: there are no tokens")
    return ViT(config) if config.network == "vit" else Dense(config)


def train(
    config: Config, seed: int, name: str, checkpoint: Checkpoint
) -> tuple[ViT | Dense, History, Images]:
    """A network after training, its history (see ``fit``), and the held-out images."""
    rest, held_out = hold_out(data.fashion_mnist("train"), config.held_out, seed=0)
    torch.manual_seed(seed)
    model = network(config)
    history = fit(
        model, rest, held_out, config, seed=seed, name=name, checkpoint=checkpoint
    )
    return model, history, held_out


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, 1, H, W) moved by so many pixels; what comes in is black."""
    return F.pad(images, (right, -right, down, -down))


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test images, a mean over the seeds.

    And ``flipped``, that of the mean of the logits for an image and its mirror image.
    """
    logits, labels = predictions["logits"], predictions["labels"]
    both = logits + predictions["mirrored"]
    return {
        name: accuracy_score(
            sum(correct(one, labels) for one in each), each.shape[0] * len(labels)
        )
        for name, each in (("accuracy", logits), ("flipped", both))
    }


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """Train a network with each seed, watching the held-out images; then test, once.

    The metrics are the history of each seed. The predictions are the test ``labels``
    (10000,); the ``logits`` (seeds, 10000, 10) and those of the ``mirrored`` images;
    and the classes that the network of seed 0 gives the images when they are ``moved``,
    uint8 (3, 4, 10000): by 1, 2, 3 pixels to the top, bottom, left, right. The weights
    are those of seed 0.
    """
    metrics: Metrics = {}
    models = []
    for seed in range(config.seeds):
        name = f"seed-{seed}"
        model, metrics[name], _ = train(config, seed, name, checkpoint)
        models.append(model)

    images, labels = data.fashion_mnist("test")
    ways = ((-1, 0), (1, 0), (0, -1), (0, 1))
    classes = [
        predict(models[0], moved(images, far * down, far * right)).argmax(dim=1)
        for far in (1, 2, 3)
        for down, right in ways
    ]
    predictions = {
        "labels": labels,
        "logits": torch.stack([predict(model, images) for model in models]),
        "mirrored": torch.stack([predict(model, images.flip(3)) for model in models]),
        "moved": torch.stack(classes).view(3, 4, -1).byte(),
    }
    return Outcome(metrics, predictions, dict(models[0].state_dict()))


@dataclass(frozen=True)
class Ablation:
    """One recipe, and what is changed in it, one thing at a time."""

    recipe: Config
    changes: dict[str, dict[str, Any]]  # options by the name of the change
    seeds: int = 3


def ablation_score(predictions: Tensors) -> Scores:
    """The accuracy on the held-out images with each change, a mean over the seeds."""
    labels = predictions["labels"]
    return {
        name: accuracy_score(int((classes == labels).sum()), classes.numel())
        for name, classes in predictions.items()
        if name != "labels"
    }


@scored_by(ablation_score)
def ablate(config: Ablation, checkpoint: Checkpoint) -> Outcome:
    """Train with each change and each seed. The test images are not read.

    The metrics are the histories by change; the predictions are the classes
    of the held-out images by change, uint8 (seeds, N), and their ``labels``.
    """
    metrics: Metrics = {}
    predictions: Tensors = {}
    for name, change in config.changes.items():
        changed = replace(config.recipe, **change)
        metrics[name], classes = {}, []
        for seed in range(config.seeds):
            stage = f"{name} {seed}"
            model, history, held_out = train(changed, seed, stage, checkpoint)
            metrics[name][f"seed-{seed}"] = history
            classes.append(predict(model, held_out[0]).argmax(dim=1).byte())
            predictions["labels"] = held_out[1]
        predictions[name] = torch.stack(classes)
    return Outcome(metrics, predictions, {})


RUNS = {
    "vit-small": Config(shift=1, drop=0.4),
    "vit-medium": Config(width=128, mlp=256, shift=1, erase=8, drop=0.4, seeds=1),
    "vit-fast": Config(epochs=5, drop=0.4),
    "vit-plain": Config(
        optimiser="adamw", lr=1.5e-3, schedule="cosine", bf16=False, epochs=15
    ),
    "dense": Config(
        network="dense",
        layers=3,
        width=512,
        optimiser="adamw",
        lr=1e-3,
        shift=1,
        smoothing=0.1,
    ),
}
# For an accelerator.
LARGE = {
    "vit-large": Config(
        width=256, mlp=512, epochs=300, batch=256, shift=2, erase=8, smoothing=0.1
    )
}
ABLATIONS = {
    "vit-ablation": Ablation(
        recipe=replace(RUNS["vit-fast"], epochs=4),
        changes={
            "nothing": {},
            "AdamW for all": {"optimiser": "adamw"},
            "twice the rates": {"matrix_lr": 0.04, "lr": 6e-3},
            "rates fall as a cosine": {"schedule": "cosine"},
            "no flips": {"flip": False},
            "shifts by 1 pixel": {"shift": 1},
            "squares of 8 pixels erased": {"erase": 8},
            "labels smoothed": {"smoothing": 0.1},
            "all patches from the start": {"drop": 0.0},
            "products in 32 bits": {"bf16": False},
        },
    )
}


def load(record: str | Run) -> ViT | Dense:
    """The network of a run, seed 0, in evaluation mode.

    ``record`` is the name of one of ``RUNS`` or ``LARGE``, or a run. Raises
    ``ValueError`` for another name.
    """
    run = records.named(record, RUNS | LARGE, experiment)
    model = network(Config(**run.config))
    model.load_state_dict(run.weights)
    return model.eval()
