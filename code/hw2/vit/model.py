"""The networks of problem 4: a Vision Transformer, and the dense one beside it.

The model is that of Dosovitskiy et al. 2021 (arXiv:2010.11929, equations 1 to 4), but
classifies the mean of the tokens, in place of a token of its own.

Shapes: N images, p the patch, T = (28 / p)^2 tokens of a width, h heads.
"""

import itertools
import math

import torch
from torch import Tensor, nn

from hw2.vit.config import Config

SIDE = 28  # pixels
CLASSES = 10
PIXEL_MEAN, PIXEL_STD = 0.286, 0.353  # of the training images, in [0, 1]


def standardise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (N, 1, 28, 28) in [0, 1], shifted and scaled as the training set asks.

    They may be floats of any type and become ``dtype``. Raises ``TypeError`` for what
    is no tensor, ``ValueError`` for any other shape, type or range.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images are {type(images).__name__}, expected a tensor")
    if images.ndim != 4 or images.shape[1:] != (1, SIDE, SIDE):
        raise ValueError(
            f"images have shape {tuple(images.shape)}, expected (N, 1, {SIDE}, {SIDE})"
        )
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}, expected floats in [0, 1]")
    images = images.to(dtype)
    if len(images):
        low, high = images.aminmax()
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise ValueError(
                f"images range from {low:.3g} to {high:.3g}, expected [0, 1]"
            )
    return (images - PIXEL_MEAN) / PIXEL_STD


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images (N, 1, H, W) into tokens (N, H / size * W / size, size^2).

    The patches, and the pixels of each, are in reading order. Raises ``ValueError``
    where the size does not divide both sides.
    """
    height, width = images.shape[2:]
    if size < 1 or height % size or width % size:
        raise ValueError(f"size is {size}, expected a divisor of {height} and {width}")
    grid = images.squeeze(1).unfold(1, size, size).unfold(2, size, size)
    return grid.flatten(3).flatten(1, 2)  # grid is (N, H / size, W / size, size, size)


def drop_tokens(tokens: Tensor, fraction: float) -> Tensor:
    """Tokens (N, T, width) without a fraction of them, drawn for each image.

    This is the patch dropout of Liu et al. 2023 (arXiv:2208.07220).
    """
    count = round(tokens.shape[1] * (1 - fraction))
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


class Network(nn.Module):
    """A network that can be told to leave out some tokens while it trains."""

    drop = 0.0  # the fraction


class ViT(Network):
    """Images (N, 1, 28, 28) in [0, 1], floats of any type, to logits (N, 10).

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
        self.positions: Tensor | float = (
            nn.Parameter(0.02 * torch.randn(tokens, config.width))
            if config.positions
            else 0.0
        )

        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.heads, config.mlp)
                for _ in range(config.layers)
            )
        )
        self.norm = nn.LayerNorm(config.width)
        self.classify = nn.Linear(config.width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        pixels = standardise(images, self.embed.weight.dtype)
        x = patches(pixels, self.patch)  # (N, T, p^2)
        x = self.embed(x) + self.positions  # (N, T, width)
        if self.training and self.drop:
            x = drop_tokens(x, self.drop)  # fewer tokens
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
        pixels = standardise(images, self.classify.weight.dtype)
        x = self.blocks(pixels.flatten(1))  # (N, width)
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
