"""Problem 4: a Vision Transformer on FashionMNIST, beside a dense network.

The model is that of Dosovitskiy et al. 2021 (arXiv:2010.11929, equations 1 to 4), but
classifies the mean of the tokens, in place of a token of its own.

Shapes: N images, p the patch, T = (28 / p)^2 tokens of a width, h heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2 import data, records
from hw2.records import (
    Checkpoint,
    Metrics,
    Outcome,
    Run,
    Scores,
    Tensors,
    part,
    scored_by,
)
from hw2.training import accuracy_score, correct, fit, hold_out, predict

SIDE = 28  # pixels
CLASSES = 10
PIXEL_MEAN, PIXEL_STD = 0.286, 0.353  # of the training images, in [0, 1]


@dataclass(frozen=True)
class Config:
    """What a run depends on. The problem sets patch, layers and heads."""

    patch: int = 4
    layers: int = 6
    heads: int = 4
    width: int = 48
    mlp: int = 96
    dense_width: int = 256  # of the two hidden layers of the dense network
    epochs: int = 2
    batch: int = 128
    lr: float = 4e-3
    weight_decay: float = 0.05
    held_out: int = 5000  # of the training images
    seed: int = 0


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


class Attention(nn.Module):
    """Self-attention in several heads: (N, T, width) to (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, h, T, width / h)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        # softmax(q k^T / sqrt(width / h)) v, for each image and head
        y: Tensor = F.scaled_dot_product_attention(q, k, v)
        y = self.out(y.transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """A layer of the transformer: (N, T, width) to (N, T, width)."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class ViT(nn.Module):
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
        x = self.norm(self.blocks(x))  # (N, T, width)
        logits: Tensor = self.classify(x.mean(dim=1))  # (N, 10)
        return logits


class Dense(nn.Module):
    """The baseline, two hidden layers: images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.dense_width
        self.layers = nn.Sequential(
            nn.Linear(SIDE**2, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(standardise(images).flatten(1))
        return logits


def score(predictions: Tensors) -> Scores:
    """The accuracy of each network on the test images."""
    labels = predictions["labels"]
    return {
        name: accuracy_score(correct(predictions[name], labels), len(labels))
        for name in ("vit", "dense")
    }


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """Train both networks, watching the held-out images; then test both, once.

    The metrics are the history of each (see ``training.fit``), under ``vit`` and
    ``dense``; the predictions are the test logits (10000, 10) of each, and the
    ``labels``; the weights begin with ``vit.`` and ``dense.``.
    """
    train, held_out = hold_out(
        data.fashion_mnist("train"), config.held_out, config.seed
    )
    models: dict[str, nn.Module] = {}
    metrics: Metrics = {}
    for name, network in (("dense", Dense), ("vit", ViT)):
        torch.manual_seed(config.seed)
        models[name] = network(config)
        metrics[name] = fit(
            models[name],
            train,
            held_out,
            epochs=config.epochs,
            batch=config.batch,
            lr=config.lr,
            weight_decay=config.weight_decay,
            seed=config.seed,
            name=name,
            checkpoint=checkpoint,
        )

    images, labels = data.fashion_mnist("test")
    predictions: Tensors = {"labels": labels}
    weights: Tensors = {}
    for name, model in models.items():
        predictions[name] = predict(model, images)
        state = model.state_dict().items()
        weights |= {f"{name}.{key}": value for key, value in state}
    return Outcome(metrics, predictions, weights)


RUNS = {"vit": Config()}


def load(record: str | Run) -> ViT:
    """The Vision Transformer of a run, in evaluation mode.

    ``record`` is the name of one of ``RUNS``, or a run. Raises ``ValueError`` for
    another name.
    """
    run = records.named(record, RUNS, experiment)
    model = ViT(Config(**run.config))
    model.load_state_dict(part(run.weights, "vit."))
    return model.eval()
