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

from hw2 import data, records, sentiment
from hw2.records import Checkpoint, Run
from hw2.sentiment import BertGruSentiment, Config, Encoded, GruHead, Predictor
from hw2.training import count_parameters

SMALL = Config(train_size=16, valid_size=8, test_size=24, batch=4, hidden=32)


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
def result(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "imdb", halves)
        folder = tmp_path_factory.mktemp("records") / "test"
        return records.make(folder, sentiment.experiment, SMALL)


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
    sentiment.freeze(model.encoder)
    assert count_parameters(model) == 2_759_169
    assert sentiment.bert_base_parameters() == (112_241_409, 2_759_169)


def test_logits_depend_on_tokens_alone(predictor: Predictor) -> None:
    texts, _ = sample()
    ids = sentiment.tokenize(predictor.tokenizer, texts[:6], 64)
    with torch.no_grad():
        together = predictor.model(*sentiment.pad(ids))
        alone = torch.cat([predictor.model(*sentiment.pad([row])) for row in ids])
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
    other = sentiment.subsets(dataclasses.replace(config, seed=1))
    assert other["test"][0] != parts["test"][0]


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
    parts = sentiment.batches(torch.tensor(lengths), size, generator)
    indices = [i for part in parts for i in part.tolist()]
    assert sorted(indices) == list(range(len(lengths)))
    assert all(1 <= len(part) <= size for part in parts)


def test_encode_keeps_order_and_length(predictor: Predictor) -> None:
    texts, _ = sample()
    encoder = predictor.model.encoder
    ids = sentiment.tokenize(predictor.tokenizer, texts[:5], 32)
    states, seconds = sentiment.encode(encoder, ids, batch=2)
    assert seconds > 0
    for row, found in zip(ids, states, strict=True):
        with torch.no_grad():
            expected = encoder(input_ids=torch.tensor([row])).last_hidden_state[0]
        assert found.dtype == torch.half
        # bfloat16 has 8 bits: the states, of size 1 or less, differ by some hundredths
        torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.1)


# Training


def test_binary_accuracy() -> None:
    logits = torch.tensor([3.0, -0.1, 0.0, 2.0])
    assert sentiment.binary_accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.75
    assert sentiment.binary_accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.25


def test_epochs_reduce_the_loss_on_the_sample(predictor: Predictor) -> None:
    torch.manual_seed(0)
    texts, labels = sample()
    ids = sentiment.tokenize(predictor.tokenizer, texts[:24], 32)
    reviews = Encoded(sentiment.encode(predictor.model.encoder, ids)[0], labels[:24])
    head = GruHead(384, 32, 2, 0.25)
    before, _, _ = sentiment.evaluate_epoch(head, reviews)
    optimiser, generator = torch.optim.Adam(head.parameters()), torch.Generator()
    for _ in range(10):
        rows: list[tuple[float, float]] = []
        parts = sentiment.batches(reviews.lengths, 8, generator)
        loss, accuracy = sentiment.train_epoch(head, reviews, optimiser, parts, rows)
    after, right, logits = sentiment.evaluate_epoch(head, reviews)
    assert len(rows) == 3 and loss == pytest.approx(sum(row[0] for row in rows) / 3)
    assert accuracy == pytest.approx(sum(row[1] for row in rows) / 3)
    assert after < 0.5 * before and right > 0.9
    assert right == sentiment.binary_accuracy(logits, labels[:24])


def test_evaluation_does_not_depend_on_the_batches(predictor: Predictor) -> None:
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(n, 384, generator=generator) for n in (3, 9, 1, 5)]
    reviews = Encoded(states, torch.tensor([0, 1, 1, 0]))
    one = sentiment.evaluate_epoch(predictor.model.head, reviews, 1)
    all_at_once = sentiment.evaluate_epoch(predictor.model.head, reviews, 4)
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

    monkeypatch.setattr(sentiment, "evaluate_epoch", evaluate)
    reviews = Encoded([torch.randn(4, 6) for _ in range(8)], torch.arange(8) % 2)
    config = dataclasses.replace(SMALL, epochs=4)
    head = GruHead(6, 3, 2, 0.0)
    history, best = sentiment.fit(head, reviews, reviews, config, Checkpoint())
    assert [row["valid_loss"] for row in history] == [0.5, 0.3, 0.4, 0.3]
    assert best["linear.bias"].item() == seen[1] != seen[3]


def test_the_run_is_whole(result: Run) -> None:
    assert len(result.metrics["history"]) == SMALL.epochs
    logits, labels = result.predictions["logits"], result.predictions["labels"]
    accuracy = sentiment.binary_accuracy(logits, labels)
    assert result.scores["accuracy"].value == pytest.approx(accuracy)
    assert all(weight.dtype == torch.half for weight in result.weights.values())
    for name, size in (("train", 16), ("valid", 8), ("test", 24)):
        of = result.metrics["reviews"][name]
        assert (of["count"], of["positive"]) == (size, size // 2)
        assert of["to_train_on"] == (size if name == "train" else 0)
        assert of["cut"] == 0 and of["seconds"] > 0


def test_the_recorded_model_predicts_what_it_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name, on reviews of IMDB where it is at hand."""
    monkeypatch.setenv("HW2_TRAIN", "never")
    config = sentiment.RUNS["sentiment"]
    run = records.run("sentiment", sentiment.experiment, config)
    try:
        texts, labels = sentiment.subsets(config)["test"]
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert torch.equal(labels, run.predictions["labels"])
    some = slice(470, 530)  # of both kinds
    found = torch.tensor(sentiment.load("sentiment").predict_proba(texts[some]))
    # the run's states were in half precision
    expected = run.predictions["logits"][some].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)


# Prediction


def test_a_loaded_run_predicts_what_it_predicted(
    result: Run, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    texts, _ = sentiment.subsets(SMALL)["test"]
    found = torch.tensor(predictor.predict_proba(texts))
    # the run's states were in half precision
    expected = result.predictions["logits"].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


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
