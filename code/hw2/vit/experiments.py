"""The runs of problem 4: train, then test once; and train with one change at a time."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hw2 import data
from hw2.evaluation import accuracy_score, correct
from hw2.vit.config import LARGE, RUNS, Ablation, Config
from hw2.vit.model import Dense, ViT, network
from hw2.vit.training import History, Images, fit, hold_out, predict
from recorded import (
    Checkpoint,
    Metrics,
    Outcome,
    Run,
    Scores,
    Tensors,
    named,
    scored_by,
)


def train(
    config: Config, seed: int, name: str, checkpoint: Checkpoint
) -> tuple[ViT | Dense, History, Images]:
    """A network after training, its history (see ``fit``), and the held-out images."""
    rest, held_out = hold_out(data.fashion_mnist("train"), config.held_out, seed=0)
    torch.manual_seed(seed)
    model = network(config)
    history = fit(
        model, rest, held_out, config, seed=seed, name=name, checkpoint=checkpoint
    )
    return model, history, held_out


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, 1, H, W) moved by so many pixels; what comes in is black."""
    return F.pad(images, (right, -right, down, -down))


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test images, a mean over the seeds.

    And ``flipped``, that of the mean of the logits for an image and its mirror image.
    """
    logits, labels = predictions["logits"], predictions["labels"]
    both = logits + predictions["mirrored"]
    return {
        name: accuracy_score(
            sum(correct(one, labels) for one in each), each.shape[0] * len(labels)
        )
        for name, each in (("accuracy", logits), ("flipped", both))
    }


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """Train a network with each seed, watching the held-out images; then test, once.

    The metrics are the history of each seed. The predictions are the test ``labels``
    (10000,); the ``logits`` (seeds, 10000, 10) and those of the ``mirrored`` images;
    and the classes that the network of seed 0 gives the images when they are ``moved``,
    uint8 (3, 4, 10000): by 1, 2, 3 pixels to the top, bottom, left, right. The weights
    are those of seed 0.
    """
    metrics: Metrics = {}
    models = []
    for seed in range(config.seeds):
        name = f"seed-{seed}"
        model, metrics[name], _ = train(config, seed, name, checkpoint)
        models.append(model)

    images, labels = data.fashion_mnist("test")
    ways = ((-1, 0), (1, 0), (0, -1), (0, 1))
    classes = [
        predict(models[0], moved(images, far * down, far * right)).argmax(dim=1)
        for far in (1, 2, 3)
        for down, right in ways
    ]
    predictions = {
        "labels": labels,
        "logits": torch.stack([predict(model, images) for model in models]),
        "mirrored": torch.stack([predict(model, images.flip(3)) for model in models]),
        "moved": torch.stack(classes).view(3, 4, -1).byte(),
    }
    return Outcome(metrics, predictions, dict(models[0].state_dict()))


def ablation_score(predictions: Tensors) -> Scores:
    """The accuracy on the held-out images with each change, a mean over the seeds."""
    labels = predictions["labels"]
    return {
        name: accuracy_score(int((classes == labels).sum()), classes.numel())
        for name, classes in predictions.items()
        if name != "labels"
    }


@scored_by(ablation_score)
def ablate(config: Ablation, checkpoint: Checkpoint) -> Outcome:
    """Train with each change and each seed. The test images are not read.

    The metrics are the histories by change; the predictions are the classes
    of the held-out images by change, uint8 (seeds, N), and their ``labels``.
    """
    metrics: Metrics = {}
    predictions: Tensors = {}
    for name, change in config.changes.items():
        changed = replace(config.recipe, **change)
        metrics[name], classes = {}, []
        for seed in range(config.seeds):
            stage = f"{name} {seed}"
            model, history, held_out = train(changed, seed, stage, checkpoint)
            metrics[name][f"seed-{seed}"] = history
            classes.append(predict(model, held_out[0]).argmax(dim=1).byte())
            predictions["labels"] = held_out[1]
        predictions[name] = torch.stack(classes)
    return Outcome(metrics, predictions, {})


def load(record: str | Run) -> ViT | Dense:
    """The network of a run, seed 0, in evaluation mode.

    ``record`` is the name of one of ``RUNS`` or ``LARGE``, or a run. Raises
    ``ValueError`` for another name.
    """
    run = named(record, RUNS | LARGE, experiment)
    model = network(Config(**run.config))
    model.load_state_dict(run.weights)
    return model.eval()
