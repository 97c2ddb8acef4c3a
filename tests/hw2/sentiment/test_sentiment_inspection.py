"""What looks into a model of problem 5, and what sums up its runs and studies."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pypandoc
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from torch import Tensor

from hw2 import sentiment
from hw2.evaluation import confusion
from hw2.exhibits.sentiment import excerpt
from hw2.sentiment import Predictor, inspection
from hw2.sentiment.experiments import training_seconds
from hw2.sentiment.padding import swings
from hw2.sentiment.search import Trial, significant, trials
from hw2.sentiment.speed import epochs_factor, fastest
from hw2.sentiment.survey import beyond, change_without
from hw2.sentiment.training import best_epoch, is_correct
from recorded import Fingerprint, Run, run


@pytest.fixture(scope="module", autouse=True)
def recorded_only() -> Iterator[None]:
    """What these tests read of trainings has to be recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW2_TRAIN", "never")
        yield


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return sentiment.load("sentiment-frozen")


def a_run(
    metrics: dict[str, Any] | None = None,
    predictions: dict[str, Tensor] | None = None,
    config: dict[str, Any] | None = None,
) -> Run:
    """A run that took 100 seconds."""
    return Run(
        "sentiment-test",
        Fingerprint("made up", config or {}, {}, {}),
        "2000-01-01",
        100.0,
        "a machine",
        {},
        metrics or {},
        {},
        predictions or {},
        {},
        {},
    )


# A model


def logit_of(predictor: Predictor, text: str) -> float:
    p = predictor.predict_proba([text]).item()
    return math.log(p / (1 - p))


def test_occlusion_is_what_leaving_out_a_word_changes(predictor: Predictor) -> None:
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


@pytest.mark.parametrize("amount", [0, 1, 50])
def test_masked_padding_changes_no_probability(
    predictor: Predictor, amount: int
) -> None:
    for text in sentiment.GIVEN:
        (expected,) = predictor.predict_proba([text])
        found = inspection.padded_probability(predictor, text, amount, masked=True)
        assert found == pytest.approx(expected, abs=1e-4)


def test_padding_that_is_read_changes_the_probability() -> None:
    predictor, text = sentiment.load("sentiment-notebook"), sentiment.GIVEN[0]
    alone, padded = (
        inspection.padded_probability(predictor, text, amount, masked=False)
        for amount in (0, 128)
    )
    assert alone == pytest.approx(predictor.predict_proba([text]).item(), abs=1e-4)
    assert abs(padded - alone) > 1e-3


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
    if of.config["seeds"] == 1:
        assert int(result.correct.sum()) == result.count
    trained = {
        n: w.numel() for n, w in model.head.named_parameters() if n in of.weights
    }
    assert result.trained == sum(trained.values()) < result.total
    assert result.calibration.items.sum() == len(result.labels)


def test_the_result_of_the_baseline() -> None:
    of = run("sentiment-tfidf", *sentiment.STUDIES["sentiment-tfidf"])
    result = inspection.result_of(of)
    assert result.trained == result.total == of.metrics["features"] + 1
    assert result.count == int(result.correct.sum())
    assert training_seconds(of) == of.seconds


def test_training_seconds_are_those_of_all_parts() -> None:
    metrics: dict[str, Any] = {
        "reviews": {n: {"seconds": 1} for n in ("train", "test")}
    }
    for seed in range(2):
        metrics[f"seed-{seed}"] = {"history": [{"seconds": 10}, {"seconds": 20}]}
    assert training_seconds(a_run(metrics, config={"seeds": 2})) == 62
    assert training_seconds(a_run()) == 100


def test_the_best_epoch_has_the_smallest_validation_loss() -> None:
    history = [{"valid_loss": loss} for loss in (0.5, 0.3, 0.4, 0.3)]
    assert best_epoch(history) == 1
    with pytest.raises(ValueError, match="empty"):
        best_epoch([])


def test_is_correct_by_the_sign() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0], [-2.0, 1.0, 3.0]])
    expected = [[True, True, False], [False, False, True]]
    assert is_correct(logits, torch.tensor([1, 0, 1])).tolist() == expected


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
    """A search in which each change gets so many of 100 reviews right."""
    predictions = {"labels": torch.ones(100)}
    for name, count in counts.items():
        predictions[name] = torch.where(torch.arange(100) < count, 1.0, -1.0)
    history = [{"seconds": 30}, {"seconds": 60}]
    return a_run(dict.fromkeys(counts, history), predictions)


def test_changes_are_compared_with_the_recipe() -> None:
    tried = trials(searched(nothing=50, better=70, alike=52, worse=20))
    assert [of.gain for of in tried] == pytest.approx([0, 0.2, 0.02, -0.3])
    assert tried[0] == Trial("nothing", 0.5, 0.0, 1.0, 90, True)
    assert tried[1].p == pytest.approx(2 * 0.5**20)
    assert significant(tried, 1) == ["better"]
    assert significant(tried, -1) == ["worse"]
    assert significant(tried, 1, level=0.9) == ["better", "alike"]
    assert significant(tried, 1, level=1e-9) == []


def test_ideas_are_compared_with_the_best_so_far() -> None:
    of = searched(start=50, gains=70, loses=60, more=80)
    of.metrics["taken"] = {"x": 1, "y": 2, "z": 4}
    ideas: dict[str, dict[str, Any]] = {
        "gains": {"x": 1, "y": 2},
        "loses": {"z": 3},
        "more": {"z": 4},
    }
    tried = trials(of, ideas)
    assert [trial.gain for trial in tried] == pytest.approx([0, 0.2, -0.1, 0.1])
    assert [trial.taken for trial in tried] == [True, True, False, True]


def test_the_climb_took_over_what_gained() -> None:
    experiment, config = sentiment.STUDIES["sentiment-climb"]
    climb = run("sentiment-climb", experiment, config)
    tried = trials(climb, config.ideas)
    taken: dict[str, Any] = {}
    for trial in tried[1:]:
        assert trial.taken == (trial.gain >= config.gain)
        taken |= config.ideas[trial.name] if trial.taken else {}
    assert taken == climb.metrics["taken"]


def test_the_fastest_round_counts() -> None:
    times = {
        "epoch's states": torch.tensor([5.0, 4.0]),
        "stored epoch": torch.tensor([1.0, 2.0]),
        "notebook epoch": torch.tensor([9.0, 9.0]),
    }
    seconds = fastest(a_run(predictions=times))
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
