"""A trained model is loaded from its run, and reads any text."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hw2 import data, sentiment
from hw2.sentiment import Predictor, encoder
from hw2.sentiment.reviews import subsets
from recorded import Run
from small_sentiment import SMALL, halves, sample

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("gru", "cnn", "finetuned")


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_run_predicts_what_it_predicted(
    sentiment_runs: dict[str, Run], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "imdb", halves)
    texts, _ = subsets(SMALL)["test"]
    loaded = sentiment.load(sentiment_runs[name])
    assert not loaded.model.training
    found = torch.tensor(loaded.predict_proba(texts))
    # the run's states were in half precision
    expected = sentiment_runs[name].predictions["logits"][0].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_sixteen_bits_give_about_the_same(
    sentiment_runs: dict[str, Run], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, _ = sample()
    loaded = sentiment.load(sentiment_runs[name])
    found = []
    for fast in (False, True):
        monkeypatch.setattr(encoder, "fast_bfloat16", lambda fast=fast: fast)
        found.append(loaded.predict_proba(texts))
    assert found[1] == pytest.approx(found[0], abs=0.05)
    assert (found[1] != found[0]).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_without_a_weight_is_not_loaded(
    sentiment_runs: dict[str, Run], name: str
) -> None:
    weights = dict(sentiment_runs[name].weights)
    weights.popitem()
    with pytest.raises(ValueError, match=r"has the weights .*, expected"):
        sentiment.load(replace(sentiment_runs[name], weights=weights))


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(ValueError, match="record is 'frozen', expected one of"):
        sentiment.load("frozen")


# Any text

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
    # In bfloat16 a matrix may be multiplied in another order.
    assert found == pytest.approx(alone, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=3))
def test_arbitrary_text(predictor: Predictor, texts: list[str]) -> None:
    found = predictor.predict_proba(texts)
    assert found.shape == (len(texts),)
    assert ((found > 0) & (found < 1)).all()


def test_many_texts_keep_their_order(predictor: Predictor) -> None:
    """In more batches than one, whatever their lengths."""
    texts, _ = sample()
    found = predictor.predict_proba(texts)
    back = predictor.predict_proba(texts[::-1])[::-1]
    assert found == pytest.approx(back, abs=0.01)
    assert found.std() > 0.01


# Any container

TEXTS = ["Good.", "A dull film.", "It is not bad, but far too long."]
CONTAINERS: dict[str, Callable[[list[str]], Any]] = {
    "tuple": tuple,
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "keys": lambda texts: dict.fromkeys(texts).keys(),
    "deque": deque,
    "numpy": np.array,
    "numpy of objects": lambda texts: np.array(texts, dtype=object),
    "pandas": pd.Series,
    "pandas, another index": lambda texts: pd.Series(texts, index=[7, 5, 3]),
    "pandas' index": pd.Index,
    "column of a data set": lambda texts: Dataset.from_dict({"text": texts})["text"],
    "arrow": pa.array,
    "arrow in chunks": lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_texts_may_be_in_any_container(predictor: Predictor, kind: str) -> None:
    found = predictor.predict_proba(CONTAINERS[kind](TEXTS))
    assert np.array_equal(found, predictor.predict_proba(TEXTS))


@pytest.mark.parametrize("make", [list, iter, pd.Series, np.array, pa.array])
def test_no_text_has_no_probability(
    predictor: Predictor, make: Callable[[list[str]], Any]
) -> None:
    assert predictor.predict_proba(make([])).shape == (0,)


FRAME = pd.DataFrame({"text": TEXTS})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("Avengers was great!!", "texts is a str, 'Avengers was great!!', expected"),
        ("", "texts is a str, '', expected a list of strings"),
        (b"bytes", "texts is a bytes, b'bytes', expected a list"),
        ({"a": "good"}, "texts is a dict, {'a': 'good'}, expected a list"),
        (FRAME, "texts is a DataFrame,"),
        (np.array([TEXTS]), "texts is a ndarray,"),
        (np.array("one"), "texts is a ndarray,"),
        (None, "texts is a NoneType, None, expected a list"),
        (3, "texts is a int, 3, expected a list of strings"),
        (["fine", None], "texts[1] is None, expected a string"),
        ([b"bytes"], "texts[0] is b'bytes', expected a string"),
        ([["nested"]], "texts[0] is ['nested'], expected a string"),
        (iter(["fine", 3]), "texts[1] is 3, expected a string"),
        (pd.Series(["fine", None]), "texts[1] is nan, expected a string"),
        (pd.Series(["fine", None], dtype=object), "texts[1] is None, expected"),
        (pa.array(["fine", None]), "texts[1] is None, expected a string"),
        (np.array([1.5]), "texts[0] is "),
        (torch.tensor([1]), "texts[0] is tensor(1), expected a string"),
        (Dataset.from_dict({"text": TEXTS}), "texts[0] is {'text': 'Good.'}, expected"),
        (pa.table({"text": TEXTS}), "texts is a Table,"),
    ],
)
def test_what_is_not_text_is_refused(
    predictor: Predictor, texts: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        predictor.predict_proba(texts)
