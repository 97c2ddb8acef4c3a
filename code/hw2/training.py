"""What the trainings share: a progress bar, checkpoints, a loop for image classifiers,
and what an accuracy is worth."""

import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn
from tqdm import tqdm

from hw2.provenance import incidental
from hw2.records import Checkpoint, Score

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


@incidental
def progress(steps: int, name: str, done: int = 0) -> Any:
    """A bar with the time left, ``done`` of whose steps were taken before."""
    return tqdm(total=steps, initial=done, desc=name, mininterval=1, dynamic_ncols=True)


@incidental
def advance(bar: Any, **shown: float) -> None:
    """One step of a bar, with numbers beside it: losses, and shares of 1."""
    texts = {k: f"{v:.3f}" if k == "loss" else f"{v:.1%}" for k, v in shown.items()}
    bar.set_postfix(texts, refresh=False)
    bar.update()


def keep(
    checkpoint: Checkpoint,
    stage: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    **state: Any,
) -> None:
    """Keep all that the next steps of a training depend on, and ``state``."""
    state |= {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    checkpoint.save(stage, state | {"random": torch.get_rng_state()})


def resume(
    checkpoint: Checkpoint,
    stage: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> dict[str, Any] | None:
    """Put back what ``keep`` kept, and give its ``state``; None if it kept nothing."""
    state = checkpoint.load(stage)
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
    return state


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
    checkpoint: Checkpoint,
) -> History:
    """Train by AdamW (Loshchilov and Hutter 2019) on the cross-entropy.

    The rate rises to ``lr`` over the first tenth of the steps and falls to 0 over the
    rest. Gives ``losses``, one a step, and ``held_out``, six rows over the training:
    ``passes`` and ``seconds`` of training so far, and ``loss`` and ``accuracy`` on the
    held-out images. A training that was stopped goes on from its last checkpoint, and
    gives what it would have given.
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
    history: History = {"losses": [], "held_out": []}
    seconds = accuracy = 0.0
    if kept := resume(checkpoint, name, model, optimiser):
        history, seconds = kept["history"], kept["seconds"]
        looked = history["held_out"]
        accuracy = looked[-1]["accuracy"] if looked else 0.0
    done = len(history["losses"])
    start = time.perf_counter()
    with progress(steps, name, done) as bar:
        for step, chosen in enumerate(batches[done:], start=done + 1):
            model.train()
            for group in optimiser.param_groups:
                group["lr"] = lr * min(step / 0.1, (steps - step + 1) / 0.9) / steps
            loss = F.cross_entropy(model(to_unit(images[chosen])), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            history["losses"].append(loss.item())
            if step in looks or checkpoint.due():
                seconds += time.perf_counter() - start
                if step in looks:
                    logits = predict(model, held_out[0])
                    accuracy = correct(logits, held_out[1]) / len(held_out[1])
                    row = {
                        "passes": step * epochs / steps,
                        "seconds": seconds,
                        "loss": F.cross_entropy(logits, held_out[1]).item(),
                        "accuracy": accuracy,
                    }
                    history["held_out"].append(row)
                state = {"history": history, "seconds": seconds}
                keep(checkpoint, name, model, optimiser, **state)
                start = time.perf_counter()
            advance(bar, loss=history["losses"][-1], held_out=accuracy)
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


def accuracy_score(correct: int, total: int) -> Score:
    """An accuracy of ``correct`` out of ``total``, as the score of a run.

    Another machine rounds otherwise, so that a training ends up in other weights. The
    tolerance is what chance alone explains in 95% of cases between two networks of this
    accuracy that err independently on as many items.
    """
    p = correct / total
    return Score(p, 1.96 * math.sqrt(2 * p * (1 - p) / total))


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
