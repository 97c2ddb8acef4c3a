"""The studies of problem 5, each on the sample or on made-up reviews."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hw2
from hw2 import data
from hw2.sentiment import padding as padding_study
from hw2.sentiment import speed as speed_study
from hw2.sentiment import tfidf as tfidf_study
from hw2.sentiment import training
from hw2.sentiment.config import Padding, Speed, Survey, Tfidf
from hw2.sentiment.encoder import Encoded, States
from hw2.sentiment.model import GruHead
from hw2.sentiment.padding import (
    AMOUNTS,
    batch_lengths,
    filled,
    padding,
    padding_fractions,
    padding_score,
    reaches,
    short_reviews,
    with_padding,
)
from hw2.sentiment.reviews import Reviews
from hw2.sentiment.speed import ReadsPadding, in_rounds, speed, speed_score
from hw2.sentiment.survey import survey
from hw2.sentiment.tfidf import PROBES, tfidf, tfidf_score
from hw2.sentiment.tokens import tokenize
from hw2.training import count_parameters
from recorded import Checkpoint, Tensors
from small_sentiment import SMALL, halves

pytestmark = pytest.mark.usefixtures("one_thread")

# The reviews


def test_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> Reviews:
        texts, labels = halves(split)
        train, _ = halves("train")
        test = [*train[:2], *texts[2:23], texts[2]]
        return (texts if split == "train" else test), labels

    monkeypatch.setattr(data, "imdb", imdb)
    found = survey(Survey(SMALL), Checkpoint())
    assert found.predictions["repeated"].sum() == 2
    assert found.metrics["twice"] == {"train": 0, "valid": 0, "test": 1}
    lengths = {name: found.predictions[name] for name in ("train", "valid", "test")}
    assert [len(of) for of in lengths.values()] == [16, 8, 24]
    assert all(of.dtype == torch.int32 and of.min() > 2 for of in lengths.values())


# The baseline


def test_a_word_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is learned, and the strength is chosen by validation."""

    def imdb(split: str) -> Reviews:
        labels = torch.arange(40) % 2
        words = {0: "bad dull", 1: "good fine"}
        return [
            f"{split} {words[int(of)]} x{i % 7}" for i, of in enumerate(labels)
        ], labels

    monkeypatch.setattr(data, "imdb", imdb)
    config = Tfidf(replace(SMALL, test_size=40))
    found = tfidf(config, Checkpoint())
    scores = tfidf_score(found.predictions)
    assert scores["accuracy"].value == scores["all"].value == 1.0
    shapes = {name: tuple(of.shape) for name, of in found.predictions.items()}
    assert shapes == {
        **{"logits": (40,), "all": (40,), "labels": (40,)},
        **{"valid_logits": (8,), "valid_labels": (8,), "probes": (len(PROBES),)},
    }
    best = max(zip(found.metrics["valid"], config.strengths, strict=True))
    assert found.metrics["chosen"] == best[1]
    assert found.metrics["features"] > 4


