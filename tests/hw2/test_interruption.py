"""A tiny run of each training of the report, stopped, killed, and made again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hw2
from conftest import ROOT, visible
from hw2 import commands, data, sentiment, training, vit
from hw2.sentiment.encoder import Encoded
from hw2.sentiment.experiments import search
from hw2.sentiment.tokens import pad
from hw2.study import Study
from hw2.vit.training import Images
from recorded import Experiment, Run, checkpoint, make, read
from small_sentiment import halves

VIT = vit.Config(
    layers=1,
    width=8,
    mlp=16,
    epochs=2,
    batch=64,
    shift=1,
    drop=0.4,
    held_out=100,
    seeds=2,
)
SENTIMENT = sentiment.Config(
    train_size=16, valid_size=8, test_size=24, batch=4, hidden=16, max_tokens=16
)
FINETUNED = replace(
    SENTIMENT,
    layer=2,
    rank=2,
    frozen=1,
    head="cnn",
    warm_up=0.2,
    decay=True,
    agreement=1.0,
    averaging=0.5,
)
SEARCH = Study(
    replace(FINETUNED, epochs=1),
    {"nothing": {}, "frozen, GRU": {"rank": 0, "head": "gru", "agreement": 0.0}},
    seeds=1,
)
TINY: list[tuple[Experiment, Any]] = [
    (vit.experiment, VIT),
    (sentiment.experiment, SENTIMENT),
    (sentiment.experiment, FINETUNED),
    (search, SEARCH),
]
# Where a step is told to its bar.
MODULES: list[Any] = [training, sentiment.encoder]
TESTS = ROOT / "tests"


def few_images(split: str) -> Images:
    seed = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (500, 1, 28, 28), generator=seed, dtype=torch.uint8)
    return images, torch.randint(10, (500,), generator=seed)


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few data in the place of the real ones, and a checkpoint at every step."""
    monkeypatch.setattr(hw2, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(data, "fashion_mnist", few_images)
    monkeypatch.setattr(data, "imdb", halves)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)


def assert_same(one: Run, other: Run) -> None:
    """To the last bit."""
    assert one.predictions
    for here, there in (
        (one.weights, other.weights),
        (one.predictions, other.predictions),
    ):
        assert here.keys() == there.keys()
        for name, tensor in here.items():
            assert torch.equal(tensor, there[name]) or name.endswith("seconds"), name

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if not k.endswith("seconds")}
            return {k: without_times(v) for k, v in kept.items()}
        return [without_times(v) for v in value] if isinstance(value, list) else value

    assert without_times(one.metrics) == without_times(other.metrics)


@pytest.mark.fault(
    "process",
    provoked="A training is stopped by Ctrl-C after every step, or every third.",
    result="The same command goes on, and gives the same weights and predictions.",
    kept="The last checkpoint.",
)
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("experiment, config", TINY)
@pytest.mark.parametrize("every", [1, 3])
def test_an_interrupted_training_gives_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    experiment: Experiment,
    config: Any,
    every: int,
) -> None:
    """Ctrl-C after every step, or every third."""
    # Beside the records go the encoded reviews, which are not to be shared here.
    monkeypatch.setattr(hw2, "RECORDS", tmp_path / ".other")
    whole = make(tmp_path / "whole", experiment, config)
    monkeypatch.setattr(hw2, "RECORDS", tmp_path)
    advance, steps = training.advance, []

    def interrupted(bar: Any, **shown: float) -> None:
        advance(bar, **shown)
        steps.append(bar.n)
        if len(steps) % every == 0:
            raise KeyboardInterrupt

    for module in MODULES:
        monkeypatch.setattr(module, "advance", interrupted)
    stops = 0
    while not (tmp_path / "parts").exists():
        try:
            make(tmp_path / "parts", experiment, config)
        except KeyboardInterrupt:
            stops += 1
        assert stops < 100
    assert stops > 5 // every
    # Nothing is done twice: a checkpoint follows every step.
    assert len(steps) == stops * every + len(steps) % every
    assert_same(whole, read(tmp_path / "parts"))
    assert visible(tmp_path) == ["parts", "whole"]


