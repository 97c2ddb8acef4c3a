"""A study: the time of encoding, of an epoch and of a step, each in several ways."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pack_padded_sequence

from hw2 import data
from hw2.sentiment.config import Config, Speed
from hw2.sentiment.encoder import (
    Encoded,
    device,
    encode,
    fast_bfloat16,
    pretrained,
    sixteen_bits,
)
from hw2.sentiment.model import GruHead
from hw2.sentiment.reviews import subsets
from hw2.sentiment.tokens import Tokens, pad, random_batches, tokenize
from recorded import Checkpoint, Outcome, Score, Scores, Tensors, scored_by

if TYPE_CHECKING:
    from transformers import BertModel, BertTokenizer


def speed_score(predictions: Tensors) -> Scores:
    """How many times faster this project's way is than another one.

    The ``encoding`` than the faster of the two others, an ``epoch`` than the
    notebook's, a ``step`` than with packed sequences; by the fastest round of each.
    Another machine may be half as good, or twice.
    """
    seconds = fastest(predictions)
    times = {
        "encoding": min(seconds["library"], seconds["loop"]) / seconds["encode"],
        "epoch": seconds["notebook epoch"] / seconds["stored epoch"],
        "step": seconds["packed step"] / seconds["reversed step"],
    }
    return {name: Score(value, value / 2) for name, value in times.items()}


@scored_by(speed_score)
def speed(config: Speed, checkpoint: Checkpoint) -> Outcome:
    """Time ways to encode, of an epoch and of a step, in seconds, (rounds,) each.

    ``encode`` is this project's, to the disk; ``library`` is ``sentence_transformers``'
    own ``encode``, and ``loop`` one over batches of 32 in the given order, in single
    precision. All tokenize as well. An epoch trains the notebook's head: ``notebook
    epoch`` encodes each batch anew, as given, and ``stored epoch`` reads what
    ``epoch's states`` takes to store. A step is a forward and a backward pass of the
    GRU in single precision, with sequences that are ``packed``, ``padded`` (and the
    padding read), or ``reversed``. The metrics say whether this project's encoding and
    epoch multiplied in ``bfloat16``.
    """
    timed = material(config)
    texts = timed.texts[: config.reviews]
    stored = timed.encoded(config.epoch_reviews, config.epoch_tokens)
    ways: dict[str, Callable[[], Any]] = {
        "encode": lambda: timed.encoded(config.reviews, config.max_tokens),
        "library": by_library(texts, config.max_tokens),
        "loop": lambda: by_loop(timed, texts, config.max_tokens),
        "epoch's states": lambda: timed.encoded(
            config.epoch_reviews, config.epoch_tokens
        ),
        "stored epoch": lambda: stored_epoch(stored, config.batch),
        "notebook epoch": lambda: notebook_epoch(timed, config),
    } | gru_steps(*stored.batch(torch.arange(config.step_reviews)))
    metrics = {
        "bfloat16": fast_bfloat16(),
        "sentence-transformers": version("sentence-transformers"),
    }
    return Outcome(metrics, in_rounds(ways, config.rounds), {})


class Material(NamedTuple):
    """What is encoded, and by what."""

    encoder: BertModel
    tokenizer: BertTokenizer
    texts: list[str]
    labels: Tensor

    def encoded(self, count: int, max_tokens: int) -> Encoded:
        """The first reviews, encoded in this project's way to the disk and back."""
        ids = tokenize(self.tokenizer, self.texts[:count], max_tokens)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            states = encode(self.encoder, ids, "timed", Checkpoint(), root=root)
        return Encoded(states, self.labels[:count])


def material(config: Speed) -> Material:
    """Reviews of the training half in random order, and the encoder."""
    texts, labels = subsets(Config(test_size=2))["train"]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    order = order[: max(config.reviews, config.epoch_reviews)]
    encoder, tokenizer = pretrained(data.minilm_folder())
    return Material(
        encoder, tokenizer, [texts[i] for i in order.tolist()], labels[order]
    )


def by_library(texts: list[str], max_tokens: int) -> Callable[[], Any]:
    """Encoding by ``sentence_transformers``."""
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(data.minilm_folder()), device=device().type)
    library.max_seq_length = max_tokens
    return lambda: library.encode(texts, show_progress_bar=False)


