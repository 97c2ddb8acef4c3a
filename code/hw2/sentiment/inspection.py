"""What a trained model gets right, and what its predictions rest on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hw2.evaluation import (
    Calibration,
    Floats,
    calibration,
    interval,
    mcnemar,
    seed_accuracies,
)
from hw2.sentiment.predict import Predictor
from hw2.sentiment.tokens import pad
from hw2.sentiment.training import binary_accuracy, is_correct
from hw2.study import of_change
from recorded import Run


@dataclass(frozen=True)
class Result:
    """A model on the test reviews."""

    run: Run
    accuracy: float  # the mean over the seeds
    logits: Tensor  # (N,), of seed 0
    labels: Tensor  # (N,)
    trained: int  # parameters that training changed
    total: int  # parameters

    @property
    def name(self) -> str:
        """The name of the run, without that of the problem."""
        return self.run.name.removeprefix("sentiment-")

    @property
    def correct(self) -> Tensor:
        """Which reviews seed 0 gets right, boolean (N,)."""
        return is_correct(self.logits, self.labels)

    @property
    def count(self) -> int:
        """How many reviews it gets right, the mean over the seeds."""
        return round(self.accuracy * len(self.labels))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy for chance in the choice of reviews."""
        return interval(self.count, len(self.labels))

    @property
    def calibration(self) -> Calibration:
        """What the probabilities of positive of seed 0 are worth, in ten bins."""
        return calibration(self.logits.sigmoid(), self.labels)


def result_of(run: Run, model: nn.Module | None = None) -> Result:
    """What a run gives on the test reviews; without a model it is the baseline's.

    The baseline has a weight for each of its features, and a bias.
    """
    labels, accuracy = run.predictions["labels"], run.scores["accuracy"].value
    logits = torch.atleast_2d(run.predictions["logits"])[0]
    if model is None:
        weights = run.metrics["features"] + 1
        return Result(run, accuracy, logits, labels, weights, weights)
    trained = sum(weight.numel() for weight in run.weights.values())
    total = sum(weight.numel() for weight in model.parameters())
    return Result(run, accuracy, logits, labels, trained, total)


def test_loss(run: Run, seed: int = 0) -> float:
    """The mean cross-entropy on the test reviews."""
    logits, labels = run.predictions["logits"][seed], run.predictions["labels"]
    return binary_cross_entropy_with_logits(logits, labels.float()).item()


def test_accuracy(run: Run, seed: int = 0) -> float:
    """The fraction of the test reviews that a seed gets right."""
    return binary_accuracy(run.predictions["logits"][seed], run.predictions["labels"])


def encoding_seconds(run: Run) -> float:
    """The seconds in which all reviews were encoded."""
    return float(sum(part["seconds"] for part in run.metrics["reviews"].values()))


def epoch_seconds(run: Run, seed: int = 0) -> Tensor:
    """The seconds of training and validation in each epoch, (epochs,)."""
    total = run.predictions["seconds"][seed]
    return (
        total.diff(prepend=total.new_zeros(1)) + run.predictions["valid_seconds"][seed]
    )


def gap_accuracies(notebook: Run, gap: Run) -> dict[tuple[int, str], Floats]:
    """The test accuracy of each seed, (seeds,), by the layer and the head.

    The notebook's own layer and head are those of its run; ``gap`` is the study of the
    others.
    """
    logits = {"layer 6, GRU": notebook.predictions["logits"]} | {
        name: of_change(gap, name)["logits"] for name in gap.config["changes"]
    }
    found = {}
    for name, of in logits.items():
        layer, head = name.removeprefix("layer ").split(", ")
        found[int(layer), head] = seed_accuracies(of > 0, gap.predictions["labels"])
    return found


def epoch_values(run: Run, name: str, form: str, seed: int = 0) -> str:
    """What a history has of each epoch of a seed, as text."""
    values = run.predictions[name][seed].tolist()
    return " and ".join(f"{value:{form}}" for value in values)


class ByLength(NamedTuple):
    """Accuracy in groups of reviews of like length, as many in each."""

    edges: npt.NDArray[np.float64]  # (groups + 1,), in tokens
    accuracy: npt.NDArray[np.float64]  # (groups,)

    @property
    def change(self) -> float:
        """The accuracy on the longest reviews minus that on the shortest."""
        return float(self.accuracy[-1] - self.accuracy[0])


def accuracy_by_length(correct: Tensor, lengths: Tensor, groups: int = 5) -> ByLength:
    """The accuracy from the shortest reviews to the longest.

    ``correct``, boolean (N,), says which reviews a model gets right, and ``lengths``
    (N,) how many tokens they have. Reviews as long as an edge are in the group below.
    """
    lengths = lengths.double()
    edges = lengths.quantile(torch.linspace(0, 1, groups + 1).double())
    place = torch.bucketize(lengths, edges[1:-1])
    means = [correct[place == k].double().mean().item() for k in range(groups)]
    return ByLength(edges.numpy(), np.array(means))


def agreement(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> int:
    """On how many texts a model agrees with a reader.

    The probabilities (N,) are those of positive; a label (N,) is 1 for positive.
    """
    return int(((np.asarray(probabilities) > 0.5) == (np.asarray(labels) == 1)).sum())


@torch.no_grad()
def occlusion(predictor: Predictor, text: str) -> tuple[list[str], list[float]]:
    """The tokens of a text, and by how much each raises the logit.

    That is the logit of the text minus the one without the token (Zeiler and Fergus
    2014, arXiv:1311.2901). [CLS] and [SEP] stay.
    """
    (ids,) = predictor.tokens([text])
    shorter = [ids[:i] + ids[i + 1 :] for i in range(1, len(ids) - 1)]
    whole = predictor.model(*pad([ids]))
    effects: list[float] = []
    for start in range(0, len(shorter), 32):
        effects += (whole - predictor.model(*pad(shorter[start : start + 32]))).tolist()
    return list(predictor.tokenizer.convert_ids_to_tokens(ids[1:-1])), effects


class Trial(NamedTuple):
    """A change of a recipe on the validation reviews, beside the recipe."""

    name: str
    accuracy: float
    gain: float  # of accuracy
    p: float  # of McNemar's test


def trials(run: Run) -> list[Trial]:
    """What a run of ``experiments.search`` tried, the recipe first, seed 0 of each."""
    labels = run.predictions["valid_labels"]
    found: list[Trial] = []
    for name in run.config["changes"]:
        of = of_change(run, name)
        correct = is_correct(of["valid_logits"][0], labels)
        if not found:
            recipe = correct
        accuracy, level = (c.double().mean().item() for c in (correct, recipe))
        gain, p = accuracy - level, mcnemar(correct, recipe)
        found.append(Trial(name, accuracy, gain, p))
    return found


def significant(tried: Iterable[Trial], sign: int, level: float) -> list[str]:
    """Which changes gain (``sign`` 1) or lose (-1), by McNemar's test at that level."""
    return [of.name for of in tried if sign * of.gain > 0 and of.p < level]
