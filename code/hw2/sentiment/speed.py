"""A study: the time of encoding, of an epoch and of a step, each in several ways."""

import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pack_padded_sequence

from hw2 import data
from hw2.sentiment.config import Config, Speed
from hw2.sentiment.encoder import (
    Encoded,
    batches,
    device,
    encode,
    fast_bfloat16,
    pad,
    pretrained,
    sixteen_bits,
    tokenize,
)
from hw2.sentiment.model import GruHead
from hw2.sentiment.reviews import subsets
from recorded import Checkpoint, Outcome, Run, Score, Scores, Tensors, scored_by


class NotebookModel(nn.Module):
    """The notebook's model as given: no mask, and a GRU that runs over the padding."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = nn.GRU(
            width, 256, 2, bidirectional=True, batch_first=True, dropout=0.25
        )
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(512, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (N,) of padded tokens (N, T)."""
        with torch.no_grad():
            states = self.encoder(tokens).last_hidden_state
        _, last = self.gru(states)
        both = self.dropout(torch.cat([last[-2], last[-1]], dim=1))
        logits: Tensor = self.linear(both).squeeze(1)
        return logits


def speed_score(predictions: Tensors) -> Scores:
    """How many times faster this project's way is than another one.

    The ``encoding`` than the faster of the two others, an ``epoch`` than the
    notebook's, a ``step`` than with packed sequences; by the fastest round of each.
    Another machine may be half as good, or twice.
    """
    seconds = {name: times.min().item() for name, times in predictions.items()}
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
    from sentence_transformers import SentenceTransformer

    reviews = subsets(Config(test_size=2))["train"]
    order = torch.randperm(len(reviews[0]), generator=torch.Generator().manual_seed(0))
    texts = [reviews[0][i] for i in order[: config.reviews].tolist()]
    labels = reviews[1][order[: config.reviews]]
    encoder, tokenizer = pretrained(data.minilm_folder())
    where = device()
    sentences = SentenceTransformer(str(data.minilm_folder()), device=where.type)
    sentences.max_seq_length = config.max_tokens

    def ours(count: int, max_tokens: int) -> Encoded:
        ids = tokenize(tokenizer, texts[:count], max_tokens)
        with tempfile.TemporaryDirectory() as folder:
            states = encode(encoder, ids, "timed", Checkpoint(), root=Path(folder))
        return Encoded(states, labels[:count])

    def loop() -> None:
        nn.Module.to(encoder, where)
        with torch.no_grad():
            for start in range(0, len(texts), 32):
                rows = tokenize(tokenizer, texts[start : start + 32], config.max_tokens)
                tokens, mask = pad(rows)
                encoder(input_ids=tokens.to(where), attention_mask=mask.to(where))

    stored = ours(config.epoch_reviews, config.epoch_tokens)
    rows = tokenize(tokenizer, texts[: config.epoch_reviews], config.epoch_tokens)
    width = encoder.config.hidden_size

    def notebook_epoch() -> None:
        model = nn.Module.to(NotebookModel(encoder, width).train(), where)
        encoder.eval()

        def loss_of(part: Tensor) -> Tensor:
            tokens, _ = pad([rows[i] for i in part.tolist()])
            loss: Tensor = binary_cross_entropy_with_logits(
                model(tokens.to(where)), labels[part].float().to(where)
            )
            return loss

        whole = torch.arange(config.epoch_reviews)
        steps(model, whole.split(config.batch), loss_of)

    def stored_epoch() -> None:
        head = GruHead(width, 256, 2, 0.25).train().to(where)

        def loss_of(part: Tensor) -> Tensor:
            states, lengths, truth = stored.batch(part)
            with sixteen_bits():
                logits = head(states, lengths)
            loss: Tensor = binary_cross_entropy_with_logits(logits.float(), truth)
            return loss

        random = torch.Generator().manual_seed(0)
        steps(head, batches(stored.states.lengths, config.batch, random), loss_of)

    states, lengths, _ = stored.batch(torch.arange(config.step_reviews))
    gru = nn.GRU(width, 256, 2, bidirectional=True, batch_first=True).to(where)
    head = GruHead(width, 256, 2, 0.0).to(where)

    def packed_step() -> None:
        sequences = pack_padded_sequence(
            states, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        gru(sequences)[1].sum().backward()

    ways: dict[str, Callable[[], Any]] = {
        "encode": lambda: ours(config.reviews, config.max_tokens),
        "library": lambda: sentences.encode(texts, show_progress_bar=False),
        "loop": loop,
        "epoch's states": lambda: ours(config.epoch_reviews, config.epoch_tokens),
        "stored epoch": stored_epoch,
        "notebook epoch": notebook_epoch,
        "packed step": packed_step,
        "padded step": lambda: gru(states)[1].sum().backward(),
        "reversed step": lambda: head(states, lengths).sum().backward(),
    }
    for way in ways.values():
        way()  # once unmeasured, for cold caches
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(config.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if where.type != "cpu":
                torch.accelerator.synchronize()
            seconds[name].append(time.perf_counter() - start)
    predictions = {
        name: torch.tensor(times, dtype=torch.float64)
        for name, times in seconds.items()
    }
    metrics = {
        "bfloat16": fast_bfloat16(),
        "sentence-transformers": version("sentence-transformers"),
    }
    return Outcome(metrics, predictions, {})


def steps(model: nn.Module, parts: Any, loss_of: Callable[[Tensor], Tensor]) -> None:
    """A step of Adam for each of the batches."""
    optimiser = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    for part in parts:
        optimiser.zero_grad()
        loss_of(part).backward()
        optimiser.step()


def fastest(run: Run) -> dict[str, float]:
    """The seconds of each way in its fastest round."""
    return {name: times.min().item() for name, times in run.predictions.items()}


def epochs_factor(seconds: Mapping[str, float], epochs: int) -> float:
    """How many times faster so many epochs are with stored states than without.

    ``seconds`` are those of each way (see ``speed``). The states are stored once.
    """
    stored = seconds["epoch's states"] + epochs * seconds["stored epoch"]
    return epochs * seconds["notebook epoch"] / stored
