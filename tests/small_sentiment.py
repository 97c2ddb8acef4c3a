"""Problem 5 in small: options, and reviews in the place of IMDB."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from conftest import ROOT
from hw2.sentiment import Config
from hw2.sentiment.reviews import Reviews
from recorded import Fingerprint, Metrics, Run, Tensors

SAMPLE = ROOT / "tests" / "hw2" / "sentiment" / "sample_reviews.csv"
SMALL = Config(
    train_size=16, valid_size=8, test_size=24, batch=4, hidden=32, max_tokens=64
)
OTHERS = {  # another head, and an encoder that is trained, as small
    "cnn": replace(SMALL, head="cnn", layer=4, both_ends=True, seeds=2),
    "finetuned": replace(
        SMALL,
        layer=3,
        rank=2,
        frozen=1,
        head="cnn",
        lr=1e-2,
        warm_up=0.2,
        decay=True,
        agreement=1.0,
        averaging=0.5,
    ),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices as small as here are multiplied fastest by one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def sample() -> Reviews:
    """Reviews written for these tests, positive and negative in turn."""
    with open(SAMPLE, newline="") as file:
        rows = list(csv.DictReader(file))
    labels = torch.tensor([int(row["label"]) for row in rows])
    return [row["text"] for row in rows], labels


def halves(split: str) -> Reviews:
    """The sample in the place of IMDB: a half for each split."""
    texts, labels = sample()
    half = slice(24) if split == "train" else slice(24, 48)
    return texts[half], labels[half]


def long_halves(split: str) -> Reviews:
    """As many reviews as IMDB has, each longer than the encoder reads."""
    texts, labels = halves(split)
    times = 25_000 // len(texts) + 1
    long = [" ".join([text] * (3_000 // len(text) + 1)) for text in texts]
    return (long * times)[:25_000], labels.repeat(times)[:25_000]


def made_up(
    predictions: Tensors | None = None,
    metrics: Metrics | None = None,
    config: dict[str, Any] | None = None,
    name: str = "sentiment-test",
) -> Run:
    """A run that took 100 seconds, and gave this."""
    return Run(
        name,
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
