"""How a model is trained on reviews, and evaluated: Q3."""

import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hw2.sentiment.config import Config
from hw2.sentiment.encoder import Encoded, device, sixteen_bits
from hw2.sentiment.model import trained_weights
from hw2.sentiment.tokens import Tokens, random_batches, sorted_batches
from hw2.training import History, Journal
from recorded import Checkpoint, Tensors

# What is trained: a head on ``Encoded`` reviews, or a whole model on ``Tokens``.
Reviews = Encoded | Tokens


def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each logit has its label's sign, positive for label 1: boolean, (N,).

    The logits may be those of several models, (models, N), and so is then the result.
    """
    return (logits > 0) == (labels == 1)


def binary_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The fraction of reviews whose logit has the label's sign: positive for 1."""
    return is_correct(logits, labels).double().mean().item()


def train_epoch(
    model: nn.Module,
    reviews: Reviews,
    batches: Iterable[Tensor],
    optimiser: torch.optim.Optimizer,
    config: Config,
    journal: Journal,
) -> None:
    """Train on each of the batches once; the journal notes their losses."""
    model.train()
    where = device()
    passes = 2 if config.agreement else 1
    for batch in batches:
        inputs = [torch.cat([x.to(where)] * passes) for x in reviews.batch(batch)]
        labels = reviews.labels[batch].float().to(where)
        with sixteen_bits():
            logits = model(*inputs).float().view(passes, -1)
        loss = binary_cross_entropy_with_logits(logits, labels.expand_as(logits))
        objective = loss
        if config.agreement:
            objective = loss + config.agreement * divergence(logits)
        optimiser.zero_grad()
        objective.backward()
        optimiser.param_groups[0]["lr"] = learning_rate(config, journal.done)
        optimiser.step()
        journal.history["correct"].append(is_correct(logits[0], labels).sum().item())
        journal.add(loss.detach())


def divergence(logits: Tensor) -> Tensor:
    """How far the predictions of two passes, logits (2, N), are apart, on average.

    The mean of the Kullback-Leibler divergences in both directions (R-Drop, Liang et
    al. 2021, arXiv:2106.14448): (p - q)(logit p - logit q) / 2 for each review.
    """
    p = logits.sigmoid()
    return ((p[0] - p[1]) * (logits[0] - logits[1])).mean() / 2


@torch.no_grad()
def evaluate_epoch(
    model: nn.Module, reviews: Reviews, batches: Iterable[Tensor] | None = None
) -> tuple[float, float, Tensor]:
    """Loss and accuracy over all reviews, and their logits (N,), in their order.

    By default the batches are of reviews sorted by length.
    """
    model.eval()
    where = device()
    logits = torch.empty(len(reviews.labels))
    if batches is None:
        batches = sorted_batches(reviews.lengths, 128)
    for batch in batches:
        inputs = [x.to(where) for x in reviews.batch(batch)]
        with sixteen_bits():
            logits[batch] = model(*inputs).float().cpu()
    loss = binary_cross_entropy_with_logits(logits, reviews.labels.float())
    return loss.item(), binary_accuracy(logits, reviews.labels), logits


def learning_rate(config: Config, done: float) -> float:
    """The learning rate when the fraction ``done`` of the steps is done."""
    if done < config.warm_up:
        return config.lr * done / config.warm_up
    return config.lr * (1 - done) / (1 - config.warm_up) if config.decay else config.lr


def fit(
    model: nn.Module,
    train: Reviews,
    valid: Reviews,
    config: Config,
    *,
    seed: int,
    name: str,
    checkpoint: Checkpoint,
) -> tuple[History, Tensors]:
    """Train by Adam: the history, and the trained weights of the best epoch.

    That is the epoch with the smallest loss on the validation reviews. With
    ``config.averaging`` the running mean of the weights is validated and returned in
    their place (Polyak and Juditsky 1992). The history has of each step the ``losses``
    and how many predictions were ``correct``; of each epoch the ``loss`` and
    ``accuracy`` in training, ``valid_loss`` and ``valid_accuracy``, the ``seconds`` of
    training so far and the ``valid_seconds`` of validation. Where a training run was
    stopped, it goes on from its last checkpoint, and gives, on a processor, what it
    would have given.
    """
    generator = torch.Generator().manual_seed(seed)
    plan = [
        random_batches(train.lengths, config.batch, generator, config.by_length)
        for _ in range(config.epochs)
    ]
    optimiser = torch.optim.Adam(
        p for p in model.to(device()).parameters() if p.requires_grad
    )
    validated, modules = averaged(model, optimiser, config.averaging)
    best: Tensors = checkpoint.load(f"{name}-best") or {}

    def validate() -> dict[str, float]:
        trained = means(journal.history, plan)
        start = time.perf_counter()
        loss, accuracy, _ = evaluate_epoch(validated, valid)
        if loss < min(journal.history.get("valid_loss", []), default=torch.inf):
            best.update(trained_weights(validated))
            checkpoint.save(f"{name}-best", best)
        seconds = time.perf_counter() - start
        found = {"valid_loss": loss, "valid_accuracy": accuracy}
        return trained | found | {"valid_seconds": seconds}

    steps = len(plan[0])
    journal = Journal(
        name, checkpoint, modules, [optimiser], config.epochs, steps, validate
    )
    journal.history.setdefault("correct", [])
    for epoch in range(journal.steps // steps, config.epochs):
        batches = plan[epoch][journal.steps - epoch * steps :]
        train_epoch(model, train, batches, optimiser, config, journal)
    return journal.history, best


def averaged(
    model: nn.Module, optimiser: torch.optim.Optimizer, decay: float
) -> tuple[nn.Module, nn.Module]:
    """The model whose weights are kept, and all that a checkpoint has to hold.

    With a decay that is a copy, whose weights follow those of ``model`` step by step.
    """
    if not decay:
        return model, model
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    optimiser.register_step_post_hook(lambda *_: mean.update_parameters(model))
    return mean.module, nn.ModuleList([model, mean])


def means(history: History, plan: Sequence[Sequence[Tensor]]) -> dict[str, float]:
    """Loss and accuracy of the epoch that has just ended, over its reviews.

    They were taken while the weights changed. ``plan`` has the batches of each epoch.
    """
    steps = len(plan[0])
    epoch = plan[len(history["losses"]) // steps - 1]
    sizes = torch.tensor([float(len(batch)) for batch in epoch])
    losses, correct = (
        torch.tensor(history[of][-steps:]) for of in ("losses", "correct")
    )
    return {
        "loss": (sizes @ losses / sizes.sum()).item(),
        "accuracy": (correct.sum() / sizes.sum()).item(),
    }


def best_epoch(valid_losses: Tensor) -> int:
    """The epoch with the smallest validation loss, which ``fit`` keeps; 0 is the first.

    Raises ``ValueError`` for a history without epochs.
    """
    if not valid_losses.numel():
        raise ValueError("there are no epochs, expected 1 or more")
    return int(valid_losses.nan_to_num(torch.inf).argmin())
