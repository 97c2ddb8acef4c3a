"""Problem 4 in small: options, and images in the place of FashionMNIST."""

import torch
from torch import Tensor

from hw2.vit import Config
from hw2.vit.training import Images

SMALL = Config(
    seeds=1,
    layers=2,
    width=16,
    mlp=32,
    epochs=1,
    batch=32,
    held_out=100,
)


def some_images(count: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def some_bytes(count: int, seed: int = 0) -> Images:
    """Images of which each class is bright in two rows of its own, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    images = torch.randint(60, (count, 1, 28, 28), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return images.to(torch.uint8), labels
