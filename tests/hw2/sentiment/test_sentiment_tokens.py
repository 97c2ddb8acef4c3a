"""How texts become tokens, and tokens batches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertTokenizer

from hw2 import data
from hw2.sentiment.tokens import Tokens, pad, random_batches, sorted_batches, tokenize

CLS, SEP, FILM = 101, 102, 2143  # of the vocabulary


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    tokenizer: BertTokenizer = BertTokenizer.from_pretrained(data.minilm_folder())
    return tokenizer


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def listed(batches: list[Tensor]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


# Texts


def test_a_text_is_framed(tokenizer: BertTokenizer) -> None:
    assert tokenize(tokenizer, ["Film film", ""], 9) == [
        [CLS, FILM, FILM, SEP],
        [CLS, SEP],
    ]
    assert tokenize(tokenizer, [], 9) == []


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 40), limit=st.integers(3, 45), both_ends=st.booleans())
def test_a_long_text_loses_its_end_or_its_middle(
    tokenizer: BertTokenizer, count: int, limit: int, both_ends: bool
) -> None:
    text = " ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(count))
    (whole,) = tokenize(tokenizer, [text], 10**6)
    (row,) = tokenize(tokenizer, [text], limit, both_ends)
    assert len(whole) == count + 2 and len(row) == min(count + 2, limit)
    if count + 2 <= limit:
        assert row == whole
    else:
        end = limit // 2 if both_ends else 1
        assert row[: limit - end] == whole[: limit - end]
        assert row[limit - end :] == whole[count + 2 - end :]


def test_a_lone_surrogate_is_a_question_mark(tokenizer: BertTokenizer) -> None:
    broken, whole = tokenize(tokenizer, ["film \ud800 film", "film ? film"], 9)
    assert broken == whole


def test_padding_is_behind_the_tokens() -> None:
    ids, mask = pad([[5], [7, 8, 9], [6, 4]])
    assert ids.tolist() == [[5, 0, 0], [7, 8, 9], [6, 4, 0]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("masked", [True, False])
def test_where_padding_is_not_masked_it_counts_as_tokens(masked: bool) -> None:
    reviews = Tokens([[5], [7, 8, 9], [6, 4]], torch.tensor([1, 0, 1]), masked)
    assert reviews.lengths.tolist() == [1, 3, 2]
    ids, mask = reviews.batch(torch.tensor([2, 0]))
    assert ids.tolist() == [[6, 4], [5, 0]]
    assert mask.tolist() == [[1, 1], [1, 0 if masked else 1]]


# Batches

LENGTHS = st.lists(st.integers(1, 50), max_size=200)


@given(lengths=LENGTHS, size=st.integers(1, 9))
def test_sorted_batches_grow(lengths: list[int], size: int) -> None:
    batches = listed(sorted_batches(torch.tensor(lengths), size))
    order = [i for batch in batches for i in batch]
    assert sorted(order) == list(range(len(lengths)))
    # Of two reviews of the same length the first comes first.
    assert order == sorted(order, key=lambda i: (lengths[i], i))
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(1 <= len(batch) <= size for batch in batches)


@given(
    lengths=LENGTHS,
    size=st.integers(1, 9),
    seed=st.integers(0, 99),
    by_length=st.booleans(),
)
def test_each_epoch_has_every_review_once(
    lengths: list[int], size: int, seed: int, by_length: bool
) -> None:
    generator, count = seeded(seed), math.ceil(len(lengths) / size)
    for _ in range(2):
        batches = listed(
            random_batches(torch.tensor(lengths), size, generator, by_length)
        )
        order = [i for batch in batches for i in batch]
        assert sorted(order) == list(range(len(lengths)))
        assert len(batches) == count
        assert sum(len(batch) < size for batch in batches) == (len(lengths) % size > 0)
        assert all(1 <= len(batch) <= size for batch in batches)


@pytest.mark.parametrize("by_length", [True, False])
def test_each_epoch_has_batches_of_its_own(by_length: bool) -> None:
    lengths, generator = torch.arange(100), seeded(0)
    first, second = (
        listed(random_batches(lengths, 5, generator, by_length)) for _ in range(2)
    )
    assert {frozenset(batch) for batch in first}.isdisjoint(map(frozenset, second))
    assert first == listed(random_batches(lengths, 5, seeded(0), by_length))


def test_batches_by_length_hold_little_padding() -> None:
    lengths = torch.randint(1, 500, (4_000,), generator=seeded(1))

    def padding(batches: list[Tensor]) -> float:
        return float(sum((lengths[b].max() - lengths[b]).sum() for b in batches))

    of_like_length = random_batches(lengths, 20, seeded(0))
    others = random_batches(lengths, 20, seeded(0), by_length=False)
    assert padding(of_like_length) < 0.2 * padding(others)
    # Short batches come at any time: as often as not the next one is longer.
    means = torch.stack([lengths[batch].double().mean() for batch in of_like_length])
    assert 0.35 < (means.diff() > 0).double().mean() < 0.65


def test_other_batches_do_not_depend_on_lengths() -> None:
    lengths = torch.randint(1, 500, (103,), generator=seeded(1))
    one, other = (
        listed(random_batches(of, 20, seeded(0), by_length=False))
        for of in (lengths, lengths.flip(0))
    )
    assert one == other
