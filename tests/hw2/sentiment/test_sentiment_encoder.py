"""States that are encoded once and kept on the disk."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel

from hw2 import data, training
from hw2.sentiment import encoder
from hw2.sentiment.encoder import Encoded, States, encode, pretrained
from hw2.sentiment.tokens import pad, tokenize
from recorded import Checkpoint, checkpoint
from small_sentiment import sample

pytestmark = pytest.mark.usefixtures("one_thread")

Ids = list[list[int]]


@pytest.fixture(scope="module")
def bert() -> BertModel:
    """The first two layers of the pretrained encoder."""
    bert, _ = pretrained(data.minilm_folder())
    bert.encoder.layer = bert.encoder.layer[:2]
    return bert


@pytest.fixture(scope="module")
def ids() -> Ids:
    _, tokenizer = pretrained(data.minilm_folder())
    return tokenize(tokenizer, sample()[0][:6], 32)


def encoded(
    bert: BertModel, ids: Ids, root: Path, run: Path | None = None, size: int = 2
) -> States:
    """By a run whose checkpoints are in a folder, if it keeps any."""
    return encode(bert, ids, "test", Checkpoint(run), size, root)


def test_the_encoder_is_frozen_and_without_dropout() -> None:
    bert, _ = pretrained(data.minilm_folder())
    assert not bert.training
    assert not any(weight.requires_grad for weight in bert.parameters())


def test_encode_keeps_order_and_length(
    bert: BertModel, ids: Ids, tmp_path: Path
) -> None:
    states = encoded(bert, ids, tmp_path)
    assert states.seconds > 0 and states.values.dtype == torch.half
    assert states.lengths.tolist() == [len(row) for row in ids]
    padded = states.padded(torch.arange(6))
    assert padded.dtype == torch.float32
    for row, found in zip(ids, padded, strict=True):
        with torch.no_grad():
            (expected,) = bert(input_ids=torch.tensor([row])).last_hidden_state
        # bfloat16 has 8 bits: the states, of size 1 or less, differ by some hundredths
        torch.testing.assert_close(found[: len(row)], expected, rtol=0, atol=0.1)
        assert not found[len(row) :].any()


def test_some_of_the_reviews_are_read(
    bert: BertModel, ids: Ids, tmp_path: Path
) -> None:
    states = encoded(bert, ids, tmp_path)
    reviews = Encoded(states, torch.tensor([1, 0, 1, 0, 1, 0]))
    assert torch.equal(reviews.lengths, states.lengths)
    some = torch.tensor([4, 1])
    values, lengths = reviews.batch(some)
    assert lengths.tolist() == [len(ids[4]), len(ids[1])]
    whole = states.padded(torch.arange(6))[some, : int(lengths.max())]
    assert torch.equal(values, whole)


def test_encoded_reviews_are_not_encoded_again(
    bert: BertModel, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encoded(bert, ids, tmp_path)
    monkeypatch.setattr(encoder, "pad", None)  # without which nothing is encoded
    again = encoded(bert, ids, tmp_path)
    assert torch.equal(first.values, again.values) and first.seconds == again.seconds
    with pytest.raises(TypeError):
        encoded(bert, ids[:4], tmp_path)


def test_what_the_states_depend_on_has_a_file_of_its_own(
    bert: BertModel, ids: Ids, tmp_path: Path
) -> None:
    first = encoded(bert, ids, tmp_path)
    assert encoded(bert, ids, tmp_path).reused
    assert not encoded(bert, ids, tmp_path, size=3).reused
    assert not encoded(bert, ids[::-1], tmp_path).reused
    weight = bert.get_parameter("encoder.layer.1.output.dense.bias")
    weight.add_(1)
    try:
        other = encoded(bert, ids, tmp_path)
    finally:
        weight.sub_(1)
    assert not other.reused and not torch.equal(first.values, other.values)
    assert len(list(tmp_path.iterdir())) == 4


def test_states_of_an_earlier_run_are_told_from_those_of_this(
    bert: BertModel, ids: Ids, tmp_path: Path
) -> None:
    root, one, other = tmp_path / "states", tmp_path / "one", tmp_path / "other"
    assert not encoded(bert, ids, root, one).reused
    # The run that encoded them was stopped afterwards, and goes on.
    assert not encoded(bert, ids, root, one).reused
    assert encoded(bert, ids, root, other).reused
    assert encoded(bert, ids, root, other).reused


def test_changed_states_are_refused(bert: BertModel, ids: Ids, tmp_path: Path) -> None:
    states = encoded(bert, ids, tmp_path)
    states.values[0, 0] += 1  # mapped, so the file changes too
    with pytest.raises(ValueError, match="not as it was written; delete it"):
        encoded(bert, ids, tmp_path)


def test_states_that_are_cut_off_are_refused_and_deleted_ones_made_again(
    bert: BertModel, ids: Ids, tmp_path: Path
) -> None:
    before = encoded(bert, ids, tmp_path).values.clone()
    (path,) = tmp_path.glob("*/states")
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(ValueError, match="not as it was written; delete it"):
        encoded(bert, ids, tmp_path)
    path.unlink()
    again = encoded(bert, ids, tmp_path)
    assert torch.equal(again.values, before) and not again.reused


def test_interrupted_encoding_goes_on(
    bert: BertModel, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    whole = encoded(bert, ids, tmp_path / "whole")
    steps, run = [], tmp_path / "run"

    def stopped(bar: Any) -> None:
        training.advance(bar)
        steps.append(bar.n)
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "advance", stopped)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            encoded(bert, ids, tmp_path / "parts", run)
    assert steps == [1, 2, 3]
    parts = encoded(bert, ids, tmp_path / "parts", run)
    assert torch.equal(parts.values, whole.values)
    assert not parts.reused
    assert encoded(bert, ids, tmp_path / "parts", tmp_path / "later").reused


def test_the_time_before_an_interruption_counts(
    bert: BertModel, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)

    def slow(rows: Ids) -> Any:
        time.sleep(0.05)
        return pad(rows)

    def stopped(bar: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "pad", slow)
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "advance", stopped)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                encoded(bert, ids, tmp_path)
    assert encoded(bert, ids, tmp_path).seconds >= 3 * 0.05


def test_how_much_space_is_needed_is_said_before(
    bert: BertModel, ids: Ids, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoded(bert, ids, tmp_path)
    tokens = sum(len(row) for row in ids)
    said = f"test: {2 * 384 * tokens / 1e9:.2f} GB in {tmp_path}"
    assert said in capsys.readouterr().err.splitlines()[0]
    encoded(bert, ids, tmp_path)
    assert "GB in" not in capsys.readouterr().err
