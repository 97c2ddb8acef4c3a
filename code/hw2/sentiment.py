"""Problem 5: is a review of a film positive? A pretrained BERT, and what reads it.

The encoder is a pretrained BERT (Devlin et al. 2019, arXiv:1810.04805), mostly
all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957). Its states are read by one of
three heads: the notebook's bidirectional GRU (Cho et al. 2014, arXiv:1406.1078), a
convolution (Kim 2014, arXiv:1408.5882), or the encoder's own upper layers, trained by
updates of low rank (Hu et al. 2022, arXiv:2106.09685). Padding is read by none.

Shapes: N reviews, T tokens, d the encoder's width.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.masking_utils import create_bidirectional_mask

from hw2 import data, records
from hw2.encoder import (
    States,
    batches,
    device,
    encode,
    fast_bfloat16,
    freeze,
    pad,
    pretrained,
    sixteen_bits,
    tokenize,
)
from hw2.records import Checkpoint, Metrics, Outcome, Run, Scores, Tensors, scored_by
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
    """What a run depends on; as it stands, the notebook's, with a smaller encoder.

    The head reads the states of the encoder's layer ``layer``. A head ``upper`` is
    made of the layers above it.
    """

    layer: int = 6
    max_tokens: int = 512  # [CLS] and [SEP] included
    both_ends: bool = False  # of a longer review, not only its beginning
    head: str = "gru"  # or "cnn", or "upper"
    hidden: int = 256  # units of each GRU, or channels of each convolution
    layers: int = 2  # of the GRU
    rank: int = 0  # of the updates of the upper layers
    dropout: float = 0.25
    lr: float = 1e-3
    warm_up: float = 0.0  # the part of the steps in which the rate rises
    fall: bool = False  # linearly to zero, over the other steps
    batch: int = 128
    epochs: int = 2
    seeds: int = 1  # 0, 1, ...: one training each
    train_size: int = 17_500
    valid_size: int = 7_500
    test_size: int = 25_000

    def __post_init__(self) -> None:
        if not 2 < self.max_tokens <= 512:
            raise ValueError(f"max_tokens is {self.max_tokens}, expected 3 to 512")
        if self.head not in ("gru", "cnn", "upper"):
            raise ValueError(f"head is {self.head!r}, expected 'gru', 'cnn' or 'upper'")
        for name in ("train_size", "valid_size", "test_size"):
            size = getattr(self, name)
            if size < 2 or size % 2:
                raise ValueError(f"{name} is {size}, expected an even number above 0")
        for name in ("layer", "batch", "epochs", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if (self.head == "upper") != (self.rank > 0):
            raise ValueError(
                f"rank is {self.rank}, expected 1 or more for upper layers, else 0"
            )


# The data


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


class Encoded(NamedTuple):
    """Reviews as the frozen encoder gives them."""

    states: States
    labels: Tensor  # (N,)

    def batch(self, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (n, T, d), lengths (n,) and labels (n,) of the reviews ``part``."""
        where = device()
        return (
            self.states.padded(part).to(where),
            self.states.lengths[part].to(where),
            self.labels[part].float().to(where),
        )


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


def inside(states: Tensor, lengths: Tensor) -> Tensor:
    """1 at the tokens of each review and 0 at its padding, (N, T, 1)."""
    t = torch.arange(states.shape[1], device=states.device)
    return (t < lengths[:, None]).to(states.dtype).unsqueeze(2)


