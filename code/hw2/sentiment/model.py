"""The models of problem 5: a pretrained BERT, and a head that reads its states.

The encoder is a pretrained BERT (Devlin et al. 2019, arXiv:1810.04805), mostly
all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957), kept as it is or trained by
updates of low rank (Hu et al. 2022, arXiv:2106.09685). The head is the notebook's
bidirectional GRU (Cho et al. 2014, arXiv:1406.1078) or a convolution (Kim 2014,
arXiv:1408.5882). Padding is read by neither.

Shapes: N reviews, T tokens, d the encoder's width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hw2.sentiment.config import Config
from hw2.sentiment.encoder import freeze, pretrained
from hw2.training import count_parameters

if TYPE_CHECKING:
    from transformers import BertModel, BertTokenizer


class GruHead(nn.Module):
    """A bidirectional GRU and a linear unit on its two last hidden states.

    Padding is never read: the GRU of one direction meets it after the last token, and
    the other one reads the tokens in reverse order, so that it does as well. This gives
    what ``nn.GRU`` gives on packed sequences.
    """

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = [width] + [2 * hidden] * (layers - 1)
        self.ahead, self.back = (
            nn.ModuleList(nn.GRU(w, hidden, batch_first=True) for w in widths)
            for _ in range(2)
        )
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

        rows, last = torch.arange(len(lengths), device=lengths.device), lengths - 1
        final = torch.cat([right[rows, last], left[rows, last]], dim=1)
        logits: Tensor = self.linear(self.dropout(final)).squeeze(1)
        return logits


def reverse(states: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence of (N, T, d) in reverse order, its padding left where it is."""
    t = torch.arange(states.shape[1], device=states.device)
    index = torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)
    return states.take_along_dim(index[:, :, None], dim=1)


def inside(states: Tensor, lengths: Tensor) -> Tensor:
    """Whether a position holds a token of its review, not padding, boolean (N, T).

    ``states`` are (N, T, ...), and ``lengths`` (N,) count the tokens.
    """
    return torch.arange(states.shape[1], device=states.device) < lengths[:, None]


def token_counts(mask: Tensor, shape: torch.Size) -> Tensor:
    """The number of tokens of each review, (N,), by a mask of the given shape (N, T).

    Raises ``ValueError`` where the mask is none, or padding comes before a token.
    """
    if mask.shape != shape:
        raise ValueError(
            f"attention_mask has shape {tuple(mask.shape)}, expected {tuple(shape)}"
        )
    tokens = mask == 1
    if not (tokens | (mask == 0)).all():
        raise ValueError(
            f"attention_mask has values from {mask.min()} to {mask.max()}, "
            "expected 0 and 1"
        )
    if not tokens[:, :1].all() or (tokens[:, 1:] & ~tokens[:, :-1]).any():
        raise ValueError("attention_mask has padding before a token, expected after")
    return tokens.sum(dim=1)


class BertSentiment(nn.Module):
    """A BERT, and a head that makes a logit of its last hidden states."""

    def __init__(self, encoder: BertModel, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def train(self, mode: bool = True) -> BertSentiment:
        """As of any module, but an encoder that is frozen has no dropout."""
        super().train(mode)
        if not count_parameters(self.encoder):
            self.encoder.eval()
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (N,) of tokens (N, T); the mask, of any type, is 0 at padding, else 1.

        Raises ``ValueError`` for another mask, or where padding comes before a token.
        """
        lengths = token_counts(attention_mask, input_ids.shape)
        mask = inside(attention_mask, lengths)
        states = self.encoder(input_ids=input_ids, attention_mask=mask)
        logits: Tensor = self.head(states.last_hidden_state, lengths)
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
    """Convolutions over 1, 3 and 5 tokens, and max-pooling over the positions.

    Padding is zero before them and after, so that a review gives the same in any batch.
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
        mask = inside(states, lengths).unsqueeze(1)
        x = states.transpose(1, 2) * mask  # (N, d, T)
        fits = [
            (pattern(x).relu() * mask).amax(dim=2)  # (N, channels)
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


def adapt(layers: nn.ModuleList, rank: int) -> None:
    """Give each linear map of an encoder's layers an update of a rank, in place."""
    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, LowRank(child, rank))


def build(
    config: Config, folder: Callable[[], Path]
) -> tuple[BertSentiment, BertTokenizer]:
    """The model of a run before its training, and its tokenizer.

    Raises ``ValueError`` where the encoder has fewer layers than ``config.layer``.
    """
    encoder, tokenizer = pretrained(folder())
    layers = encoder.encoder.layer
    if config.layer > len(layers):
        raise ValueError(f"layer is {config.layer}, expected 1 to {len(layers)}")
    encoder.encoder.layer = layers[: config.layer]
    if config.head == "gru":
        return BertGruSentiment(
            encoder, config.hidden, config.layers, config.dropout
        ), tokenizer
    head = CnnHead(encoder.config.hidden_size, config.hidden, config.dropout)
    if config.rank:
        adapt(encoder.encoder.layer[config.frozen :], config.rank)
    return BertSentiment(encoder, head), tokenizer


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """Copies, on the CPU, of the parameters that training changes, by their names."""
    return {
        name: weight.detach().cpu().clone()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def bert_base_parameters() -> tuple[int, int]:
    """What training changes with bert-base-uncased: without freezing it, and with."""
    from transformers import BertConfig, BertModel

    with torch.device("meta"):  # which has shapes but no memory
        model = BertGruSentiment(BertModel(BertConfig()))
    trained = count_parameters(model)
    freeze(model.encoder)
    return trained, count_parameters(model)
