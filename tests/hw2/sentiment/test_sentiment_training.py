"""How a model learns, how it is evaluated, and which weights are kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Bernoulli, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from hw2 import data, sentiment, training
from hw2.sentiment import Config, encoder
from hw2.sentiment import training as teaching
from hw2.sentiment.encoder import Encoded, States
from hw2.sentiment.model import CnnHead, inside
from hw2.sentiment.tokens import Tokens, pad, random_batches, tokenize
from hw2.sentiment.training import (
    best_epoch,
    binary_accuracy,
    divergence,
    evaluate_epoch,
    fit,
    is_correct,
    learning_rate,
    train_epoch,
)
from hw2.training import History, Journal
from recorded import Checkpoint, Run, Tensors, checkpoint
from small_sentiment import SMALL, sample

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = replace(SMALL, batch=4, epochs=3, lr=0.1)


class Mean(nn.Module):
    """A head that is linear in the mean of a review's states."""

    def __init__(self, width: int = 6, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, 1)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        sums = (states * inside(states, lengths)[:, :, None]).sum(dim=1)
        logits: Tensor = self.linear(self.dropout(sums / lengths[:, None])).squeeze(1)
        return logits


def new_head(dropout: float = 0.0) -> Mean:
    """With the same weights, before the same random numbers."""
    torch.manual_seed(0)
    return Mean(dropout=dropout)


def some_reviews(count: int, seed: int = 0, width: int = 6) -> Encoded:
    """Of 1 to 9 tokens, and of labels that their states tell, but for some noise."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 10, (count,), generator=generator)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    labels = torch.randint(2, (count,), generator=generator)
    values = torch.randn(int(starts[-1]), width, generator=generator)
    values[:, 0] += (2 * labels - 1).repeat_interleave(lengths)
    return Encoded(States(values, starts, 0.0, False), labels)


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single precision, where the processor is fast with fewer bits as well."""
    monkeypatch.setattr(encoder, "fast_bfloat16", lambda: False)


def trained(
    head: nn.Module,
    config: Config,
    place: Checkpoint | None = None,
    count: int = 10,
) -> tuple[History, Tensors]:
    reviews, others = some_reviews(count), some_reviews(7, seed=1)
    place = place or Checkpoint()
    return fit(head, reviews, others, config, seed=0, name="x", checkpoint=place)


def each_step(monkeypatch: pytest.MonkeyPatch, head: nn.Module) -> list[Tensors]:
    """A list to which each step adds the weights that the head has after it."""
    seen: list[Tensors] = []
    advance = training.advance

    def look(bar: Any, **shown: float) -> None:
        advance(bar, **shown)
        seen.append({name: of.detach().clone() for name, of in head.named_parameters()})

    monkeypatch.setattr(training, "advance", look)
    return seen


def assert_same(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys() and one
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name


# Formulas


def test_is_correct_by_the_sign() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0], [-2.0, 1.0, 3.0]])
    expected = [[True, True, False], [False, False, True]]
    assert is_correct(logits, torch.tensor([1, 0, 1])).tolist() == expected


def test_binary_accuracy() -> None:
    logits = torch.tensor([3.0, -0.1, 0.0, 2.0])
    assert binary_accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.75
    assert binary_accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.25


@pytest.mark.parametrize(
    ("warm_up", "decay", "rates"),
    [
        (0.2, True, [0.0, 1.0, 2.0, 1.0, 0.5, 0.0]),
        (0.2, False, [0.0, 1.0, 2.0, 2.0, 2.0, 2.0]),
        (0.0, True, [2.0, 1.8, 1.6, 0.8, 0.4, 0.0]),
        (0.0, False, [2.0] * 6),
    ],
)
def test_the_rate_rises_and_falls(
    warm_up: float, decay: bool, rates: list[float]
) -> None:
    config = replace(SMALL, lr=2.0, warm_up=warm_up, decay=decay)
    found = [learning_rate(config, done) for done in (0, 0.1, 0.2, 0.6, 0.8, 1)]
    assert found == pytest.approx(rates)


LOGIT = st.floats(-6, 6)


