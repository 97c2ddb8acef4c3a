"""Texts as tokens, and batches of them.

Shapes: N reviews, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from transformers import BertTokenizer


def tokenize(
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    max_tokens: int,
    both_ends: bool = False,
) -> list[list[int]]:
    """The tokens of each text, [CLS] first and [SEP] last, cut to ``max_tokens``.

    What is too long loses its end, or, to keep ``both_ends``, its middle.
    """
    # A lone surrogate is in no encoding of text: it becomes a question mark.
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if not clean:
        return []
    # Not verbose, as it warns of texts that the encoder can't read whole.
    rows: list[list[int]] = tokenizer(clean, verbose=False)["input_ids"]
    kept = max_tokens // 2 if both_ends else 1  # of the end
    return [
        row if len(row) <= max_tokens else row[: max_tokens - kept] + row[-kept:]
        for row in rows
    ]


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens padded to the longest text, and the mask, 1 at tokens; both (N, T)."""
    rows = [torch.tensor(row) for row in ids]
    ones = [torch.ones_like(row) for row in rows]
    return pad_sequence(rows, batch_first=True), pad_sequence(ones, batch_first=True)


def sorted_batches(lengths: Tensor, size: int) -> list[Tensor]:
    """The indices 0 .. N-1 in batches of reviews from the shortest to the longest."""
    return list(lengths.argsort(stable=True).split(size)) if len(lengths) else []


def random_batches(
    lengths: Tensor, size: int, generator: torch.Generator, by_length: bool = True
) -> list[Tensor]:
    """The indices 0 .. N-1 in batches in random order.

    With ``by_length`` those in a batch are of about equal length: each run of 8 batches
    of a random order is sorted by length, and the batches are shuffled.
    """
    order = torch.randperm(len(lengths), generator=generator)
    if not by_length:
        return list(order.split(size)) if len(order) else []
    batches = [
        batch
        for pool in order.split(8 * size)
        for batch in pool[lengths[pool].argsort()].split(size)
        if len(batch)
    ]
    order = torch.randperm(len(batches), generator=generator)
    return [batches[i] for i in order.tolist()]


class Tokens(NamedTuple):
    """Reviews as tokens. Where they are not ``masked``, padding counts as tokens."""

    ids: list[list[int]]
    labels: Tensor  # (N,)
    masked: bool = True

    @property
    def lengths(self) -> Tensor:
        """The number of tokens of each review, (N,)."""
        return torch.tensor([len(row) for row in self.ids])

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and mask (n, T) of the reviews ``indices`` (n,)."""
        ids, mask = pad([self.ids[i] for i in indices.tolist()])
        return ids, mask if self.masked else torch.ones_like(mask)
