"""The heads of problem 5: what each computes, trains and does not read."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import BertConfig, BertModel

from hw2 import data, sentiment
from hw2.sentiment import BertGruSentiment, Predictor, encoder
from hw2.sentiment.model import (
    CnnHead,
    GruHead,
    LowRank,
    UpperHead,
    build,
    inside,
    reverse,
)
from hw2.training import count_parameters
from small_sentiment import SMALL, sample

pytestmark = pytest.mark.usefixtures("one_thread")


def packed(head: GruHead, states: Tensor, lengths: Tensor) -> Tensor:
    """What ``nn.GRU`` with the head's weights gives on packed sequences."""
    layers, hidden = len(head.ahead), head.linear.in_features // 2
    gru = nn.GRU(states.shape[2], hidden, layers, batch_first=True, bidirectional=True)
    weights = {}
    for suffix, direction in ("", head.ahead), ("_reverse", head.back):
        for layer, cell in enumerate(direction):
            for name, value in cell.state_dict().items():
                weights[name.replace("_l0", f"_l{layer}{suffix}")] = value
    gru.load_state_dict(weights)
    sequences = pack_padded_sequence(
        states, lengths, batch_first=True, enforce_sorted=False
    )
    _, last = gru.double()(sequences)
    logits: Tensor = head.linear(torch.cat([last[-2], last[-1]], dim=1)).squeeze(1)
    return logits


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    layers=st.integers(1, 3),
    padding=st.floats(-1e3, 1e3),
)
def test_head_is_the_gru_on_packed_sequences(
    lengths: list[int], layers: int, padding: float
) -> None:
    torch.manual_seed(0)
    head = GruHead(6, 5, layers, 0.25).double().eval()
    states = torch.full((len(lengths), 12, 6), padding, dtype=torch.double)
    for row, length in zip(states, lengths, strict=True):
        row[:length] = torch.randn(length, 6, dtype=torch.double)
    n = torch.tensor(lengths)
    expected = packed(head, states[:, : max(lengths)], n)
    torch.testing.assert_close(head(states, n), expected, rtol=0, atol=1e-12)


def test_reverse_undoes_itself_and_leaves_padding() -> None:
    states = torch.arange(8.0).view(2, 4, 1)
    lengths = torch.tensor([3, 4])
    turned = reverse(states, lengths)
    assert turned.squeeze(2).tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]
    assert torch.equal(reverse(turned, lengths), states)


def test_no_gradient_reaches_padding() -> None:
    states = torch.randn(2, 5, 4, requires_grad=True)
    lengths = torch.tensor([2, 5])
    GruHead(4, 3, 2, 0.0)(states, lengths).sum().backward()
    assert states.grad is not None
    moved = states.grad.abs().sum(dim=2) > 0
    assert moved.tolist() == [[True] * 2 + [False] * 3, [True] * 5]


def test_parameters_with_bert_base() -> None:
    with torch.device("meta"):
        model = BertGruSentiment(BertModel(BertConfig()))
    assert count_parameters(model) == 112_241_409
    encoder.freeze(model.encoder)
    assert count_parameters(model) == 2_759_169
    assert sentiment.bert_base_parameters() == (112_241_409, 2_759_169)


def test_logits_depend_on_tokens_alone(predictor: Predictor) -> None:
    texts, _ = sample()
    ids = encoder.tokenize(predictor.tokenizer, texts[:6], 64)
    with torch.no_grad():
        together = predictor.model(*encoder.pad(ids))
        alone = torch.cat([predictor.model(*encoder.pad([row])) for row in ids])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mask", [[0, 1, 1], [1, 0, 1], [0, 0, 0]])
def test_padding_before_a_token_is_refused(
    predictor: Predictor, mask: list[int]
) -> None:
    with pytest.raises(ValueError, match="padding before a token"):
        predictor.model(torch.tensor([[101, 2204, 102]]), torch.tensor([mask]))


@pytest.mark.parametrize("head", [CnnHead(6, 5, 0.0), GruHead(6, 5, 2, 0.0)])
def test_heads_do_not_read_padding(head: nn.Module) -> None:
    states, lengths = torch.randn(3, 7, 6), torch.tensor([7, 4, 1])
    found = head(states, lengths)
    tokens = inside(states, lengths)
    assert tokens.squeeze(2).sum(dim=1).tolist() == [7, 4, 1]
    changed = head(torch.where(tokens > 0, states, torch.tensor(1e3)), lengths)
    torch.testing.assert_close(found, changed)


def test_upper_layers_begin_as_the_encoders_own() -> None:
    """What the convolution reads is what the whole encoder gives."""
    whole, tokenizer = encoder.pretrained(data.minilm_folder())
    config = dataclasses.replace(SMALL, head="upper", layer=2, rank=3)
    model, _ = build(config, data.minilm_folder)
    model.eval()
    assert isinstance(model.head, UpperHead)
    ids = encoder.tokenize(tokenizer, ["A film.", "What a very long film it was."], 32)
    tokens, mask = encoder.pad(ids)
    with torch.no_grad():
        last = whole(input_ids=tokens, attention_mask=mask).last_hidden_state
        expected = model.head.reader(last, mask.sum(dim=1))
        found = model(tokens, mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_only_updates_of_low_rank_are_trained() -> None:
    config = dataclasses.replace(SMALL, head="upper", layer=5, rank=3)
    model, _ = build(config, data.minilm_folder)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert isinstance(model.head, UpperHead)
    updates = 3 * (4 * 768 + 2 * (384 + 1536))
    assert count_parameters(model) == updates + count_parameters(model.head.reader)
    assert all(".down." in n or ".up." in n or ".reader." in n for n in trained)
    layer = LowRank(nn.Linear(4, 5), 2)
    x = torch.randn(3, 4)
    assert torch.equal(layer(x), layer.linear(x))
    nn.init.normal_(layer.up.weight)
    update = layer.up.weight @ layer.down.weight
    torch.testing.assert_close(layer(x) - layer.linear(x), x @ update.T)


def test_the_layers_of_the_encoder_have_no_dropout_in_training() -> None:
    config = dataclasses.replace(SMALL, head="upper", layer=5, rank=3, dropout=0.0)
    head = build(config, data.minilm_folder)[0].head
    states, lengths = torch.randn(2, 4, 384), torch.tensor([4, 3])
    head.train()
    once = head(states, lengths)
    assert torch.equal(once, head(states, lengths))


def test_too_high_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="layer is 7, expected 1 to 6"):
        build(dataclasses.replace(SMALL, layer=7), data.minilm_folder)
