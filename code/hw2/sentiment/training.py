"""How a head is trained on the encoder's states, and evaluated: Q3."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hw2.sentiment.config import Config
from hw2.sentiment.encoder import Encoded, batches, device, sixteen_bits
from hw2.training import advance, keep, progress, resume
from recorded import Checkpoint, Tensors


def binary_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of reviews whose logit has the label's sign: positive for label 1."""
    return ((logits > 0) == (labels == 1)).float().mean().item()


def train_epoch(
    head: nn.Module,
    reviews: Encoded,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[Tensor],
    rates: Sequence[float],
    rows: list[tuple[float, float]],
    after_step: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """One pass over the reviews, batch by batch: the mean loss and accuracy.

    ``parts`` are the batches, ``rates`` their learning rates, and ``rows`` gets the
    loss and accuracy of each; those that it has already are not trained on again.
    """
    head.train()
    with progress(len(parts), "train", len(rows)) as bar:
        for part, rate in list(zip(parts, rates, strict=True))[len(rows) :]:
            states, lengths, labels = reviews.batch(part)
            with sixteen_bits():
                logits = head(states, lengths)
            loss = binary_cross_entropy_with_logits(logits.float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            rows.append((loss.item(), binary_accuracy(logits, labels)))
            after_step()
            advance(bar, loss=rows[-1][0], accuracy=rows[-1][1])
    sizes = torch.tensor([float(len(part)) for part in parts])
    loss, accuracy = (sizes @ torch.tensor(rows)) / sizes.sum()
    return loss.item(), accuracy.item()


@torch.no_grad()
def evaluate_epoch(
    head: nn.Module, reviews: Encoded, size: int = 128
) -> tuple[float, float, Tensor]:
    """Loss and accuracy over all reviews, and their logits (N,), in their order."""
    head.eval()
    logits = torch.empty(len(reviews.labels))
    for part in batches(reviews.states.lengths, size):
        states, lengths, _ = reviews.batch(part)
        with sixteen_bits():
            logits[part] = head(states, lengths).float().cpu()
    loss = binary_cross_entropy_with_logits(logits, reviews.labels.float())
    return loss.item(), binary_accuracy(logits, reviews.labels), logits


def learning_rates(config: Config, steps: int) -> list[float]:
    """The learning rate of each step."""
    rising = max(config.warm_up * steps, 1e-9)
    return [
        config.lr
        * min(
            (step + 0.5) / rising,
            (steps - step - 0.5) / (steps - rising) if config.fall else 1.0,
            1.0,
        )
        for step in range(steps)
    ]


def fit(
    head: nn.Module,
    train: Encoded,
    valid: Encoded,
    config: Config,
    seed: int,
    checkpoint: Checkpoint,
    stage: str = "fit",
) -> tuple[list[dict[str, Any]], Tensors]:
    """Train for ``config.epochs``: what each epoch gave, and the best epoch's weights.

    The best epoch is the one with the smallest loss on the validation reviews. A
    training that was stopped goes on from its last checkpoint, and gives what it would
    have given.
    """
    generator = torch.Generator().manual_seed(seed)
    trained = {n: p for n, p in head.to(device()).named_parameters() if p.requires_grad}
    optimiser = torch.optim.Adam(trained.values())
    plan = [
        batches(train.states.lengths, config.batch, generator)
        for _ in range(config.epochs)
    ]
    length = len(plan[0])
    rates = learning_rates(config, length * config.epochs)
    history: list[dict[str, Any]] = []  # of the epochs that are over
    rows: list[tuple[float, float]] = []  # of the batches of the epoch under way
    best: Tensors = {}
    seconds = 0.0  # of that epoch
    if kept := resume(checkpoint, stage, head, optimiser):
        history, rows, best = kept["history"], kept["rows"], kept["best"]
        seconds = kept["seconds"]
    start = time.perf_counter() - seconds

    def save() -> None:
        state = {"history": history, "rows": rows, "best": best}
        state["seconds"] = time.perf_counter() - start
        keep(checkpoint, stage, head, optimiser, **state)

    def save_if_due() -> None:
        if checkpoint.due():
            save()

    for parts in plan[len(history) :]:
        at = rates[length * len(history) :][:length]
        loss, accuracy = train_epoch(
            head, train, optimiser, parts, at, rows, save_if_due
        )
        seconds = time.perf_counter() - start
        valid_loss, valid_accuracy, _ = evaluate_epoch(head, valid)
        if not history or valid_loss < min(past["valid_loss"] for past in history):
            best = {
                name: weight.detach().cpu().clone() for name, weight in trained.items()
            }
        history.append(
            {
                "loss": loss,
                "accuracy": accuracy,
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
                "train_seconds": seconds,
                "seconds": time.perf_counter() - start,
                "batch_losses": [loss for loss, _ in rows],
            }
        )
        rows, start = [], time.perf_counter()
        save()
    return history, best


# What a training gave


def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each logit has its label's sign, positive for label 1: boolean, (N,).

    The logits may be those of several models, (models, N), and so is then the result.
    """
    return (logits > 0) == (labels == 1)


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """The epoch with the smallest validation loss, which ``fit`` keeps; the first is 0.

    Raises ``ValueError`` for a history without epochs.
    """
    return min(range(len(history)), key=lambda epoch: history[epoch]["valid_loss"])
