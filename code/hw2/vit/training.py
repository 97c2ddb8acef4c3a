"""How a network that classifies images is trained."""

import math
import os
import shutil
import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from hw2.evaluation import correct
from hw2.training import advance, keep, progress, resume
from hw2.vit.config import Recipe
from hw2.vit.model import Network
from recorded import Checkpoint, incidental

Images = tuple[Tensor, Tensor]  # uint8 (N, 1, 28, 28) and labels, int64 (N,)
History = dict[str, list[Any]]


def hold_out(all_images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """Set ``count`` images aside, drawn by ``seed``: (the others, those held out).

    Raises ``ValueError`` unless some images are left on either side.
    """
    images, labels = all_images
    if not 0 < count < len(labels):
        raise ValueError(f"count is {count}, expected 1 to {len(labels) - 1}")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    aside, rest = order[:count], order[count:]
    return (images[rest], labels[rest]), (images[aside], labels[aside])


def augment(images: Tensor, recipe: Recipe, epoch: int, random: Generator) -> Tensor:
    """The images (N, 1, H, W) as an epoch shows them, each changed by itself.

    A flip is not drawn: an image is seen from its other side in the next epoch (Jordan
    2024, arXiv:2404.00498). What a shift uncovers is black, as the background is.
    """
    count, _, height, width = images.shape
    each = torch.arange(count)
    down, across = torch.arange(height), torch.arange(width)
    if recipe.flip:
        turned = ((each + epoch) % 2 == 0)[:, None, None, None]
        images = torch.where(turned, images.flip(3), images)
    if far := recipe.shift:
        top, left = torch.randint(2 * far + 1, (2, count, 1), generator=random)
        padded = F.pad(images.squeeze(1), (far, far, far, far))
        rows, columns = (top + down)[:, :, None], (left + across)[:, None]
        images = padded[each[:, None, None], rows, columns].unsqueeze(1)
    if side := recipe.erase:
        top = torch.randint(1 - side, height, (count, 1), generator=random)
        left = torch.randint(1 - side, width, (count, 1), generator=random)
        rows = ((top <= down) & (down < top + side))[:, :, None]
        columns = ((left <= across) & (across < left + side))[:, None]
        images = images.masked_fill((rows & columns).unsqueeze(1), 0)
    return images


def optimisers(model: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """Muon for the matrices of ``model.blocks`` and AdamW for all else, or only AdamW.

    Muon is by Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), AdamW by
    Loshchilov and Hutter 2019 (arXiv:1711.05101). Raises ``ValueError`` for another.
    """
    if recipe.optimiser not in ("muon", "adamw"):
        raise ValueError(
            f"optimiser is {recipe.optimiser!r}, expected 'muon' or 'adamw'"
        )
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = name.startswith("blocks.") and parameter.ndim == 2
        by_muon = inner and recipe.optimiser == "muon"
        (matrices if by_muon else others).append(parameter)
    decay = recipe.weight_decay
    rules: list[Optimizer] = [
        torch.optim.AdamW(others, recipe.lr, (0.9, 0.99), weight_decay=decay)
    ]
    if matrices:
        rules.append(torch.optim.Muon(matrices, recipe.matrix_lr, weight_decay=decay))
    return rules


def pace(recipe: Recipe, done: float) -> float:
    """What the learning rates are multiplied by when a part of the steps is ``done``.

    Raises ``ValueError`` for a schedule that is neither linear nor cosine.
    """
    if recipe.schedule not in ("linear", "cosine"):
        raise ValueError(
            f"schedule is {recipe.schedule!r}, expected 'linear' or 'cosine'"
        )
    if done < recipe.warm_up:
        return done / recipe.warm_up
    left = (1 - done) / (1 - recipe.warm_up)
    return left if recipe.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


@incidental
def compiled(model: nn.Module) -> nn.Module:
    """The network, compiled by PyTorch where there is a C++ compiler for it.

    It computes the same, but draws other random numbers where tokens are left out.
    """
    if not shutil.which(os.environ.get("CXX", "g++")):
        return model
    # Patterns would put PyTorch's fused attention in the place of the model's, and on a
    # CPU its gradient in 16 bits takes several times as long.
    made: nn.Module = torch.compile(  # type: ignore[assignment]
        model, options={"pattern_matcher": False}
    )
    return made


def fit(
    model: Network,
    train: Images,
    held_out: Images,
    recipe: Recipe,
    *,
    seed: int,
    name: str,
    checkpoint: Checkpoint,
) -> History:
    """Train a network, in place, to minimise the cross-entropy.

    Gives ``losses``, one a step, and ``held_out``, a row after each epoch: ``epochs``
    and ``seconds`` of training so far, ``loss`` and ``accuracy`` on the held-out
    images. A training that was stopped goes on from its last checkpoint, and gives what
    it would have given. Under ``accelerate launch`` each process takes its part of each
    batch; raises ``ValueError`` for a batch that has no equal parts, or is too large.
    """
    images, labels = train
    accelerator = Accelerator(
        mixed_precision="bf16", kwargs_handlers=[AutocastKwargs(enabled=recipe.bf16)]
    )
    process, processes = accelerator.process_index, accelerator.num_processes
    if recipe.batch % processes or not 0 < recipe.batch <= len(labels):
        raise ValueError(
            f"batch is {recipe.batch}, expected a multiple of {processes}, the number "
            f"of processes, up to {len(labels)}, that of images"
        )
    # The forward of what is prepared multiplies in 16 bits from then on; that of the
    # model itself, which is looked at and tested, goes on in 32.
    network = accelerator.prepare(compiled(nn.Sequential(model)))
    rules = optimisers(model, recipe)
    peaks = [rule.param_groups[0]["lr"] for rule in rules]
    history: History = {"losses": [], "held_out": []}
    seconds = 0.0
    if kept := resume(checkpoint, name, model, rules[0]):
        history, seconds = kept["history"], kept["seconds"]
        for rule, state in zip(rules[1:], kept["others"], strict=True):
            rule.load_state_dict(state)
    losses, looks = history["losses"], history["held_out"]
    length = len(labels) // recipe.batch  # of an epoch; a last, smaller batch is left
    steps = recipe.epochs * length

    start = time.perf_counter()
    with progress(steps, name, len(losses)) as bar:
        while len(losses) < steps:
            epoch, first = divmod(len(losses), length)
            # An epoch has its own random numbers, so that it can be resumed within.
            random = Generator().manual_seed(seed * recipe.epochs + epoch)
            order = torch.randperm(len(labels), generator=random)
            shown = augment(images, recipe, epoch, random)
            for batch in order.split(recipe.batch)[first:length]:
                done = (len(losses) + 0.5) / steps
                model.drop = recipe.drop if done < recipe.whole else 0.0
                part = batch[process::processes]
                x, y = shown[part], labels[part]
                logits = network(to_unit(x).to(accelerator.device))
                loss = F.cross_entropy(
                    logits, y.to(logits.device), label_smoothing=recipe.smoothing
                )
                accelerator.backward(loss)
                for rule, peak in zip(rules, peaks, strict=True):
                    rule.param_groups[0]["lr"] = peak * pace(recipe, done)
                    rule.step()
                    rule.zero_grad()
                losses.append(loss.item())
                ended = len(losses) % length == 0
                if ended or checkpoint.due():
                    seconds += time.perf_counter() - start
                    if ended:
                        row = {"epochs": epoch + 1, "seconds": seconds}
                        looks.append(row | look(model, held_out))
                    keep(
                        checkpoint,
                        name,
                        model,
                        rules[0],
                        others=[rule.state_dict() for rule in rules[1:]],
                        history=history,
                        seconds=seconds,
                    )
                    start = time.perf_counter()
                seen = (
                    history["held_out"][-1]["accuracy"] if length <= len(losses) else 0
                )
                advance(bar, loss=losses[-1], held_out=seen)
    return history


def look(model: nn.Module, images: Images) -> dict[str, float]:
    """The ``loss`` and the ``accuracy`` of a network in training on other images."""
    logits = predict(model, images[0])
    model.train()
    return {
        "loss": F.cross_entropy(logits, images[1]).item(),
        "accuracy": correct(logits, images[1]) / len(images[1]),
    }


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) for uint8 images (N, 1, 28, 28), in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    parts = (model(to_unit(part).to(device)).cpu() for part in images.split(500))
    return torch.cat([*parts])


def to_unit(images: Tensor) -> Tensor:
    """Bytes to floats in [0, 1]."""
    return images.float() / 255


def minutes(trainings: Mapping[str, History]) -> float:
    """How long a training took: the mean over its histories, one for each seed."""
    return fmean(of["held_out"][-1]["seconds"] for of in trainings.values()) / 60


def minutes_to(accuracy: float, trainings: Mapping[str, History]) -> float:
    """How long a training took to reach an accuracy on the held-out images.

    Accuracy and time are means over the histories, after each epoch. Raises
    ``ValueError`` where the accuracy is not reached.
    """
    for looks in zip(*(of["held_out"] for of in trainings.values()), strict=True):
        if fmean(look["accuracy"] for look in looks) >= accuracy:
            return fmean(look["seconds"] for look in looks) / 60
    raise ValueError(f"no epoch reaches an accuracy of {accuracy:.0%}")
