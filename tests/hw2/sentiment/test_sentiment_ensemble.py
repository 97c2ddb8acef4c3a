"""Several models together: how they are weighed, and what they give."""

import pytest
import torch
from torch import Tensor

from hw2 import sentiment
from hw2.evaluation import mcnemar
from hw2.sentiment.ensemble import best_weights, combine
from hw2.sentiment.training import binary_accuracy
from recorded import Run, run
from small_sentiment import made_up


def labels_of(count: int, seed: int = 0) -> Tensor:
    return torch.randint(2, (count,), generator=torch.Generator().manual_seed(seed))


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_model(name: str, seed: int, seeds: int | None = 1, noisy: float = 1.0) -> Run:
    """One that knows the labels but for some noise, with so many seeds, or with none.

    The labels are the same for all; the noise is not.
    """
    shape = () if seeds is None else (seeds,)
    truth = {"valid_labels": labels_of(1_000, 1), "labels": labels_of(2_000, 2)}
    logits = {
        what: 2.0 * of - 1 + noisy * noise(*shape, len(of), seed=10 * seed + number)
        for number, (what, of) in enumerate(truth.items())
    }
    predictions = truth | {
        "valid_logits": logits["valid_labels"],
        "logits": logits["labels"],
    }
    return made_up(predictions, name=name)


# Weights


def test_the_best_weights_have_the_smallest_cross_entropy() -> None:
    """The gradient is zero there, by hand: the sum of errors times logits."""
    labels = labels_of(3_000)
    logits = (2.0 * labels - 1) * torch.tensor([[1.0], [0.5], [0.2]])
    logits = logits + noise(3, 3_000, seed=1) + 0.5  # which a bias would take away
    weights = best_weights(logits, labels)
    assert weights.shape == (3,) and weights.dtype == logits.dtype
    errors = (weights @ logits).sigmoid() - labels
    torch.testing.assert_close(
        (logits * errors).mean(dim=1), torch.zeros(3), rtol=0, atol=1e-3
    )


def test_calibrated_logits_have_weight_one_and_useless_ones_none() -> None:
    logits = 2 * noise(2, 50_000, seed=1)
    chance = torch.rand(50_000, generator=torch.Generator().manual_seed(2))
    labels = (chance < logits[0].sigmoid()).long()
    assert best_weights(logits, labels).tolist() == pytest.approx([1, 0], abs=0.05)
    # Twice the logits, half the weight.
    halved = best_weights(torch.stack([2 * logits[0], logits[1]]), labels)
    assert halved.tolist() == pytest.approx([0.5, 0], abs=0.05)


# Combinations


def test_models_that_err_apart_are_better_together() -> None:
    runs = [a_model("a", 1, seeds=2), a_model("b", 2, seeds=2)]
    found = combine(runs)
    assert found.weights.shape == (2, 2) and found.logits.shape == (2, 2_000)
    assert (found.weights > 0).all()
    labels = runs[0].predictions["labels"]
    assert torch.equal(found.labels, labels)
    assert found.accuracy == pytest.approx(binary_accuracy(found.logits, labels))
    alone = [binary_accuracy(of.predictions["logits"], labels) for of in runs]
    assert found.accuracy > max(alone) + 0.03
    for seed in range(2):
        one, other = (of.predictions["logits"][seed] for of in runs)
        by_hand = found.weights[seed, 0] * one + found.weights[seed, 1] * other
        torch.testing.assert_close(found.logits[seed], by_hand)
    assert not torch.equal(found.weights[0], found.weights[1])


def test_a_model_alone_classifies_as_before() -> None:
    run = a_model("a", 1, seeds=3)
    found = combine([run])
    assert torch.equal(found.logits > 0, run.predictions["logits"] > 0)


def test_weights_are_chosen_on_the_validation_reviews() -> None:
    """The test reviews, their logits and labels, have no bearing on them."""
    runs = [a_model("a", 1), a_model("b", 2)]
    before = combine(runs)
    for number, of in enumerate(runs):
        of.predictions["logits"] = noise(1, 2_000, seed=7 + number)
        of.predictions["labels"] = labels_of(2_000, seed=9)
    after = combine(runs)
    assert torch.equal(before.weights, after.weights)
    assert not torch.equal(before.logits, after.logits)
    runs[0].predictions["valid_logits"] = noise(1, 1_000, seed=5)
    weights = combine(runs).weights
    assert weights[0, 0].abs() < 0.3 < before.weights[0, 0]


def test_a_model_without_seeds_is_combined_with_each() -> None:
    baseline, network = a_model("baseline", 1, seeds=None), a_model("network", 2, 3)
    found = combine([baseline, network])
    assert found.weights.shape == (3, 2) and found.logits.shape == (3, 2_000)
    for seed in range(3):
        one = {
            what: of[seed : seed + 1] if what.endswith("logits") else of
            for what, of in network.predictions.items()
        }
        alone = combine([baseline, made_up(one)])
        assert torch.equal(alone.weights[0], found.weights[seed])
        assert torch.equal(alone.logits[0], found.logits[seed])


def test_the_largest_p_is_that_of_the_closest_seed() -> None:
    one, other = a_model("one", 1, 2), a_model("other", 2, 2, noisy=3.0)
    found = combine([one, other])
    right = (found.logits > 0) == (found.labels == 1)
    alone = (other.predictions["logits"] > 0) == (found.labels == 1)
    ps = [mcnemar(right[seed], alone[seed]) for seed in range(2)]
    assert ps[0] != ps[1] and found.largest_p(other) == max(ps)


@pytest.mark.parametrize("of", ["valid_labels", "labels"])
def test_other_reviews_are_refused(of: str) -> None:
    one, other = a_model("one", 1), a_model("other", 2)
    other.predictions[of] = 1 - other.predictions[of]
    with pytest.raises(ValueError, match=f"other has other {of} than one"):
        combine([one, other])
    other.predictions[of] = labels_of(10)
    with pytest.raises(ValueError, match=f"other has other {of} than one"):
        combine([one, other])


def test_other_numbers_of_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 3 seeds of each run, got \[2, 3\]"):
        combine([a_model("one", 1, 2), a_model("other", 2, 3)])


# The records


def test_the_recorded_models_together_are_as_good_as_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    runs = [
        run(name, sentiment.experiment, sentiment.RUNS[name])
        for name in ("sentiment-notebook", "sentiment-finetuned")
    ]
    found = combine(runs)
    assert found.weights.shape == (3, 2)
    assert found.accuracy > max(of.scores["accuracy"].value for of in runs) - 0.002