@torch.no_grad()
def by_loop(timed: Material, texts: list[str], max_tokens: int) -> None:
    """Encoding in batches of 32 reviews as they come, in single precision."""
    where = device()
    nn.Module.to(timed.encoder, where)
    for start in range(0, len(texts), 32):
        part = texts[start : start + 32]
        tokens, mask = pad(tokenize(timed.tokenizer, part, max_tokens))
        timed.encoder(input_ids=tokens.to(where), attention_mask=mask.to(where))


def both_ways(width: int, dropout: float) -> nn.GRU:
    """The notebook's GRU, as PyTorch has it."""
    return nn.GRU(width, 256, 2, bidirectional=True, batch_first=True, dropout=dropout)


class ReadsPadding(nn.Module):
    """The notebook's GRU and linear unit, which run over the padding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = both_ways(width, 0.25)
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(512, 1)

    def forward(self, states: Tensor) -> Tensor:
        """Logits (N,) of states (N, T, width)."""
        _, last = self.gru(states)
        both = self.dropout(torch.cat([last[-2], last[-1]], dim=1))
        logits: Tensor = self.linear(both).squeeze(1)
        return logits


def notebook_epoch(timed: Material, config: Speed) -> None:
    """Train over reviews in batches as they come, each encoded without a mask."""
    where, encoder = device(), timed.encoder
    texts = timed.texts[: config.epoch_reviews]
    ids = tokenize(timed.tokenizer, texts, config.epoch_tokens)
    reviews = Tokens(ids, timed.labels[: config.epoch_reviews])
    nn.Module.to(encoder, where)
    head = ReadsPadding(encoder.config.hidden_size).to(where)

    def logits_of(batch: Tensor) -> Tensor:
        tokens, _ = reviews.batch(batch)
        with torch.no_grad():
            states = encoder(input_ids=tokens.to(where)).last_hidden_state
        logits: Tensor = head(states)
        return logits

    batches = torch.arange(len(ids)).split(config.batch)
    steps(head, batches, logits_of, reviews.labels)


def stored_epoch(reviews: Encoded, size: int) -> None:
    """Train over states from the disk, in batches of about equal length."""
    where = device()
    head = GruHead(reviews.states.values.shape[1], 256, 2, 0.25).to(where)

    def logits_of(batch: Tensor) -> Tensor:
        with sixteen_bits():
            logits: Tensor = head(*(x.to(where) for x in reviews.batch(batch)))
        return logits.float()

    random = torch.Generator().manual_seed(0)
    batches = random_batches(reviews.lengths, size, random)
    steps(head, batches, logits_of, reviews.labels)


def steps(
    head: nn.Module,
    batches: Iterable[Tensor],
    logits_of: Callable[[Tensor], Tensor],
    labels: Tensor,
) -> None:
    """A step of Adam for each of the batches."""
    head.train()
    optimiser = torch.optim.Adam(head.parameters())
    for batch in batches:
        logits = logits_of(batch)
        loss = binary_cross_entropy_with_logits(logits, labels[batch].to(logits))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def gru_steps(states: Tensor, lengths: Tensor) -> dict[str, Callable[[], Any]]:
    """Passes of a GRU, forward and backward, that treat the padding differently."""
    where, width = device(), states.shape[2]
    states, lengths = states.to(where), lengths.to(where)
    gru = both_ways(width, 0.0).to(where)
    head = GruHead(width, 256, 2, 0.0).to(where)

    def packed() -> None:
        sequences = pack_padded_sequence(
            states, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        gru(sequences)[1].sum().backward()

    return {
        "packed step": packed,
        "padded step": lambda: gru(states)[1].sum().backward(),
        "reversed step": lambda: head(states, lengths).sum().backward(),
    }


def in_rounds(ways: Mapping[str, Callable[[], Any]], rounds: int) -> Tensors:
    """The seconds of each way in each round, after one that is not measured."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device().type != "cpu":
                torch.accelerator.synchronize()
            if number:  # before, caches were cold
                seconds[name].append(time.perf_counter() - start)
    return {
        name: torch.tensor(times, dtype=torch.float64)
        for name, times in seconds.items()
    }


def fastest(seconds: Tensors) -> dict[str, float]:
    """The seconds of each way in its fastest round, of those in all (rounds,)."""
    return {name: times.min().item() for name, times in seconds.items()}


def epochs_factor(seconds: Mapping[str, float], epochs: int) -> float:
    """How many times faster so many epochs are with stored states than without.

    ``seconds`` are those of each way (see ``speed``). The states are stored once.
    """
    stored = seconds["epoch's states"] + epochs * seconds["stored epoch"]
    return epochs * seconds["notebook epoch"] / stored
