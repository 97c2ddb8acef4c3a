"""The sentiment model: what it reads, how it learns, and what it says of any text."""

import csv
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import BertConfig, BertModel

from hw2 import data, encoder, records, sentiment, studies, training
from hw2.encoder import States
from hw2.records import Checkpoint, Run
from hw2.sentiment import (
    BertGruSentiment,
    CnnHead,
    Config,
    Encoded,
    GruHead,
    LowRank,
    Predictor,
    UpperHead,
)
from hw2.training import count_parameters

SMALL = Config(
    train_size=16, valid_size=8, test_size=24, batch=4, hidden=32, max_tokens=64
)
OTHERS = {  # the other heads, as small
    "cnn": dataclasses.replace(SMALL, head="cnn", layer=4, both_ends=True, seeds=2),
    "upper": dataclasses.replace(SMALL, head="upper", layer=4, rank=2, fall=True),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices as small as here are multiplied fastest by one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sample() -> sentiment.Reviews:
    """Reviews written for these tests, positive and negative in turn."""
    with open(Path(__file__).with_name("sample_reviews.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    labels = torch.tensor([int(row["label"]) for row in rows])
    return [row["text"] for row in rows], labels


def halves(split: str) -> sentiment.Reviews:
    """The sample in the place of IMDB: a half for each split."""
    texts, labels = sample()
    half = slice(24) if split == "train" else slice(24, 48)
    return texts[half], labels[half]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run on the sample with each head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "imdb", halves)
        folder = tmp_path_factory.mktemp("records")
        patch.setattr(records, "RECORDS", folder)
        return {
            name: records.make(folder / name, sentiment.experiment, config)
            for name, config in ({"gru": SMALL} | OTHERS).items()
        }


@pytest.fixture(scope="module")
def result(made: dict[str, Run]) -> Run:
    return made["gru"]


def stored(rows: list[Tensor]) -> States:
    """States of reviews, (T_i, d) each."""
    starts = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return States(torch.cat(rows), starts, 0.0)


def encoded(predictor: Predictor, ids: list[list[int]], place: Path) -> States:
    return encoder.encode(predictor.model.encoder, ids, "test", Checkpoint(), 2, place)


@pytest.fixture(scope="module")
def predictor(result: Run) -> Predictor:
    return sentiment.load(result)


# The model


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
    turned = sentiment.reverse(states, lengths)
    assert turned.squeeze(2).tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]
    assert torch.equal(sentiment.reverse(turned, lengths), states)


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


# Data


def test_subsets_are_disjoint_and_of_the_stated_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    parts = sentiment.subsets(SMALL)
    sizes = {name: len(texts) for name, (texts, _) in parts.items()}
    assert sizes == {"train": 16, "valid": 8, "test": 24}
    assert all(len(texts) == len(labels) for texts, labels in parts.values())
    assert len({text for texts, _ in parts.values() for text in texts}) == 48
    truth = dict(zip(*sample(), strict=True))
    for texts, labels in parts.values():
        assert 2 * labels.sum() == len(labels)
        assert labels.tolist() == [truth[text] for text in texts]


def test_subsets_of_imdb(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> sentiment.Reviews:
        return [f"{split} {i}" for i in range(100)], torch.arange(100) % 2

    monkeypatch.setattr(data, "imdb", imdb)
    config = Config(train_size=60, valid_size=40, test_size=50)
    parts = sentiment.subsets(config)
    train, valid, test = (set(texts) for texts, _ in parts.values())
    assert (len(train), len(valid), len(test)) == (60, 40, 50)
    assert not train & valid
    assert all(text.startswith("train") for text in train | valid)
    assert all(text.startswith("test") for text in test)
    assert sentiment.subsets(config)["test"][0] == parts["test"][0]
    more_seeds = sentiment.subsets(dataclasses.replace(config, seeds=2))
    assert more_seeds["test"][0] == parts["test"][0]


def test_subsets_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    with pytest.raises(ValueError, match=r"\[18, 8\] reviews.* out of 12"):
        sentiment.subsets(dataclasses.replace(SMALL, train_size=18))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 513),
        ("train_size", 0),
        ("test_size", 25),
        ("batch", 0),
        ("seeds", 0),
        ("layer", 0),
        ("head", "mlp"),
        ("rank", 4),
    ],
)
def test_config_refuses(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value!r}, expected"):
        dataclasses.replace(SMALL, **{field: value})


