"""Problem 5: is a review of a film positive? A frozen BERT, and a GRU that reads it.

The encoder is a pretrained BERT (Devlin et al. 2019, arXiv:1810.04805), here
all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957). The head is a bidirectional GRU
(Cho et al. 2014, arXiv:1406.1078) and a linear unit. Padding is read by neither.

Shapes: N reviews, T tokens, d the encoder's width.
"""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging

from hw2 import data, records
from hw2.records import Checkpoint, Outcome, Run, Scores, Tensors, scored_by
from hw2.training import (
    accuracy_score,
    advance,
    count_parameters,
    keep,
    progress,
    resume,
)

GIVEN = ("Justice League is terrible. I hated it.", "Avengers was great!!")  # Q4a
# Q4b: the first uses the words of a bad review, the second those of a good one.
OWN = (
    "I expected to hate it, and I was wrong.",
    "Great cast, lovely music, and I left early.",
)

Reviews = tuple[list[str], Tensor]  # texts, and labels (N,): 1 positive, 0 negative


@dataclass(frozen=True)
class Config:
    """What a run depends on. The sizes count reviews; IMDB has 25,000 + 25,000."""

    train_size: int = 1050
    valid_size: int = 450
    test_size: int = 1000
    max_tokens: int = 256  # [CLS] and [SEP] included
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.25
    batch: int = 32
    epochs: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 < self.max_tokens <= 512:
            raise ValueError(f"max_tokens is {self.max_tokens}, expected 3 to 512")
        for name in ("train_size", "valid_size", "test_size"):
            size = getattr(self, name)
            if size < 2 or size % 2:
                raise ValueError(f"{name} is {size}, expected an even number above 0")
        for name in ("batch", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")


# The data


def subsets(config: Config) -> dict[str, Reviews]:
    """The reviews to train, validate and test on: each half positive, no row twice.

    The first two are drawn from IMDB's training split and the third from its test
    split. Raises ``MissingData`` where IMDB can't be had, ``ValueError`` where there
    are too few reviews.
    """
    pool, held_out = data.imdb("train"), data.imdb("test")
    generator = torch.Generator().manual_seed(config.seed)
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


# The encoder


def minilm() -> tuple[BertModel, BertTokenizer]:
    """all-MiniLM-L6-v2, a BERT of 6 layers and width 384, and its tokenizer."""
    logging.disable_progress_bar()
    folder = data.minilm_folder()
    encoder = BertModel.from_pretrained(folder)
    return encoder.eval(), BertTokenizer.from_pretrained(folder)


def tokenize(
    tokenizer: BertTokenizer, texts: Sequence[str], max_tokens: int
) -> list[list[int]]:
    """The tokens of each text, [CLS] first and [SEP] last, cut to ``max_tokens``."""
    # A lone surrogate is in no encoding of text: it becomes a question mark.
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if not clean:
        return []
    ids: list[list[int]] = tokenizer(clean, truncation=True, max_length=max_tokens)[
        "input_ids"
    ]
    return ids


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens padded to the longest text, and the mask, 1 at tokens; both (N, T)."""
    rows = [torch.tensor(row) for row in ids]
    ones = [torch.ones_like(row) for row in rows]
    return pad_sequence(rows, batch_first=True), pad_sequence(ones, batch_first=True)


def encode(
    encoder: BertModel,
    ids: Sequence[Sequence[int]],
    batch: int = 32,
    checkpoint: Checkpoint | None = None,
    stage: str = "encode",
) -> tuple[list[Tensor], float]:
    """The encoder's last hidden states of each review, (T_i, d), in half precision.

    Reviews of about equal length are encoded together, in bfloat16 where the processor
    multiplies in it: both save time and change the states by rounding only. The second
    value is the time it took, in seconds.
    """
    checkpoint = checkpoint or Checkpoint()
    lengths = torch.tensor([len(row) for row in ids])
    parts = batches(lengths, batch)
    states: list[list[Tensor]] = []
    seconds = 0.0
    if kept := checkpoint.load(stage):
        states, seconds = kept["states"], kept["seconds"]
    start = time.perf_counter() - seconds
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16())
    with progress(len(parts), stage, len(states)) as bar, torch.no_grad(), autocast:
        for part in parts[len(states) :]:
            input_ids, mask = pad([ids[i] for i in part.tolist()])
            hidden = encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
            rows = zip(hidden, lengths[part], strict=True)
            states.append([row[:length].half() for row, length in rows])
            if len(states) == len(parts) or checkpoint.due():
                seconds = time.perf_counter() - start
                checkpoint.save(stage, {"states": states, "seconds": seconds})
            advance(bar)
    order = (i for part in parts for i in part.tolist())
    found = dict(zip(order, (row for rows in states for row in rows), strict=True))
    return [found[i] for i in range(len(ids))], seconds


def fast_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; others do so very slowly."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def batches(
    lengths: Tensor, size: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """The indices 0 .. N-1 in batches of reviews of about equal length.

    With a generator the order is random: each run of 8 batches of a random order is
    sorted by length, and the batches are shuffled. Without, all are sorted.
    """
    if len(lengths) == 0:
        return []
    if generator is None:
        return list(lengths.argsort(stable=True).split(size))
    order = torch.randperm(len(lengths), generator=generator)
    pools = order.split(8 * size)
    parts = [
        part for pool in pools for part in pool[lengths[pool].argsort()].split(size)
    ]
    return [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]


# Q2: the model


class GruHead(nn.Module):
    """A bidirectional GRU and a linear unit on its two last hidden states.

    Padding is never read: the GRU of one direction meets it after the last token, and
    the other one reads the tokens in reverse order, so that it does as well. This gives
    what ``nn.GRU`` gives on packed sequences, without what these cost on a processor.
    """

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = [width] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.GRU(w, hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(nn.GRU(w, hidden, batch_first=True) for w in widths)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden, 1)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Logits (N,) from states (N, T, d), of which ``lengths`` (N,) are tokens'."""
        for layer, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if layer > 0:
                states = self.dropout(states)
            right, _ = ahead(states)
            left, _ = back(reverse(states, lengths))
            states = torch.cat([right, reverse(left, lengths)], dim=2)
        rows, last = torch.arange(len(lengths)), lengths - 1
        final = torch.cat([right[rows, last], left[rows, last]], dim=1)
        logits: Tensor = self.linear(self.dropout(final)).squeeze(1)
        return logits


def reverse(states: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence of (N, T, d) in reverse order, its padding left where it is."""
    t = torch.arange(states.shape[1], device=states.device)
    index = torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)
    return states.take_along_dim(index[:, :, None], dim=1)


class BertGruSentiment(nn.Module):
    """A BERT, and a bidirectional GRU with a linear unit on its last hidden states."""

    def __init__(
        self,
        encoder: BertModel,
        hidden: int = 256,
        layers: int = 2,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = GruHead(encoder.config.hidden_size, hidden, layers, dropout)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (N,) of tokens (N, T); the mask is 1 at tokens, 0 at padding.

        Raises ``ValueError`` where padding comes before a token.
        """
        if not attention_mask[:, 0].all() or (attention_mask.diff(dim=1) > 0).any():
            raise ValueError(
                "attention_mask has padding before a token, expected after"
            )
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        lengths = attention_mask.sum(dim=1)
        logits: Tensor = self.head(hidden.last_hidden_state, lengths)
        return logits


def freeze(module: nn.Module) -> None:
    """Keep the parameters as they are: training computes no gradients for them."""
    module.requires_grad_(False)


def bert_base_parameters() -> tuple[int, int]:
    """What training changes with bert-base-uncased: without freezing it, and with."""
    with torch.device("meta"):  # which has shapes but no memory
        model = BertGruSentiment(BertModel(BertConfig()))
    trained = count_parameters(model)
    freeze(model.encoder)
    return trained, count_parameters(model)


# Q3: training and evaluation


class Encoded(NamedTuple):
    """Reviews as the frozen encoder gives them."""

    states: list[Tensor]  # (T_i, d) each
    labels: Tensor  # (N,)

    @property
    def lengths(self) -> Tensor:
        return torch.tensor([len(states) for states in self.states])

    def batch(self, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (n, T, d), lengths (n,) and labels (n,) of the reviews ``part``."""
        chosen = [self.states[i] for i in part.tolist()]
        lengths = torch.tensor([len(states) for states in chosen])
        padded = pad_sequence(chosen, batch_first=True).float()
        return padded, lengths, self.labels[part].float()


def binary_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of reviews whose logit has the label's sign: positive for label 1."""
    return ((logits > 0) == (labels == 1)).float().mean().item()


def train_epoch(
    head: GruHead,
    reviews: Encoded,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[Tensor],
    rows: list[tuple[float, float]],
    after_step: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """One pass over the reviews, batch by batch: the mean loss and accuracy.

    ``parts`` are the batches, and ``rows`` gets the loss and accuracy of each; those
    that it has already are not trained on again.
    """
    head.train()
    with progress(len(parts), "train", len(rows)) as bar:
        for part in parts[len(rows) :]:
            states, lengths, labels = reviews.batch(part)
            logits = head(states, lengths)
            loss = binary_cross_entropy_with_logits(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rows.append((loss.item(), binary_accuracy(logits, labels)))
            after_step()
            advance(bar, loss=rows[-1][0], accuracy=rows[-1][1])
    sizes = torch.tensor([float(len(part)) for part in parts])
    loss, accuracy = (sizes @ torch.tensor(rows)) / sizes.sum()
    return loss.item(), accuracy.item()


@torch.no_grad()
def evaluate_epoch(
    head: GruHead, reviews: Encoded, size: int = 128
) -> tuple[float, float, Tensor]:
    """Loss and accuracy over all reviews, and their logits (N,), in their order."""
    head.eval()
    logits = torch.empty(len(reviews.labels))
    for part in batches(reviews.lengths, size):
        states, lengths, _ = reviews.batch(part)
        logits[part] = head(states, lengths)
    loss = binary_cross_entropy_with_logits(logits, reviews.labels.float())
    return loss.item(), binary_accuracy(logits, reviews.labels), logits


def fit(
    head: GruHead,
    train: Encoded,
    valid: Encoded,
    config: Config,
    checkpoint: Checkpoint,
) -> tuple[list[dict[str, Any]], Tensors]:
    """Train for ``config.epochs``: what each epoch gave, and the best epoch's weights.

    The best epoch is the one with the smallest loss on the validation reviews. A
    training that was stopped goes on from its last checkpoint, and gives what it would
    have given.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.Adam(head.parameters())
    plan = [
        batches(train.lengths, config.batch, generator) for _ in range(config.epochs)
    ]
    history: list[dict[str, Any]] = []  # of the epochs that are over
    rows: list[tuple[float, float]] = []  # of the batches of the epoch under way
    best: Tensors = {}
    seconds = 0.0  # of that epoch
    if kept := resume(checkpoint, "fit", head, optimiser):
        history, rows, best = kept["history"], kept["rows"], kept["best"]
        seconds = kept["seconds"]
    start = time.perf_counter() - seconds

    def save_if(due: bool) -> None:
        if due:
            state = {"history": history, "rows": rows, "best": best}
            state["seconds"] = time.perf_counter() - start
            keep(checkpoint, "fit", head, optimiser, **state)

    for parts in plan[len(history) :]:
        loss, accuracy = train_epoch(
            head, train, optimiser, parts, rows, lambda: save_if(checkpoint.due())
        )
        valid_loss, valid_accuracy, _ = evaluate_epoch(head, valid)
        if not history or valid_loss < min(past["valid_loss"] for past in history):
            best = copy.deepcopy(head.state_dict())
        history.append(
            {
                "loss": loss,
                "accuracy": accuracy,
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
                "seconds": time.perf_counter() - start,
                "batch_losses": [loss for loss, _ in rows],
            }
        )
        rows, start = [], time.perf_counter()
        save_if(True)
    return history, best


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test reviews."""
    logits, labels = predictions["logits"], predictions["labels"]
    correct = round(binary_accuracy(logits, labels) * len(labels))
    return {"accuracy": accuracy_score(correct, len(labels))}


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """Encode, train, choose the epoch by validation, and test it once.

    The metrics hold ``history`` (see ``fit``), ``test_loss``, whether the encoder ran
    in ``bfloat16``, and of the ``reviews`` of each subset the ``count``, how many are
    ``positive``, ``cut`` at the limit of tokens, and word for word among those
    ``to_train_on``, and the ``seconds`` it took to encode them. The predictions are
    the test reviews' logits and labels, (N,) each. The weights are the head's, rounded
    to half precision before the test.
    """
    torch.manual_seed(config.seed)
    encoder, tokenizer = minilm()
    freeze(encoder)
    model = BertGruSentiment(encoder, config.hidden, config.layers, config.dropout)
    parts = subsets(config)
    seen = set(parts["train"][0])
    encoded: dict[str, Encoded] = {}
    reviews: dict[str, dict[str, float]] = {}
    for name, (texts, labels) in parts.items():
        ids = tokenize(tokenizer, texts, config.max_tokens)
        states, seconds = encode(encoder, ids, 32, checkpoint, f"encode-{name}")
        encoded[name] = Encoded(states, labels)
        reviews[name] = {
            "count": len(texts),
            "positive": int(labels.sum()),
            "cut": sum(len(row) == config.max_tokens for row in ids),
            "to_train_on": sum(text in seen for text in texts),
            "seconds": seconds,
        }
    history, best = fit(
        model.head, encoded["train"], encoded["valid"], config, checkpoint
    )
    weights = {name: weight.half() for name, weight in best.items()}
    model.head.load_state_dict(weights)
    loss, _, logits = evaluate_epoch(model.head, encoded["test"])
    metrics = {
        "history": history,
        "test_loss": loss,
        "reviews": reviews,
        "bfloat16": fast_bfloat16(),
    }
    predictions = {"logits": logits, "labels": encoded["test"].labels}
    return Outcome(metrics, predictions, weights)


RUNS = {"sentiment": Config()}


# Q4: prediction


@dataclass(frozen=True)
class Predictor:
    """A trained model and what it needs to read text."""

    model: BertGruSentiment
    tokenizer: BertTokenizer
    max_tokens: int

    @torch.no_grad()
    def predict_proba(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """The probability, (N,), that each text is positive.

        Any text will do; what goes beyond ``max_tokens`` is not read. Raises
        ``TypeError`` where ``texts`` are not strings.
        """
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise TypeError(f"texts is {texts!r:.60}, expected a list of strings")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{i}] is {text!r:.60}, expected a string")
        self.model.eval()
        ids = tokenize(self.tokenizer, texts, self.max_tokens)
        logits = torch.empty(len(ids))
        for part in batches(torch.tensor([len(row) for row in ids]), 32):
            logits[part] = self.model(*pad([ids[i] for i in part.tolist()]))
        return logits.sigmoid().numpy()


def load(record: str | Run) -> Predictor:
    """The model of a run; ``record`` is the name of one of ``RUNS``, or a run.

    Raises ``ValueError`` for another name.
    """
    run = records.named(record, RUNS, experiment)
    config = Config(**run.config)
    encoder, tokenizer = minilm()
    freeze(encoder)
    model = BertGruSentiment(encoder, config.hidden, config.layers, config.dropout)
    model.head.load_state_dict(run.weights)
    return Predictor(model.eval(), tokenizer, config.max_tokens)
