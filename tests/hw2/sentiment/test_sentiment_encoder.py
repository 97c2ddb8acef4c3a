"""Tokens, batches, and states that are encoded once and kept on the disk."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hw2 import training
from hw2.sentiment import Predictor, encoder
from hw2.sentiment.encoder import States
from recorded import Checkpoint, checkpoint
from small_sentiment import sample

pytestmark = pytest.mark.usefixtures("one_thread")


def encoded(predictor: Predictor, ids: list[list[int]], place: Path) -> States:
    return encoder.encode(predictor.model.encoder, ids, "test", Checkpoint(), 2, place)


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
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
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
