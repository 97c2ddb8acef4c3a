"""Problem 5 in small: options, and reviews in the place of IMDB."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from conftest import ROOT
from hw2.sentiment import Config
from hw2.sentiment.reviews import Reviews

SAMPLE = ROOT / "tests" / "hw2" / "sentiment" / "sample_reviews.csv"
SMALL = Config(
    train_size=16, valid_size=8, test_size=24, batch=4, hidden=32, max_tokens=64
)
OTHERS = {  # the other heads, as small
    "cnn": replace(SMALL, head="cnn", layer=4, both_ends=True, seeds=2),
    "upper": replace(SMALL, head="upper", layer=4, rank=2, fall=True),
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
