"""Which reviews are trained, validated and tested on; and the sample for the tests."""

import dataclasses

import pytest
import torch

from hw2 import data
from hw2.sentiment import Config
from hw2.sentiment.reviews import Reviews, subsets
from small_sentiment import SMALL, halves, sample


def test_subsets_are_disjoint_and_of_the_stated_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    parts = subsets(SMALL)
    sizes = {name: len(texts) for name, (texts, _) in parts.items()}
    assert sizes == {"train": 16, "valid": 8, "test": 24}
    assert all(len(texts) == len(labels) for texts, labels in parts.values())
    assert len({text for texts, _ in parts.values() for text in texts}) == 48
    truth = dict(zip(*sample(), strict=True))
    for texts, labels in parts.values():
        assert 2 * labels.sum() == len(labels)
        assert labels.tolist() == [truth[text] for text in texts]


def test_subsets_of_imdb(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> Reviews:
        return [f"{split} {i}" for i in range(100)], torch.arange(100) % 2

    monkeypatch.setattr(data, "imdb", imdb)
    config = Config(train_size=60, valid_size=40, test_size=50)
    parts = subsets(config)
    train, valid, test = (set(texts) for texts, _ in parts.values())
    assert (len(train), len(valid), len(test)) == (60, 40, 50)
    assert not train & valid
    assert all(text.startswith("train") for text in train | valid)
    assert all(text.startswith("test") for text in test)
    assert subsets(config)["test"][0] == parts["test"][0]
    more_seeds = subsets(dataclasses.replace(config, seeds=2))
    assert more_seeds["test"][0] == parts["test"][0]


def test_subsets_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    with pytest.raises(ValueError, match=r"\[18, 8\] reviews.* out of 12"):
        subsets(dataclasses.replace(SMALL, train_size=18))


def test_sample_is_balanced_and_without_repeats() -> None:
    texts, labels = sample()
    assert len(texts) == len(set(texts)) == 48
    assert labels.tolist() == [1, 0] * 24
