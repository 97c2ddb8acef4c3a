"""Which reviews problem 5 trains, validates and tests on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hw2 import data
from hw2.sentiment.config import Config

GIVEN = ("Justice League is terrible. I hated it.", "Avengers was great!!")  # Q4a
# Q4b: two ordinary reviews, and two hard ones, of which the first uses the words of a
# bad review and the second those of a good one.
OWN = (
    "A warm and funny film with a wonderful cast.",
    "The plot makes no sense and the jokes fall flat.",
)
HARD = (
    "I expected to hate it, and I was wrong.",
    "Great cast, lovely music, and I left early.",
)

Reviews = tuple[list[str], Tensor]  # texts, and labels (N,): 1 positive, 0 negative


def subsets(config: Config) -> dict[str, Reviews]:
    """The reviews to train, validate and test on: each half positive, no row twice.

    The first two are drawn from IMDB's training split and the third from its test
    split, the same in every run of these sizes. Raises ``MissingData`` where IMDB can't
    be had, ``ValueError`` where there are too few reviews.
    """
    pool, held_out = data.imdb("train"), data.imdb("test")
    generator = torch.Generator().manual_seed(0)
    train, valid = _draw(pool, [config.train_size, config.valid_size], generator)
    (test,) = _draw(held_out, [config.test_size], generator)
    return {"train": train, "valid": valid, "test": test}


def _draw(
    reviews: Reviews, sizes: Sequence[int], generator: torch.Generator
) -> list[Reviews]:
    """Subsets of the given sizes, without a review in common, each half positive."""
    texts, labels = reviews
    drawn: list[list[int]] = [[] for _ in sizes]
    for label in (0, 1):
        there = (labels == label).nonzero().squeeze(1)
        if sum(sizes) > 2 * len(there):
            raise ValueError(
                f"subsets of {sizes} reviews, half of them with label {label}, "
                f"out of {len(there)} with that label"
            )
        order = there[torch.randperm(len(there), generator=generator)].tolist()
        for part, size in zip(drawn, sizes, strict=True):
            part += order[: size // 2]
            del order[: size // 2]
    return [([texts[i] for i in part], labels[part]) for part in drawn]