@given(st.lists(st.tuples(LOGIT, LOGIT), min_size=1, max_size=9))
def test_divergence_is_the_mean_of_both_directions(
    pairs: list[tuple[float, float]],
) -> None:
    logits = torch.tensor(pairs, dtype=torch.double).T
    p, q = (Bernoulli(logits=of) for of in logits)
    both = torch.stack([kl_divergence(p, q), kl_divergence(q, p)])
    torch.testing.assert_close(divergence(logits), both.mean())


def test_the_best_epoch_has_the_smallest_validation_loss() -> None:
    assert best_epoch(torch.tensor([0.5, 0.3, 0.4, 0.3])) == 1
    assert best_epoch(torch.tensor([0.5])) == 0
    assert best_epoch(torch.tensor([0.5, torch.nan, 0.4])) == 2
    with pytest.raises(ValueError, match="there are no epochs"):
        best_epoch(torch.empty(0))


# A step


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("agreement", [0.0, 0.7])
def test_a_step_follows_the_gradient(agreement: float) -> None:
    """Of the mean cross-entropy, and of how far two passes are apart."""

    class Shifted(Mean):
        """In the place of dropout, another logit in the second pass."""

        def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
            logits = super().forward(states, lengths).view(passes, -1)
            shift = torch.arange(passes, dtype=torch.float)[:, None]
            return (logits + shift * logits.abs()).flatten()

    passes = 2 if agreement else 1
    config = replace(TINY, lr=0.5, warm_up=0.5, agreement=agreement, epochs=1)
    reviews = some_reviews(10)
    torch.manual_seed(0)
    head, other = Shifted(), Shifted()
    other.load_state_dict(head.state_dict())
    optimiser = torch.optim.SGD(head.parameters(), lr=99.0)
    batches = [torch.tensor([3, 1, 4, 0]), torch.tensor([9, 2])]
    journal = Journal("x", Checkpoint(), head, [optimiser], 1, 2, dict)
    journal.history["correct"] = []
    train_epoch(head, reviews, batches, optimiser, config, journal)

    losses, right = [], []
    # In the middle of the first step a quarter is done, which is half of the warm-up.
    for batch, rate in zip(batches, (0.25, 0.5), strict=True):
        states, lengths = reviews.batch(batch)
        if agreement:
            states, lengths = states.repeat(2, 1, 1), lengths.repeat(2)
        logits = other(states, lengths).view(passes, -1)
        labels = reviews.labels[batch].float()
        loss = torch.stack(
            [binary_cross_entropy_with_logits(of, labels) for of in logits]
        ).mean()
        losses.append(loss.item())
        right.append(int(((logits[0] > 0) == (labels == 1)).sum()))
        if agreement:
            p, q = (Bernoulli(logits=of) for of in logits)
            apart = kl_divergence(p, q).mean() + kl_divergence(q, p).mean()
            loss = loss + agreement * apart / 2
        other.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in other.parameters():
                assert weight.grad is not None
                weight.sub_(rate * weight.grad)
    assert journal.history["losses"] == pytest.approx(losses, abs=1e-6)
    assert journal.history["correct"] == right
    for here, there in zip(head.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(here, there)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_two_passes_have_dropout_of_their_own(
    monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    apart = []

    def measured(logits: Tensor) -> Tensor:
        assert logits.shape[0] == 2
        apart.append((logits[0] - logits[1]).abs().max().item())
        return divergence(logits)

    monkeypatch.setattr(teaching, "divergence", measured)
    trained(new_head(dropout), replace(TINY, agreement=1.0))
    assert len(apart) == 9
    assert min(apart) > 1e-3 if dropout else max(apart) < 1e-5


def test_epochs_reduce_the_loss_on_the_sample() -> None:
    torch.manual_seed(0)
    texts, labels = sample()
    bert, tokenizer = encoder.pretrained(data.minilm_folder())
    ids, mask = pad(tokenize(tokenizer, texts[:24], 32))
    with torch.no_grad():
        states = bert(ids, attention_mask=mask).last_hidden_state
    rows = [of[: int(n)] for of, n in zip(states, mask.sum(dim=1), strict=True)]
    starts = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    reviews = Encoded(States(torch.cat(rows), starts, 0.0, False), labels[:24])
    head = CnnHead(384, 32, 0.25)
    before, _, _ = evaluate_epoch(head, reviews)
    config = replace(TINY, batch=8, epochs=10, lr=1e-3)
    place = Checkpoint()
    fit(head, reviews, reviews, config, seed=0, name="x", checkpoint=place)
    after, right, logits = evaluate_epoch(head, reviews)
    assert after < 0.5 * before and right > 0.9
    assert right == binary_accuracy(logits, labels[:24])


# Evaluation


@pytest.mark.parametrize("name", ["gru", "cnn", "finetuned"])
@pytest.mark.usefixtures("single")
def test_evaluation_does_not_depend_on_the_batches(
    sentiment_runs: dict[str, Run], name: str
) -> None:
    loaded = sentiment.load(sentiment_runs[name])
    texts, labels = sample()
    reviews = Tokens(loaded.tokens(texts[:10]), labels[:10])
    loss, accuracy, logits = evaluate_epoch(loaded.model.train(), reviews)
    expected = binary_cross_entropy_with_logits(logits, labels[:10].float())
    assert loss == pytest.approx(expected.item())
    assert accuracy == binary_accuracy(logits, labels[:10])
    shuffled = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    for batches in (torch.arange(10).split(1), shuffled.split(3)):
        other = evaluate_epoch(loaded.model, reviews, batches)
        torch.testing.assert_close(other[2], logits, rtol=0, atol=1e-5)
        assert other[0] == pytest.approx(loss, abs=1e-5)
    assert logits.std() > 0  # so that their order could be seen to be wrong


def test_evaluation_is_without_dropout() -> None:
    head, reviews = new_head(dropout=0.5).train(), some_reviews(9)
    once = evaluate_epoch(head, reviews)
    assert torch.equal(once[2], evaluate_epoch(head, reviews)[2])


# The history


def test_a_history_says_what_happened_in_each_step_and_epoch() -> None:
    history, _ = trained(new_head(), TINY)
    each = {name: len(values) for name, values in history.items()}
    steps = 3 * 3  # 10 reviews in batches of 4, three times
    assert each == {
        **dict.fromkeys(("losses", "correct"), steps),
        **dict.fromkeys(("loss", "accuracy", "seconds"), 3),
        **dict.fromkeys(("valid_loss", "valid_accuracy", "valid_seconds"), 3),
    }
    assert history["losses"][-1] < history["losses"][0]
    assert history["seconds"] == sorted(history["seconds"])
    assert min(history["seconds"] + history["valid_seconds"]) > 0


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("by_length", [True, False])
def test_means_are_over_reviews_not_over_batches(by_length: bool) -> None:
    """By weights that stay, so that an epoch is an evaluation."""
    head = new_head()
    history, _ = trained(head, replace(TINY, lr=0.0, by_length=by_length))
    loss, accuracy, _ = evaluate_epoch(head, some_reviews(10))
    assert history["loss"] == pytest.approx([loss] * 3)
    assert history["accuracy"] == pytest.approx([accuracy] * 3)
    # The last batch of an epoch has but 2 reviews, and so the mean of batches differs.
    by_batch = torch.tensor(history["losses"]).view(3, 3).mean(dim=1)
    assert ((by_batch - loss).abs() > 1e-3).any()
    loss, accuracy, _ = evaluate_epoch(head, some_reviews(7, seed=1))
    assert history["valid_loss"] == pytest.approx([loss] * 3)
    assert history["valid_accuracy"] == pytest.approx([accuracy] * 3)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("by_length", [True, False])
def test_training_is_adams(monkeypatch: pytest.MonkeyPatch, by_length: bool) -> None:
    """Over batches that are drawn by the seed, anew for each epoch."""
    head, other = new_head(), new_head()
    seen = each_step(monkeypatch, head)
    trained(head, replace(TINY, by_length=by_length))
    reviews, generator = some_reviews(10), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(other.parameters(), TINY.lr)
    for _ in range(TINY.epochs):
        for batch in random_batches(reviews.lengths, 4, generator, by_length):
            logits = other(*reviews.batch(batch))
            labels = reviews.labels[batch].float()
            optimiser.zero_grad()
            binary_cross_entropy_with_logits(logits, labels).backward()
            optimiser.step()
            torch.testing.assert_close(dict(other.named_parameters()), seen.pop(0))
    assert not seen


# What is kept


def losing(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Have the epochs these losses on the validation reviews."""
    left = iter(losses)

    def evaluate(model: nn.Module, reviews: Encoded) -> tuple[float, float, Tensor]:
        return next(left), 0.5, torch.empty(0)

    monkeypatch.setattr(teaching, "evaluate_epoch", evaluate)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.3, 0.4, 0.5]), min_size=1, max_size=5))
def test_the_weights_of_the_best_epoch_are_kept(losses: list[float]) -> None:
    head = new_head()
    with pytest.MonkeyPatch.context() as patch:
        losing(patch, losses)
        seen = each_step(patch, head)
        history, best = trained(head, replace(TINY, epochs=len(losses)))
    assert history["valid_loss"] == losses
    epoch = best_epoch(torch.tensor(losses))
    assert_same(best, seen[3 * epoch + 2])


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_mean_of_the_weights_is_kept(
    monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    """Of those after each step, with weights that decay; by hand."""
    head = new_head()
    losing(monkeypatch, [0.3 if epoch == best else 0.5 for epoch in range(3)])
    seen = each_step(monkeypatch, head)
    _, kept = trained(head, replace(TINY, averaging=0.8))
    mean = dict(seen[0])
    for weights in seen[1 : 3 * best + 3]:
        mean = {name: 0.8 * of + 0.2 * weights[name] for name, of in mean.items()}
    torch.testing.assert_close(kept, mean)
    assert not torch.equal(kept["linear.weight"], seen[3 * best + 2]["linear.weight"])


@pytest.mark.usefixtures("single")
def test_the_mean_of_the_weights_is_validated_and_not_trained() -> None:
    config = replace(TINY, averaging=0.8)
    (plain, _), (history, best) = trained(new_head(), TINY), trained(new_head(), config)
    assert history["losses"] == plain["losses"]
    assert history["valid_loss"] != plain["valid_loss"]
    head = new_head()
    head.load_state_dict(best)
    loss, _, _ = evaluate_epoch(head, some_reviews(7, seed=1))
    assert loss == pytest.approx(min(history["valid_loss"]))


def test_weights_that_are_frozen_are_neither_changed_nor_kept() -> None:
    for averaging in (0.0, 0.8):
        head = new_head()
        head.linear.bias.requires_grad_(False)
        before = head.linear.bias.clone()
        _, best = trained(head, replace(TINY, averaging=averaging))
        assert best.keys() == {"linear.weight"}
        assert torch.equal(head.linear.bias, before)


# Interruptions


class Fragile(Checkpoint):
    """Raises after some of its savings, as if Ctrl-C was pressed just then."""

    saved = 0

    def __init__(self, folder: Path, breaks: set[int]) -> None:
        super().__init__(folder)
        self.breaks = breaks

    def save(self, stage: str, state: dict[str, Any]) -> None:
        super().save(stage, state)
        Fragile.saved += 1
        if Fragile.saved in self.breaks:
            raise KeyboardInterrupt


@pytest.mark.parametrize("averaging", [0.0, 0.8])
@pytest.mark.parametrize("agreement", [0.0, 1.0])
def test_a_training_that_was_stopped_anywhere_gives_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    averaging: float,
    agreement: float,
) -> None:
    """Within validation, too, when the best weights are kept, but not yet the rest."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(Fragile, "saved", 0)
    config = replace(TINY, averaging=averaging, agreement=agreement)
    whole, best = trained(new_head(0.5), config)
    # The third saving is that of the first best weights; that of the rest is lost.
    breaks, stops, found = {1, 3, 5, 6, 9, 10, 12}, 0, None
    while not found:
        with pytest.MonkeyPatch.context() as patch:
            head = new_head(0.5)
            seen = each_step(patch, head)
            try:
                found = trained(head, config, Fragile(tmp_path, breaks))
            except KeyboardInterrupt:
                stops += 1
    assert stops == sum(k <= Fragile.saved for k in breaks) >= 6
    assert len(seen) < 6
    for name, values in whole.items():
        assert found[0][name] == values or name.endswith("seconds"), name
    assert_same(found[1], best)