def test_sample_is_balanced_and_without_repeats() -> None:
    texts, labels = sample()
    assert len(texts) == len(set(texts)) == 48
    assert labels.tolist() == [1, 0] * 24


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_imdb_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool
) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", offline)
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    monkeypatch.delenv("HW2_IMDB", raising=False)
    if named:
        monkeypatch.setenv("HW2_IMDB", str(tmp_path / "nowhere"))
    with pytest.raises(data.MissingData, match="HW2_IMDB"):
        data.imdb("train")


def test_the_hubs_layout_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its README names a third split, which is not downloaded."""
    (tmp_path / "plain_text").mkdir()
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain_text\n  data_files:\n"
        "  - split: train\n    path: plain_text/train-*\n"
        "  - split: unsupervised\n    path: plain_text/unsupervised-*\n---\n"
    )
    rows = Dataset.from_dict({"text": ["Good.", "Bad."], "label": [1, 0]})
    rows.to_parquet(tmp_path / "plain_text" / "train-00000-of-00001.parquet")
    digest = hashlib.sha256(b"0\tBad.\n1\tGood.\n").hexdigest()
    monkeypatch.setitem(data.IMDB_DIGESTS, "train", digest)
    monkeypatch.delenv("HW2_IMDB", raising=False)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: None)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path)
    )
    texts, labels = data.imdb("train")
    assert (texts, labels.tolist()) == (["Bad.", "Good."], [0, 1])
    with pytest.raises(data.MissingData, match=r"no test-\*\.parquet"):
        data.imdb("test")


def test_tampered_imdb_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "plain_text"
    folder.mkdir()
    rows = Dataset.from_dict({"text": ["Good.", "Bad."], "label": [0, 1]})
    for split in ("train", "test"):
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("HW2_IMDB", str(tmp_path))
    with pytest.raises(ValueError, match="SHA-256"):
        data.imdb("train")


# Batches, states


@given(
    lengths=st.lists(st.integers(1, 50), max_size=200),
    size=st.integers(1, 9),
    seed=st.none() | st.integers(0, 99),
)
def test_batches_hold_every_review_once(
    lengths: list[int], size: int, seed: int | None
) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    parts = encoder.batches(torch.tensor(lengths), size, generator)
    indices = [i for part in parts for i in part.tolist()]
    assert sorted(indices) == list(range(len(lengths)))
    assert all(1 <= len(part) <= size for part in parts)


def test_encode_keeps_order_and_length(predictor: Predictor, tmp_path: Path) -> None:
    texts, _ = sample()
    ids = encoder.tokenize(predictor.tokenizer, texts[:5], 32)
    states = encoded(predictor, ids, tmp_path)
    assert states.seconds > 0 and states.values.dtype == torch.half
    assert states.lengths.tolist() == [len(row) for row in ids]
    padded = states.padded(torch.arange(5))
    for row, found in zip(ids, padded, strict=True):
        with torch.no_grad():
            output = predictor.model.encoder(input_ids=torch.tensor([row]))
        expected = output.last_hidden_state[0]
        # bfloat16 has 8 bits: the states, of size 1 or less, differ by some hundredths
        torch.testing.assert_close(found[: len(row)], expected, rtol=0, atol=0.1)
        assert not found[len(row) :].any()


def test_encoded_reviews_are_not_encoded_again(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, _ = sample()
    ids = encoder.tokenize(predictor.tokenizer, texts[:5], 32)
    first = encoded(predictor, ids, tmp_path)
    monkeypatch.setattr(encoder, "pad", None)  # without which nothing is encoded
    again = encoded(predictor, ids, tmp_path)
    assert torch.equal(first.values, again.values) and first.seconds == again.seconds
    with pytest.raises(TypeError):
        encoded(predictor, ids[:4], tmp_path)


def test_changed_states_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    ids = encoder.tokenize(predictor.tokenizer, ["Good.", "Bad."], 32)
    states = encoded(predictor, ids, tmp_path)
    states.values[0, 0] += 1  # mapped, so the file changes too
    with pytest.raises(ValueError, match="not as it was written"):
        encoded(predictor, ids, tmp_path)


def test_interrupted_encoding_goes_on(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "INTERVAL", 0.0)
    texts, _ = sample()
    ids = encoder.tokenize(predictor.tokenizer, texts[:6], 32)
    whole = encoded(predictor, ids, tmp_path / "whole")
    steps = []

    def stopped(bar: Any) -> None:
        training.advance(bar)
        steps.append(bar.n)
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "advance", stopped)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            encoded(predictor, ids, tmp_path / "parts")
    assert steps == [1, 2, 3]
    parts = encoded(predictor, ids, tmp_path / "parts")
    assert torch.equal(parts.values, whole.values)


def test_both_ends_of_a_long_text_are_kept(predictor: Predictor) -> None:
    words = " ".join(f"w{n}" for n in range(100))
    (whole,) = encoder.tokenize(predictor.tokenizer, [words], 512)
    (start,) = encoder.tokenize(predictor.tokenizer, [words], 21)
    (ends,) = encoder.tokenize(predictor.tokenizer, [words], 21, both_ends=True)
    assert start == whole[:20] + whole[-1:]
    assert ends == whole[:11] + whole[-10:]
    short = encoder.tokenize(predictor.tokenizer, ["Good."], 21, both_ends=True)
    assert short == encoder.tokenize(predictor.tokenizer, ["Good."], 21)


# Training


def test_binary_accuracy() -> None:
    logits = torch.tensor([3.0, -0.1, 0.0, 2.0])
    assert sentiment.binary_accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.75
    assert sentiment.binary_accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.25


def test_epochs_reduce_the_loss_on_the_sample(
    predictor: Predictor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    texts, labels = sample()
    ids = encoder.tokenize(predictor.tokenizer, texts[:24], 32)
    reviews = Encoded(encoded(predictor, ids, tmp_path), labels[:24])
    head = GruHead(384, 32, 2, 0.25)
    before, _, _ = sentiment.evaluate_epoch(head, reviews)
    optimiser, generator = torch.optim.Adam(head.parameters()), torch.Generator()
    for _ in range(10):
        rows: list[tuple[float, float]] = []
        parts = encoder.batches(reviews.states.lengths, 8, generator)
        loss, accuracy = sentiment.train_epoch(
            head, reviews, optimiser, parts, [1e-3] * 3, rows
        )
    after, right, logits = sentiment.evaluate_epoch(head, reviews)
    assert len(rows) == 3 and loss == pytest.approx(sum(row[0] for row in rows) / 3)
    assert accuracy == pytest.approx(sum(row[1] for row in rows) / 3)
    assert after < 0.5 * before and right > 0.9
    assert right == sentiment.binary_accuracy(logits, labels[:24])


def test_a_rate_of_zero_changes_nothing() -> None:
    head = GruHead(4, 3, 2, 0.0)
    before = {name: weight.clone() for name, weight in head.state_dict().items()}
    reviews = Encoded(stored([torch.randn(3, 4)] * 2), torch.tensor([0, 1]))
    optimiser = torch.optim.Adam(head.parameters())
    parts = [torch.tensor([0]), torch.tensor([1])]
    sentiment.train_epoch(head, reviews, optimiser, parts, [0.0, 0.0], [])
    assert all(torch.equal(before[n], w) for n, w in head.state_dict().items())
    sentiment.train_epoch(head, reviews, optimiser, parts, [0.1, 0.1], [])
    assert not all(torch.equal(before[n], w) for n, w in head.state_dict().items())


def test_rates_rise_and_fall() -> None:
    config = dataclasses.replace(SMALL, lr=2.0, warm_up=0.1, fall=True)
    rates = sentiment.learning_rates(config, 100)
    assert len(rates) == 100 and max(rates) <= 2.0
    assert rates[:10] == pytest.approx([0.2 * (i + 0.5) for i in range(10)])
    assert rates[-1] == pytest.approx(2.0 * 0.5 / 90)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert sentiment.learning_rates(SMALL, 3) == [SMALL.lr] * 3


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_evaluation_does_not_depend_on_the_batches(
    made: dict[str, Run], name: str
) -> None:
    head = sentiment.load(made[name]).model.head
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(n, 384, generator=generator) for n in (3, 9, 1, 5)]
    reviews = Encoded(stored(states), torch.tensor([0, 1, 1, 0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "fast_bfloat16", lambda: False)
        one = sentiment.evaluate_epoch(head, reviews, 1)
        all_at_once = sentiment.evaluate_epoch(head, reviews, 4)
    torch.testing.assert_close(one[2], all_at_once[2], rtol=0, atol=1e-5)
    assert one[0] == pytest.approx(all_at_once[0], abs=1e-5)


@pytest.mark.parametrize("head", [CnnHead(6, 5, 0.0), GruHead(6, 5, 2, 0.0)])
def test_heads_do_not_read_padding(head: nn.Module) -> None:
    states, lengths = torch.randn(3, 7, 6), torch.tensor([7, 4, 1])
    found = head(states, lengths)
    inside = sentiment.inside(states, lengths)
    assert inside.squeeze(2).sum(dim=1).tolist() == [7, 4, 1]
    changed = head(torch.where(inside > 0, states, torch.tensor(1e3)), lengths)
    torch.testing.assert_close(found, changed)


def test_upper_layers_begin_as_the_encoders_own() -> None:
    """What the convolution reads is what the whole encoder gives."""
    whole, tokenizer = encoder.pretrained(data.minilm_folder())
    config = dataclasses.replace(SMALL, head="upper", layer=2, rank=3)
    model, _ = sentiment.build(config, data.minilm_folder)
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
    model, _ = sentiment.build(config, data.minilm_folder)
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
    head = sentiment.build(config, data.minilm_folder)[0].head
    states, lengths = torch.randn(2, 4, 384), torch.tensor([4, 3])
    head.train()
    once = head(states, lengths)
    assert torch.equal(once, head(states, lengths))


def test_too_high_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="layer is 7, expected 1 to 6"):
        sentiment.build(dataclasses.replace(SMALL, layer=7), data.minilm_folder)


def test_the_epoch_with_the_best_validation_loss_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_losses = iter([0.5, 0.3, 0.4, 0.3])
    seen = []

    def evaluate(head: GruHead, reviews: Encoded) -> tuple[float, float, Tensor]:
        seen.append(head.linear.bias.item())
        return next(given_losses), 0.5, torch.empty(0)

    monkeypatch.setattr(sentiment, "evaluate_epoch", evaluate)
    states = stored([torch.randn(4, 6) for _ in range(8)])
    reviews = Encoded(states, torch.arange(8) % 2)
    config = dataclasses.replace(SMALL, epochs=4)
    head = GruHead(6, 3, 2, 0.0)
    history, best = sentiment.fit(head, reviews, reviews, config, 0, Checkpoint())
    assert [row["valid_loss"] for row in history] == [0.5, 0.3, 0.4, 0.3]
    assert best["linear.bias"].item() == seen[1] != seen[3]


def test_the_run_is_whole(made: dict[str, Run]) -> None:
    for name, config in ({"gru": SMALL} | OTHERS).items():
        run = made[name]
        for seed in range(config.seeds):
            assert len(run.metrics[f"seed-{seed}"]["history"]) == config.epochs
        logits, labels = run.predictions["logits"], run.predictions["labels"]
        assert logits.shape == (config.seeds, 24)
        accuracy = sentiment.binary_accuracy(logits, labels)
        assert run.scores["accuracy"].value == pytest.approx(accuracy)
        assert all(weight.dtype == torch.half for weight in run.weights.values())
        for part, size in (("train", 16), ("valid", 8), ("test", 24)):
            of = run.metrics["reviews"][part]
            assert (of["count"], of["positive"]) == (size, size // 2)
            assert of["cut"] == 0 and of["seconds"] > 0


def test_confident_errors_are_the_worst_of_either_kind() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1])
    logits = torch.tensor([3.0, -9.0, 1.0, -2.0, 5.0])
    found = sentiment.confident_errors(
        (["a", "b", "c", "d" * 999, "e"], labels), logits
    )
    assert [(e["label"], e["logit"]) for e in found] == [(0, 3.0), (0, 1.0), (1, -2.0)]
    assert [e["text"] for e in found] == ["a", "c", "d" * 400]


@pytest.mark.parametrize("name", sentiment.RUNS)
def test_the_recorded_model_predicts_what_it_predicted(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By its name, on reviews of IMDB where it is at hand."""
    monkeypatch.setenv("HW2_TRAIN", "never")
    config = sentiment.RUNS[name]
    run = records.run(name, sentiment.experiment, config)
    try:
        texts, labels = sentiment.subsets(config)["test"]
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert torch.equal(labels, run.predictions["labels"])
    some = slice(12_480, 12_520)  # of both kinds
    found = torch.tensor(sentiment.load(name).predict_proba(texts[some]))
    # the run's states were in half precision, and its matrices in bfloat16
    expected = run.predictions["logits"][0, some].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)


