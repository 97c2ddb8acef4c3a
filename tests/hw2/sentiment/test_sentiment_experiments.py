"""The runs of problem 5: whole, on the sample, and as they are recorded."""

import pytest
import torch

from hw2 import data, sentiment
from hw2.sentiment.experiments import confident_errors
from hw2.sentiment.reviews import subsets
from hw2.sentiment.training import binary_accuracy
from recorded import Run, run
from small_sentiment import OTHERS, SMALL

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_run_is_whole(sentiment_runs: dict[str, Run]) -> None:
    for name, config in ({"gru": SMALL} | OTHERS).items():
        made = sentiment_runs[name]
        for seed in range(config.seeds):
            assert len(made.metrics[f"seed-{seed}"]["history"]) == config.epochs
        logits, labels = made.predictions["logits"], made.predictions["labels"]
        assert logits.shape == (config.seeds, 24)
        accuracy = binary_accuracy(logits, labels)
        assert made.scores["accuracy"].value == pytest.approx(accuracy)
        assert all(weight.dtype == torch.half for weight in made.weights.values())
        for part, size in (("train", 16), ("valid", 8), ("test", 24)):
            of = made.metrics["reviews"][part]
            assert (of["count"], of["positive"]) == (size, size // 2)
            assert of["cut"] == 0 and of["seconds"] > 0


def test_confident_errors_are_the_worst_of_either_kind() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1])
    logits = torch.tensor([3.0, -9.0, 1.0, -2.0, 5.0])
    found = confident_errors((["a", "b", "c", "d" * 999, "e"], labels), logits)
    assert [(e["label"], e["logit"]) for e in found] == [(0, 3.0), (0, 1.0), (1, -2.0)]
    assert [e["text"] for e in found] == ["a", "c", "d" * 400]


@pytest.mark.parametrize("name", sentiment.RUNS)
def test_the_recorded_model_predicts_what_it_predicted(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By its name, on reviews of IMDB where it is at hand."""
    monkeypatch.setenv("HW2_TRAIN", "never")
    config = sentiment.RUNS[name]
    given = run(name, sentiment.experiment, config).predictions
    try:
        texts, labels = subsets(config)["test"]
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert torch.equal(labels, given["labels"])
    some = slice(12_480, 12_520)  # of both kinds
    found = torch.tensor(sentiment.load(name).predict_proba(texts[some]))
    # the run's states were in half precision, and its matrices in bfloat16
    expected = given["logits"][0, some].sigmoid()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
