"""Problem 5: is a review of a film positive? A frozen BERT, and a GRU that reads it.

The encoder is a pretrained BERT (Devlin et al. 2019, arXiv:1810.04805), here
all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957). The head is a bidirectional GRU
(Cho et al. 2014, arXiv:1406.1078) and a linear unit. Padding is read by neither.

Shapes: N reviews, T tokens, d the encoder's width.
"""

import copy
import csv
import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging

from hw2 import data
from hw2.records import Metrics, Run, Tensors
from hw2.training import count_parameters

SAMPLE = Path(__file__).with_name("sample_reviews.csv")
SAMPLE_DIGEST = "2b2217c27647d855b64acaf6530042b3ecaa5bbd2955f5aad88eb11e2df55042"

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

    data: str = "imdb"  # or "sample", the reviews written for this project
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
        if self.data not in ("imdb", "sample"):
            raise ValueError(f"data is {self.data!r}, expected 'imdb' or 'sample'")
        if not 2 < self.max_tokens <= 512:
            raise ValueError(f"max_tokens is {self.max_tokens}, expected 3 to 512")
        for name in ("train_size", "valid_size", "test_size"):
            size = getattr(self, name)
            if size < 2 or size % 2:
                raise ValueError(f"{name} is {size}, expected an even number above 0")
        for name in ("batch", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")


def config_here() -> Config:
    """The configuration for the data at hand: IMDB, or else the project's sample."""
    try:
        data.imdb("train")
    except data.MissingData:
        return Config(data="sample", train_size=16, valid_size=8, test_size=24, batch=4)
    return Config()


# The data


def sample() -> Reviews:
    """The reviews written for this project, positive and negative in turn.

    Raises ``ValueError`` where the file is not the one with ``SAMPLE_DIGEST``, which
    is here so that runs on an older one are not taken for runs on this one.
    """
    content = data.verified(SAMPLE.read_bytes(), SAMPLE_DIGEST, SAMPLE)
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    labels = torch.tensor([int(row["label"]) for row in rows])
    return [row["text"] for row in rows], labels


def subsets(config: Config) -> dict[str, Reviews]:
    """The reviews to train, validate and test on: each half positive, no row twice.

    The first two are drawn from IMDB's training split and the third from its test
    split, or from the first and the second half of the sample. Raises ``MissingData``
    where IMDB can't be had, ``ValueError`` where there are too few reviews.
    """
    if config.data == "imdb":
        pool, held_out = data.imdb("train"), data.imdb("test")
    else:
        texts, labels = sample()
        half = len(texts) // 2
        pool, held_out = (texts[:half], labels[:half]), (texts[half:], labels[half:])
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
    encoder: BertModel, ids: Sequence[Sequence[int]], batch: int = 32
) -> list[Tensor]:
    """The encoder's last hidden states of each review, (T_i, d), in half precision.

    Reviews of about equal length are encoded together, in bfloat16 where the processor
    multiplies in it: both save time and change the states by rounding only.
    """
    states = [torch.empty(0)] * len(ids)
    lengths = torch.tensor([len(row) for row in ids])
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16())
    with torch.no_grad(), autocast:
        for part in tqdm(batches(lengths, batch), "encode"):
            input_ids, mask = pad([ids[i] for i in part.tolist()])
            hidden = encoder(input_ids=input_ids, attention_mask=mask)
            for i, row in zip(part.tolist(), hidden.last_hidden_state, strict=True):
                states[i] = row[: lengths[i]].half()
    return states


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
    what ``nn.GRU`` gives on packed sequences, several times faster on a processor.
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
    size: int,
    generator: torch.Generator,
) -> tuple[float, float, list[float]]:
    """One pass over the reviews: loss, accuracy and the loss of each batch."""
    head.train()
    losses, total, correct = [], 0.0, 0.0
    for part in tqdm(batches(reviews.lengths, size, generator), "train"):
        states, lengths, labels = reviews.batch(part)
        logits = head(states, lengths)
        loss = binary_cross_entropy_with_logits(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        total += loss.item() * len(part)
        correct += binary_accuracy(logits, labels) * len(part)
    return total / len(reviews.labels), correct / len(reviews.labels), losses


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
    head: GruHead, train: Encoded, valid: Encoded, config: Config
) -> tuple[list[dict[str, Any]], Tensors]:
    """Train for ``config.epochs``: what each epoch gave, and the best epoch's weights.

    The best epoch is the one with the smallest loss on the validation reviews.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.Adam(head.parameters())
    history: list[dict[str, Any]] = []
    best: Tensors = {}
    for epoch in range(config.epochs):
        start = time.perf_counter()
        loss, accuracy, losses = train_epoch(
            head, train, optimiser, config.batch, generator
        )
        valid_loss, valid_accuracy, _ = evaluate_epoch(head, valid)
        if epoch == 0 or valid_loss < min(past["valid_loss"] for past in history):
            best = copy.deepcopy(head.state_dict())
        history.append(
            {
                "loss": loss,
                "accuracy": accuracy,
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
                "seconds": time.perf_counter() - start,
                "batch_losses": losses,
            }
        )
    return history, best


def experiment(config: Config) -> tuple[Metrics, Tensors]:
    """Encode, train, choose the epoch by validation, and test it once.

    The metrics hold ``history`` (see ``fit``), ``test`` (loss, accuracy), the
    ``seconds`` of each part, how many reviews reach the limit of tokens (``cut``), and
    whether the encoder ran in ``bfloat16``. The tensors hold the head's weights, and
    the test reviews' logits and labels.
    """
    torch.manual_seed(config.seed)
    start = time.perf_counter()
    encoder, tokenizer = minilm()
    freeze(encoder)
    encoded, seconds, cut = {}, {}, 0
    for name, (texts, labels) in subsets(config).items():
        ids = tokenize(tokenizer, texts, config.max_tokens)
        encoded[name] = Encoded(encode(encoder, ids), labels)
        cut += sum(len(row) == config.max_tokens for row in ids)
    seconds["encode"] = time.perf_counter() - start

    start = time.perf_counter()
    model = BertGruSentiment(encoder, config.hidden, config.layers, config.dropout)
    history, best = fit(model.head, encoded["train"], encoded["valid"], config)
    seconds["train"] = time.perf_counter() - start

    start = time.perf_counter()
    model.head.load_state_dict(best)
    loss, accuracy, logits = evaluate_epoch(model.head, encoded["test"])
    seconds["test"] = time.perf_counter() - start
    metrics = {
        "history": history,
        "test": {"loss": loss, "accuracy": accuracy},
        "seconds": seconds,
        "cut": cut,
        "bfloat16": fast_bfloat16(),
    }
    weights = {f"head.{name}": tensor for name, tensor in best.items()}
    return metrics, {**weights, "logits": logits, "labels": encoded["test"].labels}


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


def load(run: Run) -> Predictor:
    """The model that a run of ``experiment`` trained."""
    config = Config(**run.config)
    encoder, tokenizer = minilm()
    freeze(encoder)
    model = BertGruSentiment(encoder, config.hidden, config.layers, config.dropout)
    model.head.load_state_dict(run.part("head."))
    return Predictor(model.eval(), tokenizer, config.max_tokens)