KILLED = """
import os, signal, sys
from pathlib import Path

sys.path.append(sys.argv[5])
import hw2
from hw2 import data
from recorded import checkpoint, make
from small_sentiment import halves
from test_interruption import MODULES, TINY, few_images

hw2.RECORDS = Path(sys.argv[2]).parent
data.fashion_mnist, data.imdb = few_images, halves
checkpoint.INTERVAL = 0.0
which = int(sys.argv[1])

def advance(bar, **_):
    bar.update()
    if [bar.desc, bar.n] == [sys.argv[3], int(sys.argv[4])]:
        os.kill(os.getpid(), signal.SIGKILL)

for module in MODULES:
    module.advance = advance
make(Path(sys.argv[2]), *TINY[which])
"""


@pytest.mark.usefixtures("few")
def test_the_time_before_an_interruption_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the times that the records report, after a stop at every step."""
    monkeypatch.setattr(hw2, "RECORDS", tmp_path)

    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*given: Any) -> Any:
            time.sleep(0.05)
            return function(*given)

        return slow

    def stopped(bar: Any, **_: float) -> None:
        bar.update()
        raise KeyboardInterrupt

    monkeypatch.setattr(Encoded, "batch", slowly(Encoded.batch))
    monkeypatch.setattr(sentiment.encoder, "pad", slowly(pad))
    monkeypatch.setattr(vit.training, "to_unit", slowly(vit.to_unit))
    for module in MODULES:
        monkeypatch.setattr(module, "advance", stopped)
    for which, (experiment, config) in enumerate(TINY[:2]):
        place = tmp_path / str(which)
        while not place.exists():
            with suppress(KeyboardInterrupt):
                make(place, experiment, config)
        made = read(place)
        history = made.predictions
        steps = history["losses"].shape[1] // config.epochs
        for epoch in range(config.epochs):
            assert (history["seconds"][:, epoch] > 0.05 * steps * (epoch + 1)).all()
        if "valid_seconds" in history:
            assert (history["valid_seconds"] > 0.05).all()
        if config is SENTIMENT:
            # The test reviews are encoded in two batches, the others in one.
            for part, batches in (("train", 1), ("valid", 1), ("test", 2)):
                assert made.metrics["reviews"][part]["seconds"] > 0.05 * batches


@pytest.mark.fault(
    "process",
    provoked="A training is killed in the middle of an epoch.",
    result="The same command goes on, and gives the same weights and predictions.",
    kept="The last checkpoint.",
)
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "which, stage, step, before",
    [
        (0, "seed-1", 5, {"seed-0"}),
        (1, "test", 1, {"train", "valid"}),
        (2, "seed-0", 5, set()),
        (3, "change-1-0", 2, {"change-0-0", "train", "valid"}),
    ],
)
def test_a_killed_training_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    stage: str,
    step: int,
    before: set[str],
) -> None:
    """kill -9 in the middle of a training loses at most the interval, here one step."""
    place = tmp_path / "killed"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(which), place, stage, str(step), TESTS],
        cwd=TESTS / "hw2",
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.DEVNULL,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not place.exists()

    monkeypatch.setattr(hw2, "RECORDS", tmp_path)
    advance = training.advance
    first: dict[str, int] = {}

    def look(bar: Any, **shown: float) -> None:
        advance(bar, **shown)
        first.setdefault(bar.desc, bar.n)

    for module in MODULES:
        monkeypatch.setattr(module, "advance", look)
    resumed = make(place, *TINY[which])
    assert first[stage] == step + 1
    # What was done before is not done again.
    assert not before & first.keys()
    monkeypatch.setattr(hw2, "RECORDS", tmp_path / ".other")
    assert_same(make(tmp_path / "whole", *TINY[which]), resumed)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("experiment, config", TINY)
def test_a_record_is_reproduced_to_the_bit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    experiment: Experiment,
    config: Any,
) -> None:
    first = make(tmp_path / "first", experiment, config)
    # Without what the first run encoded.
    monkeypatch.setattr(hw2, "RECORDS", tmp_path / ".other")
    second = make(tmp_path / "second", experiment, config)
    assert_same(first, second)
    assert [row[-1] for row in commands.compare(first, second)] == (
        ["identical"] * len(first.scores)
    )


@pytest.mark.parametrize("experiment, config", TINY)
def test_the_bar_shows_loss_accuracy_and_the_time_left(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    few: None,
    experiment: Experiment,
    config: Any,
) -> None:
    make(tmp_path / "a", experiment, config)
    last = capfd.readouterr().err.splitlines()[-1].split("\r")[-1]
    for part in ("100%", "loss=", "%]", "<00:00"):
        assert part in last, last