def test_only_the_last_model_has_read_the_validation_reviews(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test reviews are told by a word that stands nowhere else."""
    labels = torch.arange(8) % 2
    common, rare = (
        [words[int(of)] for of in labels]
        for words in (("bad", "good"), ("dull", "fine"))
    )
    parts = {
        "train": (common, labels),
        "valid": ([" ".join(pair) for pair in zip(common, rare, strict=True)], labels),
        "test": (rare, labels),
    }
    monkeypatch.setattr(tfidf_study, "subsets", lambda _: parts)
    found = tfidf(Tfidf(SMALL), Checkpoint()).predictions
    assert torch.equal(found["labels"], labels)
    assert torch.equal(found["valid_labels"], labels)
    assert torch.equal(found["valid_logits"] > 0, labels == 1)
    assert len(found["logits"].unique()) == 1  # no word is known
    assert torch.equal(found["all"] > 0, labels == 1)


# Padding

WAYS = ("masked", "sorted", "padded")
PADDED = replace(SMALL, seeds=2, epochs=1, by_length=False, layer=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    monkeypatch.setattr(hw2, "RECORDS", tmp_path)


@pytest.mark.usefixtures("small")
def test_padding_is_masked_or_read(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[list[int], list[list[int]], Tensor]] = []
    train_epoch = training.train_epoch

    def look(head: Any, reviews: Encoded, batches: list[Tensor], *rest: Any) -> None:
        first = head.linear.weight.detach().clone()
        plan = [batch.tolist() for batch in batches]
        trained.append((reviews.lengths.tolist(), plan, first))
        train_epoch(head, reviews, batches, *rest)

    monkeypatch.setattr(training, "train_epoch", look)
    found = padding(Padding(PADDED, short=40, watched=5), Checkpoint()).predictions
    # Both ways have the same batches and the same first weights, each seed its own.
    assert len(trained) == 4
    masked, read = trained[:2], trained[2:]
    for (lengths, plan, first), (longer, again, same) in zip(masked, read, strict=True):
        assert plan == again and torch.equal(first, same)
        assert max(lengths) < PADDED.max_tokens
        assert longer == [PADDED.max_tokens] * len(lengths)
    assert masked[0][1] != masked[1][1] and not torch.equal(masked[0][2], masked[1][2])

    for way in WAYS:
        assert found[way].shape == (2, 24)
    assert not torch.equal(found["masked"], found["sorted"])
    assert not torch.equal(found["sorted"], found["padded"])
    for way in ("masked", "read"):
        assert found[f"{way}: losses"].shape == (2, 4)
        assert found[f"{way}: valid_loss"].shape == (2, 1)
    watched = found["watched"]
    assert watched.shape == (5, 5)
    assert (watched.amax(dim=0) > watched.amin(dim=0)).all()
    assert found["given"].shape == (len(AMOUNTS), 2)
    assert (found["given"][0] != found["given"][-1]).all()


@pytest.mark.usefixtures("small")
def test_what_is_read_of_padding_differs_from_part_to_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it in training, that of sorted batches in validation, both in the test."""
    encoded: list[tuple[str, list[list[int]]]] = []

    def look(encoder: nn.Module, ids: list[list[int]], part: str, *_: Any) -> States:
        encoded.append((part, ids))
        starts = torch.tensor([0, *map(len, ids)]).cumsum(0)
        return States(torch.zeros(int(starts[-1]), 384).half(), starts, 0.0, False)

    monkeypatch.setattr(padding_study, "encode", look)
    padding(Padding(PADDED, short=40, watched=5), Checkpoint())
    first, then = dict(encoded[:3]), encoded[3:]
    assert sorted(first) == ["test", "train", "valid"]
    whole = {
        part: filled(rows, [PADDED.max_tokens] * len(rows))
        for part, rows in first.items()
    }
    in_batches = {
        part: filled(rows, batch_lengths(rows)) for part, rows in first.items()
    }
    assert then == [
        ("train", whole["train"]),
        ("valid", in_batches["valid"]),
        ("test", in_batches["test"]),
        ("test", whole["test"]),
    ]


def test_reviews_are_filled_with_padding() -> None:
    rows = [[101, 7, 102], [101, 102]]
    assert filled(rows, [3, 4]) == [[101, 7, 102], [101, 102, 0, 0]]


def test_reviews_in_sorted_batches_are_as_long_as_the_longest() -> None:
    rows = [[1] * n for n in (5, 2, 9, 3, 4)]
    assert batch_lengths(rows, 2) == [5, 3, 9, 3, 5]
    assert batch_lengths(rows) == [9] * 5


def test_where_there_is_no_padding_both_ways_are_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To the bit: of reviews that all have as many tokens as are read."""

    def imdb(split: str) -> Reviews:
        labels = torch.arange(24) % 2
        words = ("bad", "good")
        return [f"a {words[int(of)]} film" for of in labels], labels

    monkeypatch.setattr(data, "imdb", imdb)
    monkeypatch.setattr(hw2, "RECORDS", tmp_path)
    recipe = replace(PADDED, seeds=1, max_tokens=5)
    found = padding(Padding(recipe, short=40, watched=5), Checkpoint()).predictions
    assert torch.equal(found["masked"], found["sorted"])
    for what in ("losses", "correct", "valid_loss"):
        assert torch.equal(found[f"masked: {what}"], found[f"read: {what}"])
    torch.testing.assert_close(found["sorted"], found["padded"], rtol=0, atol=0.02)
    # Alone and without padding a review has the logit that it has among others.
    bad, good = found["sorted"][0, 0], found["sorted"][0, -1]
    for logit in found["watched"][0]:
        assert min((logit - bad).abs(), (logit - good).abs()) < 0.02


def test_the_ways_are_scored_by_their_logits() -> None:
    logits = {"masked": [1.0, 1.0], "sorted": [1.0, -1.0], "padded": [-1.0, -1.0]}
    predictions = {name: torch.tensor([row, row]) for name, row in logits.items()}
    scores = padding_score(predictions | {"labels": torch.ones(2)})
    found = {name: score.value for name, score in scores.items()}
    assert found == {"masked": 1, "sorted": 0.5, "padded": 0}


def test_short_reviews_are_few_and_from_everywhere() -> None:
    config = Padding(SMALL, short=9, watched=4)
    rows = [[n] * (5 if n % 2 else 20) for n in range(100)]
    found = short_reviews(rows, config)
    assert len(found) == 4 and all(len(row) == 5 for row in found)
    places = [row[0] for row in found]
    assert places == sorted(set(places)) and places[0] < 30 and places[3] > 70
    assert short_reviews(rows[:6], config) == [[1] * 5, [3] * 5, [5] * 5]
    # Of seven, not the first four.
    assert [row[0] for row in short_reviews(rows[:14], config)] == [1, 3, 7, 11]


def test_how_much_of_what_is_read_is_padding() -> None:
    lengths = torch.tensor([3, 1, 9, 5])  # of which 3, 1, 8, 5 are read
    # 32 places hold 17 tokens; sorted in pairs, (1, 3) and (5, 8), 22 places do.
    found = padding_fractions(lengths, limit=8, size=2)
    assert found == pytest.approx((15 / 32, 5 / 22))


def test_how_often_a_batch_reaches_the_limit() -> None:
    lengths, recipe = torch.tensor([5, 9, 512, 600]), replace(SMALL, batch=3)
    assert reaches(lengths, replace(recipe, max_tokens=512)) == 1 - 1 / 8
    assert reaches(lengths, replace(recipe, max_tokens=5)) == 1


def test_padding_that_is_added_is_read() -> None:
    class Counts(nn.Module):
        """How long a review is, and how much of it is read; alone in its batch."""

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            assert len(ids) == 1
            return 100.0 * mask.sum(dim=1) + (ids == 0).sum(dim=1)

    found = with_padding(Counts(), [[5, 6], [7], [8, 9, 4]], [0, 3, 1])
    assert found.tolist() == [200, 403, 401]


# Speed


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
    assert all((times > 0).all() for times in found.values())


def test_speed_is_the_ratio_of_the_fastest_rounds() -> None:
    seconds = {
        "encode": 2.0,
        "library": 8.0,
        "loop": 6.0,
        "stored epoch": 1.0,
        "notebook epoch": 12.0,
        "packed step": 20.0,
        "padded step": 3.0,
        "reversed step": 4.0,
    }
    scores = speed_score(
        {name: torch.tensor([of, 99.0]) for name, of in seconds.items()}
    )
    assert {name: score.value for name, score in scores.items()} == {
        "encoding": 3,
        "epoch": 12,
        "step": 5,
    }


def test_the_ways_take_turns_after_a_round_that_does_not_count() -> None:
    called: list[str] = []

    def way(name: str) -> Callable[[], None]:
        def work() -> None:
            if name not in called:
                time.sleep(0.2)
            called.append(name)

        return work

    found = in_rounds({name: way(name) for name in "ab"}, 3)
    assert called == ["a", "b"] * 4
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3}
    assert all(times.min() > 0 and times.max() < 0.1 for times in found.values())


@pytest.mark.parametrize(("reviews", "epoch_reviews"), [(6, 4), (4, 6), (4, 4)])
def test_all_ways_read_as_many_reviews(
    monkeypatch: pytest.MonkeyPatch, reviews: int, epoch_reviews: int
) -> None:
    def imdb(split: str) -> Reviews:
        texts, labels = halves(split)
        return texts * 1042, labels.repeat(1042)

    class Library:
        """In the place of ``sentence_transformers``."""

        def __init__(self, *_: Any, **__: Any) -> None:
            self.max_seq_length = 0

        def encode(self, texts: list[str], show_progress_bar: bool) -> None:
            seen.append(len(texts))

    seen: list[int] = []

    def counted(tokenizer: Any, texts: list[str], *rest: Any) -> Any:
        seen.append(len(texts))
        return tokenize(tokenizer, texts, *rest)

    def once(ways: Mapping[str, Callable[[], Any]], rounds: int) -> Tensors:
        counts = {}
        for name, way in ways.items():
            seen.clear()
            way()
            counts[name] = torch.tensor([sum(seen)])
        return counts

    monkeypatch.setattr(data, "imdb", imdb)
    monkeypatch.setattr("sentence_transformers.SentenceTransformer", Library)
    monkeypatch.setattr(speed_study, "tokenize", counted)
    monkeypatch.setattr(speed_study, "in_rounds", once)
    config = Speed(
        reviews=reviews,
        max_tokens=16,
        epoch_reviews=epoch_reviews,
        epoch_tokens=16,
        step_reviews=2,
        batch=2,
    )
    found = speed(config, Checkpoint()).predictions
    counts = {name: int(of) for name, of in found.items() if of}
    assert counts == {
        **dict.fromkeys(("encode", "library", "loop"), reviews),
        **dict.fromkeys(("epoch's states", "notebook epoch"), epoch_reviews),
    }


def test_the_notebooks_head_reads_padding() -> None:
    torch.manual_seed(0)
    head = ReadsPadding(6).eval()
    assert count_parameters(head) == count_parameters(GruHead(6, 256, 2, 0.25))
    states = torch.randn(2, 5, 6)
    longer = torch.cat([states, torch.zeros(2, 3, 6)], dim=1)
    with torch.no_grad():
        assert ((head(states) - head(longer)).abs() > 1e-4).all()
