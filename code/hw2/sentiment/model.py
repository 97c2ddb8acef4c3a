"""The models of problem 5: a pretrained BERT, and three heads that read its states.

The encoder is a pretrained BERT (Devlin et al. 2019, arXiv:1810.04805), mostly
all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957). Its states are read by one of
three heads: the notebook's bidirectional GRU (Cho et al. 2014, arXiv:1406.1078), a
convolution (Kim 2014, arXiv:1408.5882), or the encoder's own upper layers, trained by
updates of low rank (Hu et al. 2022, arXiv:2106.09685). Padding is read by none.

Shapes: N reviews, T tokens, d the encoder's width.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.masking_utils import create_bidirectional_mask

from hw2.sentiment.config import Config
from hw2.sentiment.encoder import freeze, pretrained
from hw2.training import count_parameters


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
