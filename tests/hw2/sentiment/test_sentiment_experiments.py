"""The runs of problem 5: whole, on the sample, and as they are recorded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hw2
from hw2 import data, sentiment
from hw2.sentiment import Config, encoder, experiments
from hw2.sentiment.encoder import fast_bfloat16
from hw2.sentiment.experiments import (
    changes_score,
    compare,
    confident_errors,
    prepare,
    score,
    search,
    train_and_test,
    training_seconds,
)
from hw2.sentiment.reviews import Reviews, subsets
from hw2.sentiment.training import binary_accuracy
from hw2.study import Study, of_change
from recorded import Checkpoint, Run, Tensors, run
from small_sentiment import OTHERS, SMALL, halves, made_up

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = {"gru": SMALL} | OTHERS


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sample in the place of IMDB, and a folder for what is encoded."""
    monkeypatch.setattr(data, "imdb", halves)
    monkeypatch.setattr(hw2, "RECORDS", tmp_path / "records")


# The runs


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ALL)
def test_a_run_holds_what_is_shown_of_it(
    sentiment_runs: dict[str, Run], name: str
) -> None:
    config, made = ALL[name], sentiment_runs[name]
    given, seeds = made.predictions, config.seeds
    assert given["logits"].shape == (seeds, 24)
    assert given["valid_logits"].shape == (seeds, 8)
    parts = subsets(config)
    assert torch.equal(given["labels"], parts["test"][1])
    assert torch.equal(given["valid_labels"], parts["valid"][1])
    steps = config.epochs * config.train_size // config.batch
    assert given["losses"].shape == given["correct"].shape == (seeds, steps)
    for what in (
        *("loss", "accuracy", "seconds"),
        *("valid_loss", "valid_accuracy", "valid_seconds"),
    ):
        assert given[what].shape == (seeds, config.epochs)
    accuracy = binary_accuracy(given["logits"], given["labels"])
    assert made.scores["accuracy"].value == pytest.approx(accuracy)
    assert {weight.dtype for weight in made.weights.values()} == {torch.float16}
    assert made.metrics["bfloat16"] == fast_bfloat16()
    errors = confident_errors(parts["test"], given["logits"][0])
    assert made.metrics["errors"] == errors


