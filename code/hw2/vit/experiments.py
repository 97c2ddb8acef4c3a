"""The runs of problem 4: train, then test once; and train with one change at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hw2 import data
from hw2.evaluation import accuracy_score
from hw2.study import Study
from hw2.training import History, stacked
from hw2.vit.config import LARGE, RUNS, Config
from hw2.vit.model import Dense, ViT, network
from hw2.vit.training import Images, fit, hold_out, predict
from recorded import Checkpoint, Outcome, Run, Scores, Tensors, named, scored_by


def train(
    config: Config, seed: int, name: str, checkpoint: Checkpoint
) -> tuple[ViT | Dense, History, Images]:
    """A network after training, its history (see ``fit``), and the held-out images.

    Its weights are rounded to half precision, so that what is tested is what is kept.
    """
    rest, held_out = hold_out(data.fashion_mnist("train"), config.held_out, seed=0)
    torch.manual_seed(seed)
    model = network(config)
    history = fit(
        model, rest, held_out, config, seed=seed, name=name, checkpoint=checkpoint
    )
    return model.half().float(), history, held_out


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, 1, H, W) moved by so many pixels; what comes in is black."""
    return F.pad(images, (right, -right, down, -down))


def below_highest(logits: Tensor) -> Tensor:
    """Logits (..., classes) minus the highest of each row, in half precision.

    Neither probabilities nor the order of the classes need more: 0 is the highest, and
    half precision resolves the differences near it finely.
    """
    return (logits - logits.amax(dim=-1, keepdim=True)).half()


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test images, a mean over the seeds.

    And ``flipped``, that of the mean of the logits for an image and its mirror image.
    """
    labels = predictions["labels"]
    by = {"accuracy": predictions["logits"].argmax(dim=2)}
    by["flipped"] = predictions["flipped"]
    return {
        name: accuracy_score(int((classes == labels).sum()), classes.numel())
        for name, classes in by.items()
    }


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """Train a network with each seed, watching the held-out images; then test, once.

    The predictions are the test ``labels`` (N,), N = 10000; the ``logits`` (seeds, N,
    10), each below the highest of its image; ``flipped``, the classes predicted by the
    mean of the logits for an image and its mirror image, uint8 (seeds, N); ``moved``,
    the classes that the network of seed 0 predicts for the images moved by 1, 2, 3
    pixels to the top, bottom, left, right, uint8 (3, 4, N); and the histories of
    training, a row for each seed. The weights are those of seed 0.
    """
    models, histories = [], []
    for seed in range(config.seeds):
        model, history, _ = train(config, seed, f"seed-{seed}", checkpoint)
        models.append(model)
        histories.append(history)

    images, labels = data.fashion_mnist("test")
    logits = torch.stack([predict(model, images) for model in models])
    mirrored = torch.stack([predict(model, images.flip(3)) for model in models])
    ways = ((-1, 0), (1, 0), (0, -1), (0, 1))
    classes = [
        predict(models[0], moved(images, far * down, far * right)).argmax(dim=1)
        for far in (1, 2, 3)
        for down, right in ways
    ]
    predictions = {
        "labels": labels,
        "logits": below_highest(logits),
        "flipped": (logits + mirrored).argmax(dim=2).byte(),
        "moved": torch.stack(classes).view(3, 4, -1).byte(),
    }
    weights = {name: weight.half() for name, weight in models[0].state_dict().items()}
    return Outcome({}, predictions | stacked(histories), weights)


def ablation_score(predictions: Tensors) -> Scores:
    """The accuracy on the held-out images with each change, a mean over the seeds."""
    labels = predictions["labels"]
    return {
        name.removesuffix(": classes"): accuracy_score(
            int((classes == labels).sum()), classes.numel()
        )
        for name, classes in predictions.items()
        if name.endswith(": classes")
    }


@scored_by(ablation_score)
def ablate(study: Study[Config], checkpoint: Checkpoint) -> Outcome:
    """Train with each change and each seed. The test images are not read.

    The predictions are the ``labels`` (N,) of the held-out images and, after the name
    of each change and a colon, the ``classes`` predicted for them, uint8 (seeds, N),
    the ``positions`` of the networks that have them, (seeds, T, width), and the
    histories, a row for each seed.
    """
    predictions: Tensors = {}
    for name, config in study.recipes():
        classes, positions, histories = [], [], []
        for seed in range(study.seeds):
            model, history, held_out = train(config, seed, f"{name} {seed}", checkpoint)
            classes.append(predict(model, held_out[0]).argmax(dim=1).byte())
            if isinstance(model, ViT) and isinstance(model.positions, Tensor):
                positions.append(model.positions.detach().half())
            histories.append(history)
        found = {"classes": torch.stack(classes)} | stacked(histories)
        if positions:
            found["positions"] = torch.stack(positions)
        predictions |= {f"{name}: {what}": of for what, of in found.items()}
        predictions["labels"] = held_out[1]
    return Outcome({}, predictions, {})


def load(record: str | Run) -> ViT | Dense:
    """The network of a run, seed 0, in evaluation mode.

    ``record`` is the name of one of ``RUNS`` or ``LARGE``, or a run. Raises
    ``ValueError`` for another name, ``StaleRecord`` where there is no current record.
    """
    run = named(record, RUNS | LARGE, experiment)
    model = network(Config(**run.config))
    model.load_state_dict(run.weights)
    return model.eval()
