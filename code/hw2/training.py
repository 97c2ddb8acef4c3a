"""What the trainings share: a progress bar, a loop for image classifiers, and the
interval of an accuracy."""

import time
from typing import Any

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn
from tqdm import tqdm

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


def progress(steps: int, name: str) -> Any:
    """A bar with the time left, to which ``set_postfix`` adds loss and accuracy."""
    return tqdm(total=steps, desc=name, mininterval=1, dynamic_ncols=True)


def fit(
    model: nn.Module,
    train: Images,
    held_out: Images,
    *,
    epochs: int,
    batch: int,
    lr: float,
    weight_decay: float,
    seed: int,
    name: str,
) -> History:
    """Train by AdamW (Loshchilov and Hutter 2019) on the cross-entropy.

    The rate rises to ``lr`` over the first tenth of the steps and falls to 0 over the
    rest. Gives ``losses``, one a step, and ``held_out``, six rows over the training:
    ``passes`` and ``seconds`` of training so far, and ``loss`` and ``accuracy`` on the
    held-out images.
    """
    images, labels = train
    order = torch.Generator().manual_seed(seed)
    batches = [
        chosen
        for _ in range(epochs)
        for chosen in torch.randperm(len(labels), generator=order).split(batch)
    ]
    steps = len(batches)
    looks = {steps * part // 6 for part in range(1, 7)}
    optimiser = torch.optim.AdamW(
        model.parameters(), lr, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / 0.1, (steps - step) / 0.9) / steps
    )
    history: History = {"losses": [], "held_out": []}
    seconds = accuracy = 0.0
    start = time.perf_counter()
    with progress(steps, name) as bar:
        for step, chosen in enumerate(batches, start=1):
            model.train()
            loss = F.cross_entropy(model(to_unit(images[chosen])), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            history["losses"].append(loss.item())
            if step in looks:
                seconds += time.perf_counter() - start
                logits = predict(model, held_out[0])
                accuracy = correct(logits, held_out[1]) / len(held_out[1])
                row = {
                    "passes": step * epochs / steps,
                    "seconds": seconds,
                    "loss": F.cross_entropy(logits, held_out[1]).item(),
                    "accuracy": accuracy,
                }
                history["held_out"].append(row)
                start = time.perf_counter()
            shown = {"loss": f"{loss:.2f}", "held-out": f"{accuracy:.1%}"}
            bar.set_postfix(shown, refresh=False)
            bar.update()
    return history


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) for uint8 images (N, 1, 28, 28), in evaluation mode."""
    model.eval()
    return torch.cat([model(to_unit(part)) for part in images.split(500)])


def to_unit(images: Tensor) -> Tensor:
    """Bytes to floats in [0, 1]."""
    return images.float() / 255


def correct(logits: Tensor, labels: Tensor) -> int:
    """How many of the labels (N,) have the largest logit of their row (N, classes)."""
    return int((logits.argmax(dim=1) == labels).sum())


def count_parameters(module: nn.Module) -> int:
    """The number of parameters that training changes."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def share(correct: int, total: int) -> str:
    """An accuracy and its 95% interval (see ``interval``), as text."""
    low, high = interval(correct, total)
    return f"{correct / total:.1%} ({low:.1%} to {high:.1%})"


def interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% interval (Wilson 1927) of an accuracy of ``correct`` out of ``total``.

    Raises ``ValueError`` unless 0 <= correct <= total and total > 0.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(
            f"{correct} of {total}, expected 0 <= correct <= total, total > 0"
        )
    bounds = binomtest(correct, total).proportion_ci(method="wilson")
    return float(bounds.low), float(bounds.high)
