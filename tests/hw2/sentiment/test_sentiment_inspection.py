"""What looks into a model of problem 5, and what sums up its runs and studies."""

import math
from collections.abc import Iterator

import numpy as np
import pypandoc
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hw2 import sentiment
from hw2.evaluation import confusion, seed_accuracies
from hw2.exhibits.sentiment_studies import excerpt
from hw2.sentiment import Predictor, encoder, inspection
from hw2.sentiment.experiments import training_seconds
from hw2.sentiment.inspection import Trial, significant, trials
from hw2.sentiment.padding import swings
from hw2.sentiment.speed import epochs_factor, fastest
from hw2.sentiment.survey import beyond, change_without
from recorded import Run, run
from small_sentiment import made_up


@pytest.fixture(scope="module", autouse=True)
def recorded_only() -> Iterator[None]:
    """What these tests read of trainings has to be recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW2_TRAIN", "never")
        yield


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return sentiment.load("sentiment-finetuned")


# A model


def logit_of(predictor: Predictor, text: str) -> float:
    p = predictor.predict_proba([text]).item()
    return math.log(p / (1 - p))


def test_occlusion_is_what_leaving_out_a_word_changes(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "fast_bfloat16", lambda: False)
    words = ["a", "bad", "film", "with", "good", "music"]
    tokens, effects = inspection.occlusion(predictor, " ".join(words))
    assert tokens == words
    whole = logit_of(predictor, " ".join(words))
    for i, effect in enumerate(effects):
        without = logit_of(predictor, " ".join(words[:i] + words[i + 1 :]))
        assert effect == pytest.approx(whole - without, abs=1e-3)
    assert effects[1] < 0 < effects[4]


@pytest.mark.parametrize("count", [0, 1, 70])
def test_occlusion_of_a_text_of_any_length(predictor: Predictor, count: int) -> None:
    tokens, effects = inspection.occlusion(predictor, "film " * count)
    assert tokens == ["film"] * count
    assert len(effects) == count


def test_agreement() -> None:
    assert inspection.agreement([0.9, 0.5, 0.2, 0.6], [1, 1, 0, 0]) == 2
    assert inspection.agreement(np.array([]), []) == 0


# A run


@pytest.mark.parametrize("name", sentiment.RUNS)
def test_a_result_is_what_the_run_scored(name: str) -> None:
    of = run(name, sentiment.experiment, sentiment.RUNS[name])
    model = sentiment.load(of).model
    result = inspection.result_of(of, model)
    assert f"sentiment-{result.name}" == name
    low, high = result.interval
    assert low < result.accuracy < high
    by_seed = seed_accuracies(of.predictions["logits"] > 0, result.labels)
    assert by_seed.shape == (of.config["seeds"],)
    assert by_seed.mean() == pytest.approx(result.accuracy)
    assert result.correct.double().mean().item() == pytest.approx(by_seed[0])
    trained = {n: w.numel() for n, w in model.named_parameters() if n in of.weights}
    assert trained.keys() == of.weights.keys()
    assert result.trained == sum(trained.values()) < result.total
    assert result.calibration.items.sum() == len(result.labels)


def test_the_result_of_the_baseline() -> None:
    of = run("sentiment-tfidf", *sentiment.STUDIES["sentiment-tfidf"])
    result = inspection.result_of(of)
    assert result.trained == result.total == of.metrics["features"] + 1
    assert result.count == int(result.correct.sum())
    assert training_seconds(of) == of.seconds


def test_accuracies_are_of_each_seed() -> None:
    logits = torch.tensor([[1.0, -1.0, 2.0, 3.0], [-1.0, -1.0, -1.0, -1.0]])
    found = seed_accuracies(logits > 0, torch.tensor([1, 0, 1, 0]))
    assert found.tolist() == [0.75, 0.5]


def test_the_loss_is_that_of_a_seed_on_the_test_reviews() -> None:
    logits, labels = torch.tensor([[1.0, -2.0], [3.0, 0.0]]), torch.tensor([1, 1])
    of = made_up({"logits": logits, "labels": labels})
    for seed in range(2):
        expected = binary_cross_entropy_with_logits(logits[seed], torch.ones(2))
        assert inspection.test_loss(of, seed) == pytest.approx(expected.item())


def test_the_accuracy_is_that_of_a_seed_on_the_test_reviews() -> None:
    logits, labels = torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([1, 1])
    of = made_up({"logits": logits, "labels": labels})
    assert [inspection.test_accuracy(of, seed) for seed in range(2)] == [0.5, 1.0]


def test_the_seconds_of_an_epoch_are_those_since_the_one_before() -> None:
    times = {
        "seconds": torch.tensor([[1.0, 2.0], [10.0, 25.0]]),  # so far
        "valid_seconds": torch.tensor([[0.5, 0.5], [1.0, 2.0]]),  # of each
    }
    found = inspection.epoch_seconds(made_up(times), seed=1)
    assert found.tolist() == [11, 17]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_confusion_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = zip(*pairs, strict=True)
    found = confusion(torch.tensor(predicted), torch.tensor(labels), 3)
    expected = confusion_matrix(labels, predicted, labels=[0, 1, 2])
    assert found.tolist() == expected.tolist()


def test_accuracy_by_length() -> None:
    lengths = torch.tensor([40, 10, 30, 20, 60, 50])
    correct = torch.tensor([False, True, False, True, True, True])
    found = inspection.accuracy_by_length(correct, lengths, groups=3)
    np.testing.assert_allclose(found.edges, [10, 80 / 3, 130 / 3, 60])
    assert found.accuracy.tolist() == [1, 0, 1]
    assert found.change == 0


# The studies


def test_beyond_a_limit() -> None:
    lengths = torch.tensor([4, 6, 10], dtype=torch.int32)
    assert beyond(lengths, 6) == pytest.approx((1 / 3, 4 / 20))
    assert beyond(lengths, 10) == (0, 0)


def test_change_without() -> None:
    correct = torch.tensor([True, True, False, False])
    left_out = torch.tensor([False, False, False, True])
    assert change_without(correct, left_out) == pytest.approx(2 / 3 - 1 / 2)
    assert change_without(correct, torch.zeros(4, dtype=torch.bool)) == 0


def test_swings() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0], [2.0, 3.0, -1.0], [-2.0, 2.0, -1.0]])
    swing, flips = swings(logits)
    expected = (
        torch.tensor([2.0, 3.0, -1.0]).sigmoid()
        - torch.tensor([-2.0, 1.0, -1.0]).sigmoid()
    )
    torch.testing.assert_close(swing, expected)
    assert flips.tolist() == [True, False, False]


def searched(**counts: int) -> Run:
    """A search in which each change gets so many of 100 reviews right, seed 0."""
    predictions: dict[str, Tensor] = {"valid_labels": torch.ones(100)}
    for name, count in counts.items():
        logits = torch.where(torch.arange(100) < count, 1.0, -1.0)
        predictions[f"{name}: valid_logits"] = torch.stack([logits, -logits])
    # What comes first is what the options say, not what comes first in the file.
    predictions = dict(sorted(predictions.items()))
    return made_up(predictions, config={"changes": {name: {} for name in counts}})


def test_changes_are_compared_with_the_recipe() -> None:
    tried = trials(searched(nothing=50, better=70, alike=52, worse=20))
    assert [of.name for of in tried] == ["nothing", "better", "alike", "worse"]
    assert [of.gain for of in tried] == pytest.approx([0, 0.2, 0.02, -0.3])
    assert tried[0] == Trial("nothing", 0.5, 0.0, 1.0)
    assert tried[1].accuracy == pytest.approx(0.7)
    # Twenty reviews are right with the change alone.
    assert tried[1].p == pytest.approx(2 * 0.5**20)
    assert significant(tried, 1, 0.05) == ["better"]
    assert significant(tried, -1, 0.05) == ["worse"]
    assert significant(tried, 1, level=0.9) == ["better", "alike"]
    assert significant(tried, 1, level=1e-9) == []


@pytest.mark.parametrize("name", ["sentiment-search", "sentiment-search-finetuned"])
def test_a_recorded_search_begins_with_its_recipe(name: str) -> None:
    of = run(name, *sentiment.STUDIES[name])
    tried = trials(of)
    assert tried[0].name == "nothing" and (tried[0].gain, tried[0].p) == (0, 1)
    for trial in tried:
        assert trial.accuracy == pytest.approx(of.scores[trial.name].value)


def test_the_fastest_round_counts() -> None:
    times = {
        "epoch's states": torch.tensor([5.0, 4.0]),
        "stored epoch": torch.tensor([1.0, 2.0]),
        "notebook epoch": torch.tensor([9.0, 9.0]),
    }
    seconds = fastest(times)
    assert seconds == {"epoch's states": 4, "stored epoch": 1, "notebook epoch": 9}
    assert epochs_factor(seconds, 2) == 3


# Their tables


def test_an_excerpt_is_no_markup() -> None:
    text = "*a* _b_ `c` $d$ <e> [f](g) ~h~ ^i^ @j \"k\" 'l' \\m #n {o}"
    shown = pypandoc.convert_text(excerpt(text), "plain", "markdown")
    assert shown.strip() == text


def test_an_excerpt_ends_with_a_word() -> None:
    assert excerpt("one<br />two\n <br>three four", 14) == "one two three …"
    assert excerpt("one two", 7) == "one two"


def test_the_gap_has_the_notebooks_own_cell() -> None:
    labels = torch.tensor([1, 0, 1, 0])
    right = torch.where(labels == 1, 1.0, -1.0)
    notebook = made_up({"logits": torch.stack([right, -right]), "labels": labels})
    gap = made_up(
        {
            "layer 3, GRU: logits": torch.stack([right, torch.ones(4)]),
            "layer 6, convolution: logits": torch.stack([right, right]),
            "labels": labels,
        },
        config={"changes": {"layer 3, GRU": {}, "layer 6, convolution": {}}},
    )
    found = inspection.gap_accuracies(notebook, gap)
    assert {cell: of.tolist() for cell, of in found.items()} == {
        (6, "GRU"): [1, 0],
        (3, "GRU"): [1, 0.5],
        (6, "convolution"): [1, 1],
    }


def test_values_of_epochs_as_text() -> None:
    of = made_up({"loss": torch.tensor([[0.5, 0.25], [1.0, 2.0]])})
    assert inspection.epoch_values(of, "loss", ".2f") == "0.50 and 0.25"
    assert inspection.epoch_values(of, "loss", ".0%", seed=1) == "100% and 200%"
