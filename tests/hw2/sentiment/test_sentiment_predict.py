"""A trained model is loaded from its run, and reads any text."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw2 import data, sentiment
from hw2.sentiment import Predictor
from hw2.sentiment.reviews import subsets
from recorded import Run
from small_sentiment import SMALL, halves, sample

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_a_loaded_run_predicts_what_it_predicted(
    sentiment_runs: dict[str, Run], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    texts, _ = subsets(SMALL)["test"]
    found = torch.tensor(sentiment.load(sentiment_runs[name]).predict_proba(texts))
    # the run's states were in half precision
    expected = sentiment_runs[name].predictions["logits"][0].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_a_loaded_run_works_in_sixteen_bits(
    sentiment_runs: dict[str, Run], name: str
) -> None:
    texts, _ = sample()
    loaded = sentiment.load(sentiment_runs[name])
    expected = loaded.predict_proba(texts[:6])
    with torch.autocast("cpu", torch.bfloat16):
        found = loaded.predict_proba(texts[:6])
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["gru", "cnn", "upper"])
def test_a_run_without_a_weight_is_not_loaded(
    sentiment_runs: dict[str, Run], name: str
) -> None:
    weights = dict(sentiment_runs[name].weights)
    weights.popitem()
    with pytest.raises(ValueError, match=r"has the weights .*, expected"):
        sentiment.load(dataclasses.replace(sentiment_runs[name], weights=weights))


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
