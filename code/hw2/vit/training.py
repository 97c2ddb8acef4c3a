"""How a network that classifies images is trained."""

import math
import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from hw2.evaluation import correct
from hw2.training import History, Journal
from hw2.vit.config import Recipe
from hw2.vit.model import Network
from recorded import Checkpoint, incidental

Images = tuple[Tensor, Tensor]  # uint8 (N, 1, 28, 28) and labels, int64 (N,)


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
    2024, arXiv:2404.00498). What a shift uncovers is black, as the background is, and
    so is an erased square (DeVries and Taylor 2017, arXiv:1708.04552).
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


def optimisers_for(model: nn.Module, recipe: Recipe) -> list[Optimizer]:
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
    made: list[Optimizer] = [
        torch.optim.AdamW(others, recipe.lr, (0.9, 0.99), weight_decay=decay)
    ]
    if matrices:
        made.append(torch.optim.Muon(matrices, recipe.matrix_lr, weight_decay=decay))
    for optimiser in made:
        for group in optimiser.param_groups:
            group["highest_lr"] = group["lr"]
    return made


def lr_factor(recipe: Recipe, done: float) -> float:
    """What the learning rates are multiplied by when a fraction of steps is ``done``.

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


def schedule(
    model: Network, optimisers: Iterable[Optimizer], recipe: Recipe, done: float
) -> None:
    """Set what changes while a network is trained, by the fraction ``done`` of it."""
    model.drop = recipe.drop if done < recipe.drop_until else 0.0
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["highest_lr"] * lr_factor(recipe, done)


def batches(train: Images, recipe: Recipe, seed: int, steps: int) -> Iterator[Images]:
    """The batches of a training run that has taken so many steps: (images, labels).

    An epoch has its own random numbers, so that it can be resumed within. What is left
    of its images after the last whole batch is not shown.
    """
    images, labels = train
    length = len(labels) // recipe.batch
    for epoch in range(steps // length, recipe.epochs):
        random = Generator().manual_seed(seed * recipe.epochs + epoch)
        order = torch.randperm(len(labels), generator=random)
        shown = augment(images, recipe, epoch, random)
        for batch in order.split(recipe.batch)[steps % length : length]:
            yield shown[batch], labels[batch]
        steps = 0


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

    The losses in the history are those without smoothing. Where a training run was
    stopped, it goes on from its last checkpoint and gives what it would have given.
    From here on the process takes denormal numbers for 0, until the context
    ``recorded.undisturbed`` ends. Under ``accelerate launch`` each process takes its
    share of each batch; raises ``ValueError`` for a batch that has no equal shares, or
    is too large.
    """

    accelerator = accelerator_for(recipe, len(train[1]))
    rank, processes = accelerator.process_index, accelerator.num_processes
    # What is prepared may multiply in 16 bits; the model itself goes on in 32.
    network = accelerator.prepare(compiled(nn.Sequential(model)))

    optimisers = optimisers_for(model, recipe)
    length = len(train[1]) // recipe.batch
    look = partial(evaluate, model, held_out)
    journal = Journal(name, checkpoint, model, optimisers, recipe.epochs, length, look)

    for images, labels in batches(train, recipe, seed, journal.steps):
        schedule(model, optimisers, recipe, journal.done)
        x = to_unit(images[rank::processes]).to(accelerator.device)
        y = labels[rank::processes].to(accelerator.device)
        logits = network(x)
        loss = F.cross_entropy(logits, y, label_smoothing=recipe.smoothing)
        accelerator.backward(loss)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        journal.add(F.cross_entropy(logits.detach(), y))
    return journal.history


def accelerator_for(recipe: Recipe, images: int) -> Accelerator:
    """What multiplies in 16 bits, if the recipe says so, and knows the processes.

    Raises ``ValueError`` for a batch that they can't share or that is too large.
    """
    accelerator = Accelerator(
        mixed_precision="bf16", kwargs_handlers=[AutocastKwargs(enabled=recipe.bf16)]
    )
    processes = accelerator.num_processes
    if recipe.batch % processes or not 0 < recipe.batch <= images:
        raise ValueError(
            f"batch is {recipe.batch}, expected a multiple of {processes}, the number "
            f"of processes, up to {images}, that of images"
        )
    # The running means of gradients that stay zero decay to denormal numbers, for which
    # a processor takes many times as long.
    torch.set_flush_denormal(True)
    return accelerator


def evaluate(model: nn.Module, held_out: Images) -> dict[str, float]:
    """Loss and accuracy of a network in training on the held-out images."""
    images, labels = held_out
    logits = predict(model, images)
    model.train()
    return {
        "held_out_loss": F.cross_entropy(logits, labels).item(),
        "held_out_accuracy": correct(logits, labels) / len(labels),
    }


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) for images (N, 1, 28, 28), in evaluation mode.

    The images are bytes, or floats in [0, 1]; see ``to_unit``.
    """
    model.eval()
    device = next(model.parameters()).device
    parts = (model(part.to(device)).cpu() for part in to_unit(images).split(500))
    return torch.cat([*parts])


def to_unit(images: Tensor) -> Tensor:
    """Bytes to floats in [0, 1]; floats are left as they are.

    Raises ``TypeError`` for what is no tensor, ``ValueError`` for one of another type.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images are {type(images).__name__}, expected a tensor")
    if images.is_floating_point():
        return images
    if images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype}, expected uint8, or floats")
    return images.float() / 255
