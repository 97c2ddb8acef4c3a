"""What a trained network gets right, what it looks at, and what it computes."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hw2.evaluation import Floats, seed_accuracies
from hw2.study import of_change
from hw2.vit.model import SIDE, Block, ViT, patches, standardise
from recorded import Run, Tensors


class Classified(NamedTuple):
    """The predictions of a network for N images."""

    classes: Tensor  # (N,), those predicted
    probability: Tensor  # (N,), that of the predicted class
    right: Tensor  # boolean (N,)


def classified(run: Run) -> Classified:
    """The predictions of the network of seed 0 for the test images."""
    logits = run.predictions["logits"][0].float()
    classes = logits.argmax(dim=1)
    probability = logits.softmax(dim=1).amax(dim=1)
    return Classified(classes, probability, classes == run.predictions["labels"])


def most_confident_errors(of: Classified, count: int) -> Tensor:
    """The wrong images with the highest probability, that first: indices (count,)."""
    return torch.where(of.right, 0, of.probability).topk(count).indices


def ablation_accuracies(run: Run) -> dict[str, Floats]:
    """The accuracy on the held-out images with each seed, (seeds,), by the change."""
    labels = run.predictions["labels"]
    return {
        name: seed_accuracies(of_change(run, name)["classes"], labels)
        for name in run.config["changes"]
    }


def minutes(history: Tensors) -> float:
    """How long a training run took: the mean over its seeds."""
    return history["seconds"][:, -1].mean().item() / 60


def epoch_losses(history: Tensors) -> Tensor:
    """The mean of the losses of each epoch, (epochs,), in the history of one seed."""
    return history["losses"].float().view(len(history["seconds"]), -1).mean(dim=1)


def shifted_accuracies(run: Run) -> Floats:
    """The accuracy of seed 0 on test images moved by 0, 1, 2 and 3 pixels, (4,).

    It is the mean over the four ways to move them.
    """
    whole = classified(run).right.double().mean().item()
    moved = run.predictions["moved"] == run.predictions["labels"].byte()
    return np.array([whole, *moved.double().mean(dim=(1, 2)).tolist()])


@torch.no_grad()
def rollout(model: ViT, images: Tensor) -> Tensor:
    """How much of each patch is in the representation of an image.

    Images (N, 1, 28, 28) in [0, 1] to (N, T), each row adding to 1. This is attention
    rollout (Abnar and Zuidema 2020, arXiv:2005.00928): a layer gives to a token half of
    itself, and half of the mixture that its heads make, on average. Their product over
    the layers is averaged over the tokens, as the network does.
    """
    x = model.embed(patches(standardise(images), model.patch)) + model.positions
    mixed = torch.eye(x.shape[1])
    for block in model.blocks:
        assert isinstance(block, Block)
        weights, _ = block.attention.attend(block.norm1(x))
        mixed = (torch.eye(x.shape[1]) + weights.mean(dim=1)) / 2 @ mixed
        x = block(x)
    return mixed.mean(dim=1)


class Similarity(NamedTuple):
    """How alike the vectors of positions on a square are."""

    cosines: Tensor  # (T, T), of each with all
    mirrored: float  # the mean over pairs of opposite ones, in the row left to right
    by_distance: dict[int, float]  # of all other pairs so many steps apart


def position_similarity(positions: Tensor) -> Similarity:
    """The cosines of position vectors (T, width), and their means by place.

    The positions are in reading order. A step goes to the next along a row or a column.
    Raises ``ValueError`` where T is no square of 2 or more.
    """
    side = math.isqrt(len(positions))
    if side < 2 or side**2 != len(positions):
        raise ValueError(f"{len(positions)} positions, expected those of a square")
    unit = F.normalize(positions, dim=1)
    cosines = unit @ unit.T
    place = torch.arange(side**2)
    rows, columns = place // side, place % side
    distance = (rows[:, None] - rows).abs() + (columns[:, None] - columns).abs()
    opposite = (rows[:, None] == rows) & (columns[:, None] + columns == side - 1)
    opposite &= distance > 0
    means = {
        steps: cosines[(distance == steps) & ~opposite].mean().item()
        for steps in range(1, 2 * side - 1)
    }
    return Similarity(cosines, cosines[opposite].mean().item(), means)


def flops(network: nn.Module) -> int:
    """The operations of a network for one image, as PyTorch counts them.

    These are the additions and multiplications in products of matrices.
    """
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, SIDE, SIDE))
    return int(counter.get_total_flops())
