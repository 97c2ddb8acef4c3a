"""The models of problem 5: what each computes, trains and does not read."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import BertConfig, BertModel

from hw2 import data, sentiment
from hw2.sentiment import BertGruSentiment, encoder
from hw2.sentiment.encoder import pretrained
from hw2.sentiment.model import (
    BertSentiment,
    CnnHead,
    GruHead,
    LowRank,
    build,
    inside,
    reverse,
    trained_weights,
)
from hw2.sentiment.tokens import pad, tokenize
from hw2.training import count_parameters
from small_sentiment import OTHERS, SMALL, sample

pytestmark = pytest.mark.usefixtures("one_thread")

RANK = 3
CONFIGS = {
    "gru": replace(SMALL, layer=2),
    "cnn": replace(SMALL, layer=2, head="cnn"),
    "low rank": replace(SMALL, layer=3, frozen=1, rank=RANK, head="cnn"),
}


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> BertSentiment:
    """Of each kind, in evaluation mode; updates of low rank are not 0."""
    torch.manual_seed(0)
    model, _ = build(CONFIGS[request.param], data.minilm_folder)
    for module in model.modules():
        if isinstance(module, LowRank):
            nn.init.normal_(module.up.weight, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def ids() -> list[list[int]]:
    _, tokenizer = pretrained(data.minilm_folder())
    return tokenize(tokenizer, sample()[0][:6], 64)


# The heads


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


def test_the_convolution_is_the_best_place_of_each_pattern() -> None:
    """By hand: the padding before and after a review is zero."""
    torch.manual_seed(0)
    head = CnnHead(4, 3, 0.25).eval()
    states, lengths = torch.randn(2, 7, 4), torch.tensor([7, 2])
    for row, length, found in zip(
        states, lengths.tolist(), head(states, lengths), strict=True
    ):
        best = []
        for pattern in head.patterns:
            assert isinstance(pattern, nn.Conv1d) and pattern.bias is not None
            size = pattern.kernel_size[0]
            around = torch.zeros(length + size - 1, 4)
            around[size // 2 : size // 2 + length] = row[:length]
            fits = torch.stack(
                [
                    (pattern.weight * around[t : t + size].T).sum(dim=(1, 2))
                    for t in range(length)
                ]
            )
            best.append((fits + pattern.bias).relu().amax(dim=0))
        (expected,) = head.linear(torch.cat(best))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("head", [CnnHead(6, 5, 0.0), GruHead(6, 5, 2, 0.0)])
def test_heads_do_not_read_padding(head: nn.Module) -> None:
    states, lengths = torch.randn(3, 7, 6), torch.tensor([7, 4, 1])
    found = head(states, lengths)
    tokens = inside(states, lengths)
    assert tokens.sum(dim=1).tolist() == [7, 4, 1]
    changed = torch.where(tokens[:, :, None], states, torch.tensor(1e3))
    torch.testing.assert_close(found, head(changed, lengths))


@pytest.mark.parametrize("head", [CnnHead(4, 3, 0.0), GruHead(4, 3, 2, 0.0)])
def test_no_gradient_reaches_padding(head: nn.Module) -> None:
    states = torch.randn(2, 5, 4, requires_grad=True)
    head(states, torch.tensor([2, 5])).sum().backward()
    assert states.grad is not None
    moved = states.grad.abs().sum(dim=2) > 0
    assert not moved[0, 2:].any()
    assert moved[0, :2].any() and moved[1].any()


# Masks


def test_logits_depend_on_tokens_alone(
    model: BertSentiment, ids: list[list[int]]
) -> None:
    with torch.no_grad():
        together = model(*pad(ids))
        alone = torch.cat([model(*pad([row])) for row in ids])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int32,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    ],
)
def test_a_mask_may_have_any_type(
    model: BertSentiment, ids: list[list[int]], dtype: torch.dtype
) -> None:
    tokens, mask = pad(ids)
    assert mask.dtype == torch.int64
    with torch.no_grad():
        assert torch.equal(model(tokens, mask.to(dtype)), model(tokens, mask))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ([[1, 1]], "shape (1, 2), expected (1, 3)"),
        ([1, 1, 1], "shape (3,), expected (1, 3)"),
        ([[1, 1, 1]] * 2, "shape (2, 3), expected (1, 3)"),
        ([[1, 2, 0]], "values from 0 to 2, expected 0 and 1"),
        ([[1, -1, 0]], "values from -1 to 1, expected 0 and 1"),
        ([[1.0, 0.5, 0.0]], "values from 0.0 to 1.0, expected 0 and 1"),
        ([[1.0, float("nan"), 0.0]], "values from nan to nan, expected 0 and 1"),
        ([[0, 1, 1]], "padding before a token, expected after"),
        ([[1, 0, 1]], "padding before a token, expected after"),
        ([[0, 0, 0]], "padding before a token, expected after"),
        ([[False, True, True]], "padding before a token, expected after"),
    ],
)
def test_what_is_no_mask_is_refused(
    model: BertSentiment, mask: list[list[float]], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"attention_mask has {said}")):
        model(torch.tensor([[101, 2204, 102]]), torch.tensor(mask))


# The encoder and its updates


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_begins_as_the_encoder(name: str, ids: list[list[int]]) -> None:
    """What the head reads is what the pretrained layer gives."""
    config = CONFIGS[name]
    whole, _ = pretrained(data.minilm_folder())
    model, _ = build(config, data.minilm_folder)
    tokens, mask = pad(ids)
    with torch.no_grad():
        of = whole(tokens, attention_mask=mask, output_hidden_states=True)
        expected = model.eval().head(of.hidden_states[config.layer], mask.sum(dim=1))
        assert torch.equal(model(tokens, mask), expected)


def test_only_updates_of_low_rank_and_the_head_are_trained() -> None:
    config = replace(SMALL, layer=5, rank=RANK, frozen=2, head="cnn")
    model, _ = build(config, data.minilm_folder)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    updates = {n: p for n, p in trained.items() if not n.startswith("head.")}
    assert updates and all(".down." in n or ".up." in n for n in updates)
    # Six linear maps in each of the three layers, of 384 and of 1,536 units.
    each = RANK * (4 * 2 * 384 + 2 * (384 + 1536))
    assert sum(p.numel() for p in updates.values()) == 3 * each
    layers = {int(n.split("layer.")[1].split(".")[0]) for n in updates}
    assert layers == {2, 3, 4}
    assert count_parameters(model) == 3 * each + count_parameters(model.head)


def test_without_a_rank_only_the_head_is_trained() -> None:
    model, _ = build(replace(SMALL, head="cnn"), data.minilm_folder)
    assert count_parameters(model) == count_parameters(model.head) > 0


def test_an_update_is_a_product_of_low_rank() -> None:
    layer, x = LowRank(nn.Linear(4, 5), 2), torch.randn(3, 4)
    assert torch.equal(layer(x), layer.linear(x))
    nn.init.normal_(layer.up.weight)
    update = layer.up.weight @ layer.down.weight
    torch.testing.assert_close(layer(x) - layer.linear(x), x @ update.T)


def test_a_step_changes_what_the_trained_layers_give(ids: list[list[int]]) -> None:
    """Although the updates begin at 0."""
    config = replace(CONFIGS["low rank"], dropout=0.0)
    model, _ = build(config, data.minilm_folder)
    model.eval()
    tokens, mask = pad(ids)

    def states() -> tuple[Tensor, ...]:
        with torch.no_grad():
            found: tuple[Tensor, ...] = model.encoder(
                tokens, attention_mask=mask, output_hidden_states=True
            ).hidden_states
        return found

    before = states()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1.0)
    model(tokens, mask).sum().backward()
    optimiser.step()
    after = states()
    moved = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
    assert moved == [False, False, True, True]  # the embedding, and three layers


@pytest.mark.parametrize("name", CONFIGS)
def test_a_frozen_encoder_has_no_dropout_and_a_trained_one_has(
    name: str, ids: list[list[int]]
) -> None:
    model, _ = build(replace(CONFIGS[name], dropout=0.0), data.minilm_folder)
    inputs = pad(ids)
    assert model.train() is model and model.head.training
    assert torch.equal(model(*inputs), model(*inputs)) == (name != "low rank")
    model.eval()
    assert torch.equal(model(*inputs), model(*inputs))


def test_trained_weights_are_copies() -> None:
    model, _ = build(OTHERS["finetuned"], data.minilm_folder)
    weights = trained_weights(model)
    now = dict(model.named_parameters())
    assert weights.keys() == {name for name, of in now.items() if of.requires_grad}
    before = {name: weight.clone() for name, weight in weights.items()}
    with torch.no_grad():
        for of in now.values():
            of.add_(1.0)
    assert all(torch.equal(weights[name], before[name]) for name in weights)
    assert not any(weight.requires_grad for weight in weights.values())
    model.load_state_dict(weights, strict=False)
    assert all(torch.equal(now[name], before[name]) for name in weights)


def test_too_high_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="layer is 7, expected 1 to 6"):
        build(replace(SMALL, layer=7), data.minilm_folder)


def test_parameters_with_bert_base() -> None:
    with torch.device("meta"):
        model = BertGruSentiment(BertModel(BertConfig()))
    assert count_parameters(model) == 112_241_409
    encoder.freeze(model.encoder)
    assert count_parameters(model) == 2_759_169
    assert sentiment.bert_base_parameters() == (112_241_409, 2_759_169)
