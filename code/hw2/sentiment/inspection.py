"""What a trained model gets right, and what its verdicts rest on."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hw2.evaluation import Calibration, calibration, interval
from hw2.sentiment.predict import Predictor
from hw2.sentiment.tokens import pad
from hw2.sentiment.training import is_correct
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
    if model is None:
        weights = run.metrics["features"] + 1
        logits = run.predictions["accuracy"]
        return Result(run, accuracy, logits, labels, weights, weights)
    trained = sum(weight.numel() for weight in run.weights.values())
    total = sum(weight.numel() for weight in model.parameters())
    return Result(run, accuracy, run.predictions["logits"][0], labels, trained, total)


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


@torch.no_grad()
def padded_probability(
    predictor: Predictor, text: str, amount: int, masked: bool
) -> float:
    """P(positive) of a text with so many tokens of padding behind it.

    The padding is masked, or read as if it were text.
    """
    (ids,) = predictor.tokens([text])
    mask = [1] * len(ids) + [0 if masked else 1] * amount
    tokens = torch.tensor([ids + [0] * amount])  # [PAD] is token 0
    logit: Tensor = predictor.model(tokens, torch.tensor([mask]))
    return logit.sigmoid().item()