class BertSentiment(nn.Module):
    """A BERT, and a head that makes a logit of its last hidden states."""

    def __init__(self, encoder: BertModel, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

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


class BertGruSentiment(BertSentiment):
    """The notebook's model: a BERT, a bidirectional GRU, and a linear unit."""

    def __init__(
        self,
        encoder: BertModel,
        hidden: int = 256,
        layers: int = 2,
        dropout: float = 0.25,
    ) -> None:
        width = encoder.config.hidden_size
        super().__init__(encoder, GruHead(width, hidden, layers, dropout))


class CnnHead(nn.Module):
    """How well the best place of a review fits each of some patterns of tokens.

    The patterns are convolutions over 1, 3 and 5 tokens. Padding is zero before them
    and after, so that a review gives the same in any batch.
    """

    def __init__(self, width: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.patterns = nn.ModuleList(
            nn.Conv1d(width, channels, size, padding="same") for size in (1, 3, 5)
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(3 * channels, 1)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Logits (N,) from states (N, T, d), of which ``lengths`` (N,) are tokens'."""
        mask = inside(states, lengths)
        x = (states * mask).transpose(1, 2)  # (N, d, T)
        fits = [
            (pattern(x).relu() * mask.transpose(1, 2)).amax(dim=2)  # (N, channels)
            for pattern in self.patterns
        ]
        logits: Tensor = self.linear(self.dropout(torch.cat(fits, dim=1))).squeeze(1)
        return logits


class LowRank(nn.Module):
    """A linear map, kept as it is, plus a trained one of low rank, at first 0."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x) + self.up(self.down(x))
        return y


class UpperHead(nn.Module):
    """The upper layers of an encoder, each linear map with a trained update.

    Another head, ``reader``, makes a logit of what they give.
    """

    def __init__(
        self, layers: nn.ModuleList, config: BertConfig, rank: int, reader: nn.Module
    ) -> None:
        super().__init__()
        self.config = config
        self.layers = layers
        for module in list(self.layers.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, LowRank(child, rank))
        self.reader = reader

    def train(self, mode: bool = True) -> "UpperHead":
        """The layers stay as they are when used: their own dropout is left out."""
        super().train(mode)
        self.layers.eval()
        return self

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Logits (N,) from states (N, T, d), of which ``lengths`` (N,) are tokens'."""
        attention_mask = create_bidirectional_mask(
            config=self.config,
            inputs_embeds=states,
            attention_mask=inside(states, lengths).squeeze(2),
        )
        for layer in self.layers:
            states = layer(states, attention_mask)
        logits: Tensor = self.reader(states, lengths)
        return logits


def build(
    config: Config, folder: Callable[[], Path]
) -> tuple[BertSentiment, BertTokenizer]:
    """The model of a run before its training, its encoder frozen, and its tokenizer.

    Raises ``ValueError`` where the encoder has fewer layers than ``config.layer``.
    """
    encoder, tokenizer = pretrained(folder())
    depth, width = encoder.config.num_hidden_layers, encoder.config.hidden_size
    if config.layer > depth:
        raise ValueError(f"layer is {config.layer}, expected 1 to {depth}")
    layers = encoder.encoder.layer
    encoder.encoder.layer = layers[: config.layer]
    if config.head == "gru":
        model: BertSentiment = BertGruSentiment(
            encoder, config.hidden, config.layers, config.dropout
        )
        return model, tokenizer
    head: nn.Module = CnnHead(width, config.hidden, config.dropout)
    if config.head == "upper":
        head = UpperHead(layers[config.layer :], encoder.config, config.rank, head)
    return BertSentiment(encoder, head), tokenizer


def bert_base_parameters() -> tuple[int, int]:
    """What training changes with bert-base-uncased: without freezing it, and with."""
    with torch.device("meta"):  # which has shapes but no memory
        model = BertGruSentiment(BertModel(BertConfig()))
    trained = count_parameters(model)
    freeze(model.encoder)
    return trained, count_parameters(model)


# Q3: training and evaluation


def binary_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of reviews whose logit has the label's sign: positive for label 1."""
    return ((logits > 0) == (labels == 1)).float().mean().item()


def train_epoch(
    head: nn.Module,
    reviews: Encoded,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[Tensor],
    rates: Sequence[float],
    rows: list[tuple[float, float]],
    after_step: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """One pass over the reviews, batch by batch: the mean loss and accuracy.

    ``parts`` are the batches, ``rates`` their learning rates, and ``rows`` gets the
    loss and accuracy of each; those that it has already are not trained on again.
    """
    head.train()
    with progress(len(parts), "train", len(rows)) as bar:
        for part, rate in list(zip(parts, rates, strict=True))[len(rows) :]:
            states, lengths, labels = reviews.batch(part)
            with sixteen_bits():
                logits = head(states, lengths)
            loss = binary_cross_entropy_with_logits(logits.float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            rows.append((loss.item(), binary_accuracy(logits, labels)))
            after_step()
            advance(bar, loss=rows[-1][0], accuracy=rows[-1][1])
    sizes = torch.tensor([float(len(part)) for part in parts])
    loss, accuracy = (sizes @ torch.tensor(rows)) / sizes.sum()
    return loss.item(), accuracy.item()


@torch.no_grad()
def evaluate_epoch(
    head: nn.Module, reviews: Encoded, size: int = 128
) -> tuple[float, float, Tensor]:
    """Loss and accuracy over all reviews, and their logits (N,), in their order."""
    head.eval()
    logits = torch.empty(len(reviews.labels))
    for part in batches(reviews.states.lengths, size):
        states, lengths, _ = reviews.batch(part)
        with sixteen_bits():
            logits[part] = head(states, lengths).float().cpu()
    loss = binary_cross_entropy_with_logits(logits, reviews.labels.float())
    return loss.item(), binary_accuracy(logits, reviews.labels), logits


def learning_rates(config: Config, steps: int) -> list[float]:
    """The learning rate of each step."""
    rising = max(config.warm_up * steps, 1e-9)
    return [
        config.lr
        * min(
            (step + 0.5) / rising,
            (steps - step - 0.5) / (steps - rising) if config.fall else 1.0,
            1.0,
        )
        for step in range(steps)
    ]


def fit(
    head: nn.Module,
    train: Encoded,
    valid: Encoded,
    config: Config,
    seed: int,
    checkpoint: Checkpoint,
    stage: str = "fit",
) -> tuple[list[dict[str, Any]], Tensors]:
    """Train for ``config.epochs``: what each epoch gave, and the best epoch's weights.

    The best epoch is the one with the smallest loss on the validation reviews. A
    training that was stopped goes on from its last checkpoint, and gives what it would
    have given.
    """
    generator = torch.Generator().manual_seed(seed)
    trained = {n: p for n, p in head.to(device()).named_parameters() if p.requires_grad}
    optimiser = torch.optim.Adam(trained.values())
    plan = [
        batches(train.states.lengths, config.batch, generator)
        for _ in range(config.epochs)
    ]
    length = len(plan[0])
    rates = learning_rates(config, length * config.epochs)
    history: list[dict[str, Any]] = []  # of the epochs that are over
    rows: list[tuple[float, float]] = []  # of the batches of the epoch under way
    best: Tensors = {}
    seconds = 0.0  # of that epoch
    if kept := resume(checkpoint, stage, head, optimiser):
        history, rows, best = kept["history"], kept["rows"], kept["best"]
        seconds = kept["seconds"]
    start = time.perf_counter() - seconds

    def save() -> None:
        state = {"history": history, "rows": rows, "best": best}
        state["seconds"] = time.perf_counter() - start
        keep(checkpoint, stage, head, optimiser, **state)

    def save_if_due() -> None:
        if checkpoint.due():
            save()

    for parts in plan[len(history) :]:
        at = rates[length * len(history) :][:length]
        loss, accuracy = train_epoch(
            head, train, optimiser, parts, at, rows, save_if_due
        )
        seconds = time.perf_counter() - start
        valid_loss, valid_accuracy, _ = evaluate_epoch(head, valid)
        if not history or valid_loss < min(past["valid_loss"] for past in history):
            best = {
                name: weight.detach().cpu().clone() for name, weight in trained.items()
            }
        history.append(
            {
                "loss": loss,
                "accuracy": accuracy,
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
                "train_seconds": seconds,
                "seconds": time.perf_counter() - start,
                "batch_losses": [loss for loss, _ in rows],
            }
        )
        rows, start = [], time.perf_counter()
        save()
    return history, best


def score(predictions: Tensors) -> Scores:
    """The accuracy on the test reviews, a mean over the seeds."""
    logits, labels = predictions["logits"], predictions["labels"]
    correct = int(((logits > 0) == (labels == 1)).sum())
    return {"accuracy": accuracy_score(correct, logits.numel())}


def prepare(
    config: Config,
    folder: Callable[[], Path],
    checkpoint: Checkpoint,
    reviews: dict[str, Reviews],
) -> tuple[dict[str, Encoded], Metrics]:
    """Subsets of reviews, encoded, and facts of each."""
    model, tokenizer = build(config, folder)
    encoded: dict[str, Encoded] = {}
    facts: Metrics = {}
    for name, (texts, labels) in reviews.items():
        ids = tokenize(tokenizer, texts, config.max_tokens, config.both_ends)
        encoded[name] = Encoded(encode(model.encoder, ids, name, checkpoint), labels)
        facts[name] = {
            "count": len(texts),
            "positive": int(labels.sum()),
            "cut": sum(len(row) == config.max_tokens for row in ids),
            "seconds": encoded[name].states.seconds,
        }
    return encoded, facts


def confident_errors(reviews: Reviews, logits: Tensor) -> list[dict[str, Any]]:
    """The worst errors of either kind: label, logit, and how the review begins."""
    texts, labels = reviews
    wrong = (logits > 0) != (labels == 1)
    found = []
    for label in (0, 1):
        of = (wrong & (labels == label)).nonzero().squeeze(1)
        for i in of[logits[of].abs().argsort(descending=True)][:3].tolist():
            logit = logits[i].item()
            found.append({"label": label, "logit": logit, "text": texts[i][:400]})
    return found


def train_and_test(
    config: Config, folder: Callable[[], Path], checkpoint: Checkpoint
) -> Outcome:
    """Encode; with each seed train and choose the epoch by validation; test it once.

    The metrics hold of each seed the ``history`` (see ``fit``) and the ``test_loss``;
    the worst ``errors`` of seed 0; whether matrices were multiplied in ``bfloat16``;
    and of the ``reviews`` of each subset the ``count``, how many are ``positive`` and
    how many ``cut`` at the limit of tokens, and the ``seconds`` it took to encode them.
    The predictions are the logits (seeds, N) of the test reviews and their labels (N,).
    The weights are those that training changed, of seed 0, rounded to half precision
    before the test.
    """
    metrics: Metrics = {"bfloat16": fast_bfloat16()}
    logits: list[Tensor] = []
    weights: Tensors = {}
    reviews = subsets(config)
    encoded, metrics["reviews"] = prepare(config, folder, checkpoint, reviews)
    for seed in range(config.seeds):
        torch.manual_seed(seed)
        head = build(config, folder)[0].head
        train, valid = encoded["train"], encoded["valid"]
        stage = f"fit-{seed}"
        history, best = fit(head, train, valid, config, seed, checkpoint, stage)
        rounded = {name: weight.half() for name, weight in best.items()}
        head.load_state_dict(rounded, strict=False)
        weights = weights or rounded
        tested = checkpoint.load(f"test-{seed}")
        if not tested:
            loss, _, found = evaluate_epoch(head, encoded["test"])
            tested = {"loss": loss, "logits": found}
            checkpoint.save(f"test-{seed}", tested)
        metrics[f"seed-{seed}"] = {"history": history, "test_loss": tested["loss"]}
        logits.append(tested["logits"])
    metrics["errors"] = confident_errors(reviews["test"], logits[0])
    predictions = {"logits": torch.stack(logits), "labels": reviews["test"][1]}
    return Outcome(metrics, predictions, weights)


@scored_by(score)
def experiment(config: Config, checkpoint: Checkpoint) -> Outcome:
    """A run with all-MiniLM-L6-v2; see ``train_and_test``."""
    return train_and_test(config, data.minilm_folder, checkpoint)


@scored_by(score)
def experiment_bert_base(config: Config, checkpoint: Checkpoint) -> Outcome:
    """A run with bert-base-uncased; see ``train_and_test``."""
    return train_and_test(config, data.bert_base_folder, checkpoint)


RUNS = {
    "sentiment-notebook": Config(),
    "sentiment-frozen": Config(
        layer=3,
        both_ends=True,
        head="cnn",
        hidden=256,
        warm_up=0.1,
        fall=True,
        batch=64,
        epochs=4,
        seeds=3,
    ),
    "sentiment-finetuned": Config(
        layer=2,
        both_ends=True,
        head="upper",
        hidden=128,
        rank=16,
        lr=2e-3,
        warm_up=0.1,
        fall=True,
        batch=32,
        epochs=3,
    ),
}
# For whoever has the Hub and an accelerator.
LARGE = {"sentiment-bert-base": Config(layer=12)}


# Q4: prediction


@dataclass(frozen=True)
class Predictor:
    """A trained model and what it needs to read text."""

    model: BertSentiment
    tokenizer: BertTokenizer
    max_tokens: int
    both_ends: bool

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text that the model reads."""
        return tokenize(self.tokenizer, texts, self.max_tokens, self.both_ends)

    @torch.no_grad()
    def predict_proba(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """The probability, (N,), that each text is positive.

        Any text will do; what exceeds ``max_tokens`` is not read. Raises ``TypeError``
        where ``texts`` are not strings.
        """
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise TypeError(f"texts is {texts!r:.60}, expected a list of strings")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{i}] is {text!r:.60}, expected a string")
        self.model.eval()
        ids = self.tokens(texts)
        logits = torch.empty(len(ids))
        for part in batches(torch.tensor([len(row) for row in ids]), 32):
            logits[part] = self.model(*pad([ids[i] for i in part.tolist()])).float()
        return logits.sigmoid().numpy()


def load(record: str | Run) -> Predictor:
    """The model of a run, seed 0, on the CPU and in evaluation mode.

    ``record`` is the name of one of ``RUNS`` or ``LARGE``, or a run. Raises
    ``ValueError`` for another name, or for a run without all weights that were trained.
    """
    large = record in LARGE if isinstance(record, str) else record.name in LARGE
    run = records.named(
        record, RUNS | LARGE, experiment_bert_base if large else experiment
    )
    config = Config(**run.config)
    folder = data.bert_base_folder if large else data.minilm_folder
    model, tokenizer = build(config, folder)
    trained = {n for n, p in model.head.named_parameters() if p.requires_grad}
    if trained != run.weights.keys():
        raise ValueError(
            f"run {run.name} has the weights {sorted(run.weights)}, "
            f"expected {sorted(trained)}"
        )
    model.head.load_state_dict(run.weights, strict=False)
    return Predictor(model.eval(), tokenizer, config.max_tokens, config.both_ends)
