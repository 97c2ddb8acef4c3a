"""The studies of problem 5, each on the sample or on made-up reviews."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import hw2
from hw2 import data, sentiment
from hw2.sentiment import Config, Predictor, search
from hw2.sentiment.config import (
    FIRST,
    Climb,
    Padding,
    Search,
    Speed,
    Survey,
    Tfidf,
)
from hw2.sentiment.model import GruHead
from hw2.sentiment.padding import more, padded, padding
from hw2.sentiment.reviews import Reviews
from hw2.sentiment.speed import NotebookModel, speed, speed_score
from hw2.sentiment.survey import survey
from hw2.sentiment.tfidf import PROBES, tfidf, tfidf_score
from hw2.training import count_parameters
from recorded import Checkpoint, run
from small_sentiment import OTHERS, SMALL, halves

pytestmark = pytest.mark.usefixtures("one_thread")


def test_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> Reviews:
        texts, labels = halves(split)
        train, _ = halves("train")
        return (texts if split == "train" else [*train[:2], *texts[2:]]), labels

    monkeypatch.setattr(data, "imdb", imdb)
    found = survey(Survey(SMALL), Checkpoint())
    assert found.predictions["repeated"].sum() == 2
    assert found.metrics["twice"] == {"train": 0, "valid": 0, "test": 0}
    assert [len(found.predictions[n]) for n in ("train", "valid", "test")] == [
        16,
        8,
        24,
    ]


def test_tfidf(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a word decides is learned, and the strength is chosen by validation."""

    def imdb(split: str) -> Reviews:
        labels = torch.arange(40) % 2
        words = {0: "bad dull", 1: "good fine"}
        return [
            f"{split} {words[int(of)]} x{i % 7}" for i, of in enumerate(labels)
        ], labels

    monkeypatch.setattr(data, "imdb", imdb)
    config = Tfidf(dataclasses.replace(SMALL, test_size=40))
    found = tfidf(config, Checkpoint())
    scores = tfidf_score(found.predictions)
    assert scores["accuracy"].value == scores["all"].value == 1.0
    assert len(found.predictions["probes"]) == len(PROBES)
    best = max(zip(found.metrics["valid"], config.strengths, strict=True))
    assert found.metrics["chosen"] == best[1]


def test_padding_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    monkeypatch.setattr(hw2, "RECORDS", tmp_path)
    recipe = dataclasses.replace(SMALL, seeds=2, epochs=1)
    found = padding(Padding(recipe, short=40, watched=5), Checkpoint())
    assert found.predictions["masked"].shape == (2, 24)
    assert found.predictions["read"].shape == (2, 24)
    watched = found.predictions["watched"]
    assert watched.shape == (5, 5)
    assert (watched.amax(dim=0) > watched.amin(dim=0)).all()


@pytest.mark.parametrize("quarters", range(5))
def test_padding_grows_to_the_limit(quarters: int) -> None:
    rows = [[1] * 4, [1] * 12]
    found = more(rows, 12, quarters)
    assert [len(row) for row in found] == [4 + 2 * quarters, 12]
    assert all(sum(row) == sum(was) for row, was in zip(found, rows, strict=True))
    assert padded(rows, 12) == more(rows, 12, 4)


def test_search_reads_no_test_review(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def imdb(split: str) -> Reviews:
        texts, labels = halves(split)
        return (texts if split == "train" else [None] * 24), labels  # type: ignore

    monkeypatch.setattr(data, "imdb", imdb)
    monkeypatch.setattr(hw2, "RECORDS", tmp_path)
    changes: dict[str, dict[str, Any]] = {"nothing": {}, "layer 2": {"layer": 2}}
    found = search.search(Search(OTHERS["cnn"], changes), Checkpoint())
    assert set(found.predictions) == {"nothing", "layer 2", "labels"}
    assert all(len(logits) == 8 for logits in found.predictions.values())
    assert set(search.validation_score(found.predictions)) == set(changes)


def test_a_climb_keeps_what_gains_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """By rates, of which each gives a known number of right verdicts out of ten."""
    hits = {0.0: 5, 0.5: 6, 1.0: 7, 2.0: 8, 3.0: 8, 4.0: 3, 5.0: 9}
    seen = []

    def validated(recipe: Config, *_: object) -> Any:
        seen.append((recipe.lr, recipe.dropout))
        logits = torch.ones(10)
        logits[hits[recipe.lr] :] = -1
        return [], logits, torch.ones(10)

    monkeypatch.setattr(search, "validated", validated)
    ideas: dict[str, dict[str, Any]] = {
        "a little": {"lr": 0.5},
        "gains": {"lr": 1.0, "dropout": 0.5},
        "too little": {"lr": 2.0, "dropout": 0.1},
        "as little": {"lr": 3.0},
        "loses": {"lr": 4.0},
        "too late": {"lr": 5.0},
    }
    climb = Climb(Config(lr=0.0), ideas, gain=0.15)
    found = search.climb(climb, Checkpoint())
    assert seen[:3] == [(0.0, 0.25), (0.5, 0.25), (1.0, 0.5)]
    assert seen[3:] == [(2.0, 0.1), (3.0, 0.5), (4.0, 0.5)]
    assert list(found.metrics) == ["start", *list(ideas)[:-1], "taken"]
    assert found.predictions.keys() == {*found.metrics, "labels"} - {"taken"}
    assert found.metrics["taken"] == ideas["gains"]


def test_the_frozen_recipe_is_what_the_climb_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    climb = run("sentiment-climb", *sentiment.STUDIES["sentiment-climb"])
    found = dataclasses.replace(FIRST, **climb.metrics["taken"])
    assert dataclasses.replace(sentiment.RUNS["sentiment-frozen"], seeds=1) == found


def test_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> Reviews:
        texts, labels = halves(split)
        return texts * 1042, labels.repeat(1042)

    monkeypatch.setattr(data, "imdb", imdb)
    config = Speed(
        reviews=8,
        max_tokens=16,
        epoch_reviews=4,
        epoch_tokens=16,
        step_reviews=2,
        rounds=2,
        batch=2,
    )
    found = speed(config, Checkpoint()).predictions
    assert set(speed_score(found)) == {"encoding", "epoch", "step"}
    assert {len(times) for times in found.values()} == {2}
    scores = speed_score(
        {
            name: torch.tensor([seconds, 99.0])
            for name, seconds in {
                "encode": 2.0,
                "library": 8.0,
                "loop": 6.0,
                "stored epoch": 1.0,
                "notebook epoch": 12.0,
                "packed step": 20.0,
                "padded step": 3.0,
                "reversed step": 4.0,
            }.items()
        }
    )
    assert {name: score.value for name, score in scores.items()} == {
        "encoding": 3,
        "epoch": 12,
        "step": 5,
    }


def test_the_notebooks_model_reads_padding(predictor: Predictor) -> None:
    torch.manual_seed(0)
    model = NotebookModel(predictor.model.encoder, 384).eval()
    assert count_parameters(model) == count_parameters(GruHead(384, 256, 2, 0.25))
    with torch.no_grad():
        alone = model(torch.tensor([[101, 2204, 102]]))
        more = model(torch.tensor([[101, 2204, 102, 0, 0, 0]]))
    assert (alone - more).abs() > 1e-3