@pytest.mark.parametrize("name", ALL)
def test_a_run_says_what_it_read(sentiment_runs: dict[str, Run], name: str) -> None:
    config, of = ALL[name], sentiment_runs[name].metrics["reviews"]
    for part, size in (("train", 16), ("valid", 8), ("test", 24)):
        assert (of[part]["count"], of[part]["positive"]) == (size, size // 2)
        assert of[part]["truncated"] == 0
        if config.rank:
            assert of[part].keys() == {"count", "positive", "truncated"}
        else:
            assert of[part]["seconds"] > 0 and not of[part]["reused"]


@pytest.mark.usefixtures("small")
def test_the_weights_that_training_gives_are_rounded_and_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not those that it ended with."""

    def fit(model: nn.Module, *_: Any, seed: int, **__: Any) -> tuple[Any, Tensors]:
        best = {what: of.detach().clone() for what, of in model.named_parameters()}
        best["linear.weight"] = torch.zeros_like(best["linear.weight"])
        best["linear.bias"] = torch.tensor([seed + 0.3])
        for of in model.parameters():
            nn.init.ones_(of)
        return {"losses": [0.0]}, best

    monkeypatch.setattr(experiments, "fit", fit)
    monkeypatch.setattr(encoder, "fast_bfloat16", lambda: False)
    config = OTHERS["cnn"]
    found = train_and_test(config, data.minilm_folder, subsets(config), Checkpoint())
    bias = torch.tensor([[0.3], [1.3]]).half()
    assert (bias != torch.tensor([[0.3], [1.3]])).all()
    for what in ("logits", "valid_logits"):
        logits = found.predictions[what]
        assert torch.equal(logits, bias.float().expand_as(logits))
    assert found.weights["head.linear.bias"].tolist() == bias[0].tolist()


def test_seeds_are_trained_apart(sentiment_runs: dict[str, Run]) -> None:
    given = sentiment_runs["cnn"].predictions
    for what in ("logits", "valid_logits", "losses"):
        assert not torch.equal(given[what][0], given[what][1])


def test_what_a_run_scores() -> None:
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    found = score({"logits": logits, "labels": torch.tensor([1, 0])})
    assert found["accuracy"].value == 0.75


def test_reviews_that_reach_the_limit_are_counted() -> None:
    texts, labels = ["film " * n for n in (3, 7, 8, 9, 50)], torch.ones(5)
    config = replace(OTHERS["finetuned"], max_tokens=10)  # 8 words, [CLS] and [SEP]
    reviews: dict[str, Reviews] = {"train": (texts, labels)}
    _, facts = prepare(config, data.minilm_folder, Checkpoint(), reviews)
    assert facts["train"] == {"count": 5, "positive": 5, "truncated": 3}


@pytest.mark.usefixtures("small")
def test_states_of_an_earlier_run_are_told(tmp_path: Path) -> None:
    """In what a run notes, with the seconds that they once took."""
    reviews = {"train": subsets(SMALL)["train"]}
    _, first = prepare(SMALL, data.minilm_folder, Checkpoint(tmp_path / "a"), reviews)
    _, again = prepare(SMALL, data.minilm_folder, Checkpoint(tmp_path / "b"), reviews)
    assert again["train"] == first["train"] | {"reused": True}


def test_confident_errors_are_the_worst_of_either_kind() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1])
    logits = torch.tensor([3.0, -9.0, 1.0, -2.0, 5.0])
    found = confident_errors((["a", "b", "c", "d" * 999, "e"], labels), logits)
    assert [(e["label"], e["logit"]) for e in found] == [(0, 3.0), (0, 1.0), (1, -2.0)]
    assert [e["text"] for e in found] == ["a", "c", "d" * 400]


def test_of_many_errors_the_worst_are_told() -> None:
    labels = torch.tensor([0] * 5 + [1] * 5)
    logits = torch.tensor([1.0, 5, 2, 4, 3, -1, -5, -2, -4, -3])
    found = confident_errors((list("abcdefghij"), labels), logits)
    assert [e["text"] for e in found] == ["b", "d", "e", "g", "i", "j"]


# Studies

CHANGES: dict[str, dict[str, Any]] = {"nothing": {}, "fast": {"lr": 0.1}}


@pytest.mark.usefixtures("small")
def test_search_reads_no_test_review(
    monkeypatch: pytest.MonkeyPatch, sentiment_runs: dict[str, Run], tmp_path: Path
) -> None:
    def imdb(split: str) -> Reviews:
        texts, labels = halves(split)
        return (texts if split == "train" else [None] * 24), labels  # type: ignore

    monkeypatch.setattr(data, "imdb", imdb)
    study = Study(OTHERS["cnn"], CHANGES, seeds=1)
    torch.manual_seed(99)  # what was drawn before has no bearing
    found = search(study, Checkpoint(tmp_path / "run"))
    assert {name.rpartition(": ")[2] for name in found.predictions} == {
        *("losses", "correct", "loss", "accuracy", "seconds"),
        *("valid_loss", "valid_accuracy", "valid_seconds"),
        *("valid_logits", "valid_labels"),
    }
    made = made_up(found.predictions)
    logits = {name: of_change(made, name)["valid_logits"] for name in CHANGES}
    # The study has one seed, of the two that the recipe has, and the same first one.
    whole = sentiment_runs["cnn"].predictions
    assert torch.equal(logits["nothing"], whole["valid_logits"][:1])
    assert logits["fast"].shape == (1, 8)
    assert (logits["fast"] - logits["nothing"]).abs().max() > 0.1
    assert torch.equal(found.predictions["valid_labels"], whole["valid_labels"])
    scores = changes_score(found.predictions)
    assert {name: of.value for name, of in scores.items()} == {
        name: binary_accuracy(of, whole["valid_labels"]) for name, of in logits.items()
    }
    assert found.metrics.keys() == CHANGES.keys() and not found.weights
    for of in found.metrics.values():
        assert of["reviews"].keys() == {"train", "valid"}


@pytest.mark.usefixtures("small")
def test_a_comparison_tests_each_change(
    sentiment_runs: dict[str, Run], tmp_path: Path
) -> None:
    study = Study(SMALL, {"GRU": {}, "convolution": {"head": "cnn"}}, seeds=2)
    torch.manual_seed(99)
    found = compare(study, Checkpoint(tmp_path / "run")).predictions
    whole = sentiment_runs["gru"].predictions
    made = made_up(found)
    for what in ("logits", "valid_logits"):
        gru, cnn = (of_change(made, name)[what] for name in study.changes)
        assert torch.equal(gru[:1], whole[what]) and len(cnn) == len(gru) == 2
        assert not torch.equal(gru, cnn)
    for what in ("labels", "valid_labels"):
        assert torch.equal(found[what], whole[what])
    for name, of in changes_score(found).items():
        logits = of_change(made, name)["logits"]
        assert of.value == binary_accuracy(logits, whole["labels"])


def test_changes_are_scored_by_what_was_tested_else_by_validation() -> None:
    right, wrong = torch.ones(2, 5), -torch.ones(2, 5)
    predictions = {
        "a: valid_logits": wrong,
        "b: valid_logits": torch.cat([right[:1], wrong[:1]]),
        "valid_labels": torch.ones(5),
    }
    found = {name: of.value for name, of in changes_score(predictions).items()}
    assert found == {"a": 0, "b": 0.5}
    predictions |= {"a: logits": right, "b: logits": wrong, "labels": torch.ones(5)}
    found = {name: of.value for name, of in changes_score(predictions).items()}
    assert found == {"a": 1, "b": 0}


@pytest.mark.usefixtures("small")
def test_without_test_reviews_nothing_is_tested() -> None:
    config = OTHERS["finetuned"]
    reviews = {part: of for part, of in subsets(config).items() if part != "test"}
    found = train_and_test(config, data.minilm_folder, reviews, Checkpoint())
    assert not {"logits", "labels"} & found.predictions.keys()
    assert found.predictions["valid_logits"].shape == (1, 8)


# Times


def test_training_seconds_are_those_of_all_parts() -> None:
    times: dict[str, Tensor] = {
        "seconds": torch.tensor([[10.0, 20.0], [15.0, 30.0]]),  # so far
        "valid_seconds": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),  # of each
    }
    encoding = {"train": {"seconds": 100.0}, "valid": {"seconds": 200.0}}
    assert training_seconds(made_up(times, {"reviews": encoding})) == 360
    trained: dict[str, Any] = {"train": {}, "valid": {}, "test": {}}
    assert training_seconds(made_up(times, {"reviews": trained})) == 60
    assert training_seconds(made_up()) == 100


def test_training_seconds_are_without_the_test() -> None:
    times = {"seconds": torch.ones(1, 1), "valid_seconds": torch.ones(1, 1)}
    encoding = {"train": {"seconds": 10.0}, "test": {"seconds": 99.0}}
    assert training_seconds(made_up(times, {"reviews": encoding})) == 12


# The records


@pytest.fixture(scope="module")
def tested() -> Reviews:
    """The reviews of IMDB, where it is at hand, that all runs are tested on."""
    try:
        return subsets(Config())["test"]
    except data.MissingData as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", sentiment.RUNS)
def test_the_recorded_model_predicts_what_it_predicted(
    monkeypatch: pytest.MonkeyPatch, tested: Reviews, name: str
) -> None:
    """By its name."""
    monkeypatch.setenv("HW2_TRAIN", "never")
    texts, labels = tested
    given = run(name, sentiment.experiment, sentiment.RUNS[name]).predictions
    assert torch.equal(labels, given["labels"])
    some = slice(12_480, 12_520)  # of both kinds
    found = torch.tensor(sentiment.load(name).predict_proba(texts[some]))
    # the run's states were in half precision, and its matrices in bfloat16
    expected = given["logits"][0, some].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