# The studies


def test_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> sentiment.Reviews:
        texts, labels = halves(split)
        train, _ = halves("train")
        return (texts if split == "train" else [*train[:2], *texts[2:]]), labels

    monkeypatch.setattr(data, "imdb", imdb)
    found = studies.survey(studies.Survey(SMALL), Checkpoint())
    assert found.predictions["repeated"].sum() == 2
    assert found.metrics["twice"] == {"train": 0, "valid": 0, "test": 0}
    assert [len(found.predictions[n]) for n in ("train", "valid", "test")] == [
        16,
        8,
        24,
    ]


def test_tfidf(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a word decides is learned, and the strength is chosen by validation."""

    def imdb(split: str) -> sentiment.Reviews:
        labels = torch.arange(40) % 2
        words = {0: "bad dull", 1: "good fine"}
        return [
            f"{split} {words[int(of)]} x{i % 7}" for i, of in enumerate(labels)
        ], labels

    monkeypatch.setattr(data, "imdb", imdb)
    config = studies.Tfidf(dataclasses.replace(SMALL, test_size=40))
    found = studies.tfidf(config, Checkpoint())
    scores = studies.tfidf_score(found.predictions)
    assert scores["accuracy"].value == scores["all"].value == 1.0
    assert len(found.predictions["probes"]) == len(studies.PROBES)
    best = max(zip(found.metrics["valid"], config.strengths, strict=True))
    assert found.metrics["chosen"] == best[1]


def test_padding_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    recipe = dataclasses.replace(SMALL, seeds=2, epochs=1)
    found = studies.padding(studies.Padding(recipe, short=40, watched=5), Checkpoint())
    assert found.predictions["masked"].shape == (2, 24)
    assert found.predictions["read"].shape == (2, 24)
    watched = found.predictions["watched"]
    assert watched.shape == (5, 5)
    assert (watched.amax(dim=0) > watched.amin(dim=0)).all()


@pytest.mark.parametrize("quarters", range(5))
def test_padding_grows_to_the_limit(quarters: int) -> None:
    rows = [[1] * 4, [1] * 12]
    found = studies.more(rows, 12, quarters)
    assert [len(row) for row in found] == [4 + 2 * quarters, 12]
    assert all(sum(row) == sum(was) for row, was in zip(found, rows, strict=True))
    assert studies.padded(rows, 12) == studies.more(rows, 12, 4)


def test_search_reads_no_test_review(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def imdb(split: str) -> sentiment.Reviews:
        texts, labels = halves(split)
        return (texts if split == "train" else [None] * 24), labels  # type: ignore

    monkeypatch.setattr(data, "imdb", imdb)
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    changes: dict[str, dict[str, Any]] = {"nothing": {}, "layer 2": {"layer": 2}}
    found = studies.search(studies.Search(OTHERS["cnn"], changes), Checkpoint())
    assert set(found.predictions) == {"nothing", "layer 2", "labels"}
    assert all(len(logits) == 8 for logits in found.predictions.values())
    assert set(studies.validation_score(found.predictions)) == set(changes)


def test_a_climb_keeps_what_gains_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """By rates, of which each gives a known number of right verdicts out of ten."""
    hits = {0.0: 5, 0.5: 6, 1.0: 7, 2.0: 8, 3.0: 8, 4.0: 3, 5.0: 9}
    seen = []

    def validated(recipe: sentiment.Config, *_: object) -> Any:
        seen.append((recipe.lr, recipe.dropout))
        logits = torch.ones(10)
        logits[hits[recipe.lr] :] = -1
        return [], logits, torch.ones(10)

    monkeypatch.setattr(studies, "validated", validated)
    ideas: dict[str, dict[str, Any]] = {
        "a little": {"lr": 0.5},
        "gains": {"lr": 1.0, "dropout": 0.5},
        "too little": {"lr": 2.0, "dropout": 0.1},
        "as little": {"lr": 3.0},
        "loses": {"lr": 4.0},
        "too late": {"lr": 5.0},
    }
    climb = studies.Climb(sentiment.Config(lr=0.0), ideas, gain=0.15)
    found = studies.climb(climb, Checkpoint())
    assert seen[:3] == [(0.0, 0.25), (0.5, 0.25), (1.0, 0.5)]
    assert seen[3:] == [(2.0, 0.1), (3.0, 0.5), (4.0, 0.5)]
    assert list(found.metrics) == ["start", *list(ideas)[:-1], "taken"]
    assert found.predictions.keys() == {*found.metrics, "labels"} - {"taken"}
    assert found.metrics["taken"] == ideas["gains"]


def test_the_frozen_recipe_is_what_the_climb_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    climb = records.run("sentiment-climb", *studies.RUNS["sentiment-climb"])
    found = dataclasses.replace(studies.FIRST, **climb.metrics["taken"])
    assert dataclasses.replace(sentiment.RUNS["sentiment-frozen"], seeds=1) == found


def test_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def imdb(split: str) -> sentiment.Reviews:
        texts, labels = halves(split)
        return texts * 1042, labels.repeat(1042)

    monkeypatch.setattr(data, "imdb", imdb)
    config = studies.Speed(
        reviews=8,
        max_tokens=16,
        epoch_reviews=4,
        epoch_tokens=16,
        step_reviews=2,
        rounds=2,
        batch=2,
    )
    found = studies.speed(config, Checkpoint()).predictions
    assert set(studies.speed_score(found)) == {"encoding", "epoch", "step"}
    assert {len(times) for times in found.values()} == {2}
    scores = studies.speed_score(
        {
            name: torch.tensor([seconds, 99.0])
            for name, seconds in {
                "encode": 2.0,
                "library": 8.0,
                "loop": 6.0,
                "stored epoch": 1.0,
                "notebook epoch": 12.0,
                "packed step": 20.0,
                "padded step": 3.0,
                "reversed step": 4.0,
            }.items()
        }
    )
    assert {name: score.value for name, score in scores.items()} == {
        "encoding": 3,
        "epoch": 12,
        "step": 5,
    }


def test_the_notebooks_model_reads_padding(predictor: Predictor) -> None:
    torch.manual_seed(0)
    model = studies.NotebookModel(predictor.model.encoder, 384).eval()
    assert count_parameters(model) == count_parameters(GruHead(384, 256, 2, 0.25))
    with torch.no_grad():
        alone = model(torch.tensor([[101, 2204, 102]]))
        more = model(torch.tensor([[101, 2204, 102, 0, 0, 0]]))
    assert (alone - more).abs() > 1e-3


def test_bert_base_is_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", offline)
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(data.MissingData, match="bert-base-uncased is not here"):
        data.bert_base_folder()


# Prediction


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_a_loaded_run_predicts_what_it_predicted(
    made: dict[str, Run], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    texts, _ = sentiment.subsets(SMALL)["test"]
    found = torch.tensor(sentiment.load(made[name]).predict_proba(texts))
    # the run's states were in half precision
    expected = made[name].predictions["logits"][0].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_a_loaded_run_works_in_sixteen_bits(made: dict[str, Run], name: str) -> None:
    texts, _ = sample()
    loaded = sentiment.load(made[name])
    expected = loaded.predict_proba(texts[:6])
    with torch.autocast("cpu", torch.bfloat16):
        found = loaded.predict_proba(texts[:6])
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_a_run_without_a_weight_is_not_loaded(made: dict[str, Run], name: str) -> None:
    weights = dict(made[name].weights)
    weights.popitem()
    with pytest.raises(ValueError, match=r"has the weights .*, expected"):
        sentiment.load(dataclasses.replace(made[name], weights=weights))


NASTY = [
    "",
    "   \n\t ",
    "a" * 100_000,
    "good " * 50_000,
    "とても面白い映画でした。",
    "фильм отличный",
    "فيلم رائع جدا",
    "😀👍🏽🎬",
    "\x00\x07\x1b[31m\u202e\ufeff\ufffd",
    "\ud800",
    "[CLS] [SEP] [PAD] [MASK]",
    "e\u0301" * 500,
]


def test_any_text_has_a_probability(predictor: Predictor) -> None:
    found = predictor.predict_proba(NASTY)
    assert found.shape == (len(NASTY),) and found.dtype == "float32"
    assert ((found > 0) & (found < 1)).all()
    alone = [predictor.predict_proba([text])[0] for text in NASTY]
    assert found == pytest.approx(alone, abs=1e-5)
    assert predictor.predict_proba([]).shape == (0,)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=3))
def test_arbitrary_text(predictor: Predictor, texts: list[str]) -> None:
    found = predictor.predict_proba(texts)
    assert found.shape == (len(texts),)
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("Avengers was great!!", "texts is 'Avengers was great!!', expected a list"),
        (["fine", None], r"texts\[1\] is None, expected a string"),
        ([b"bytes"], r"texts\[0\] is b'bytes'"),
        (3, "texts is 3, expected a list of strings"),
    ],
)
def test_what_is_not_text_is_refused(
    predictor: Predictor, texts: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        predictor.predict_proba(texts)
