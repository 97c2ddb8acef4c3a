"""How a head learns, how it is evaluated, and which epoch is kept."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hw2 import sentiment
from hw2.sentiment import Predictor, encoder, training
from hw2.sentiment.encoder import Encoded, States, batches, encode, tokenize
from hw2.sentiment.model import GruHead
from hw2.sentiment.training import (
    binary_accuracy,
    evaluate_epoch,
    fit,
    learning_rates,
    train_epoch,
)
from recorded import Checkpoint, Run
from small_sentiment import SMALL, sample

pytestmark = pytest.mark.usefixtures("one_thread")


def stored(rows: list[Tensor]) -> States:
    """States of reviews, (T_i, d) each."""
    starts = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return States(torch.cat(rows), starts, 0.0)


def test_binary_accuracy() -> None:
    logits = torch.tensor([3.0, -0.1, 0.0, 2.0])
    assert binary_accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.75
    assert binary_accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.25


def test_epochs_reduce_the_loss_on_the_sample(
    predictor: Predictor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    texts, labels = sample()
    ids = tokenize(predictor.tokenizer, texts[:24], 32)
    states = encode(predictor.model.encoder, ids, "test", Checkpoint(), 2, tmp_path)
    reviews = Encoded(states, labels[:24])
    head = GruHead(384, 32, 2, 0.25)
    before, _, _ = evaluate_epoch(head, reviews)
    optimiser, generator = torch.optim.Adam(head.parameters()), torch.Generator()
    for _ in range(10):
        rows: list[tuple[float, float]] = []
        parts = batches(reviews.states.lengths, 8, generator)
        loss, accuracy = train_epoch(head, reviews, optimiser, parts, [1e-3] * 3, rows)
    after, right, logits = evaluate_epoch(head, reviews)
    assert len(rows) == 3 and loss == pytest.approx(sum(row[0] for row in rows) / 3)
    assert accuracy == pytest.approx(sum(row[1] for row in rows) / 3)
    assert after < 0.5 * before and right > 0.9
    assert right == binary_accuracy(logits, labels[:24])


def test_a_rate_of_zero_changes_nothing() -> None:
    head = GruHead(4, 3, 2, 0.0)
    before = {name: weight.clone() for name, weight in head.state_dict().items()}
    reviews = Encoded(stored([torch.randn(3, 4)] * 2), torch.tensor([0, 1]))
    optimiser = torch.optim.Adam(head.parameters())
    parts = [torch.tensor([0]), torch.tensor([1])]
    train_epoch(head, reviews, optimiser, parts, [0.0, 0.0], [])
    assert all(torch.equal(before[n], w) for n, w in head.state_dict().items())
    train_epoch(head, reviews, optimiser, parts, [0.1, 0.1], [])
    assert not all(torch.equal(before[n], w) for n, w in head.state_dict().items())


def test_rates_rise_and_fall() -> None:
    config = dataclasses.replace(SMALL, lr=2.0, warm_up=0.1, fall=True)
    rates = learning_rates(config, 100)
    assert len(rates) == 100 and max(rates) <= 2.0
    assert rates[:10] == pytest.approx([0.2 * (i + 0.5) for i in range(10)])
    assert rates[-1] == pytest.approx(2.0 * 0.5 / 90)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rates(SMALL, 3) == [SMALL.lr] * 3


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_evaluation_does_not_depend_on_the_batches(
    sentiment_runs: dict[str, Run], name: str
) -> None:
    head = sentiment.load(sentiment_runs[name]).model.head
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(n, 384, generator=generator) for n in (3, 9, 1, 5)]
    reviews = Encoded(stored(states), torch.tensor([0, 1, 1, 0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "fast_bfloat16", lambda: False)
        one = evaluate_epoch(head, reviews, 1)
        all_at_once = evaluate_epoch(head, reviews, 4)
    torch.testing.assert_close(one[2], all_at_once[2], rtol=0, atol=1e-5)
    assert one[0] == pytest.approx(all_at_once[0], abs=1e-5)


def test_the_epoch_with_the_best_validation_loss_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_losses = iter([0.5, 0.3, 0.4, 0.3])
    seen = []

    def evaluate(head: GruHead, reviews: Encoded) -> tuple[float, float, Tensor]:
        seen.append(head.linear.bias.item())
        return next(given_losses), 0.5, torch.empty(0)

    monkeypatch.setattr(training, "evaluate_epoch", evaluate)
    states = stored([torch.randn(4, 6) for _ in range(8)])
    reviews = Encoded(states, torch.arange(8) % 2)
    config = dataclasses.replace(SMALL, epochs=4)
    head = GruHead(6, 3, 2, 0.0)
    history, best = fit(head, reviews, reviews, config, 0, Checkpoint())
    assert [row["valid_loss"] for row in history] == [0.5, 0.3, 0.4, 0.3]
    assert best["linear.bias"].item() == seen[1] != seen[3]
