"""Runs are made once, kept whole or not at all, and never served stale."""

import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from hw2 import records, training, vit
from hw2.records import Metrics, Tensors, key, run


@dataclass(frozen=True)
class Config:
    size: int = 3
    seed: int = 0


made: list[Config] = []


def count_up(config: Config) -> tuple[Metrics, Tensors]:
    made.append(config)
    # A transposed view is not contiguous.
    values = torch.arange(2.0 * config.size).view(2, -1).T
    return {"size": config.size, "epochs": [{"loss": 0.5}]}, {"values": values}


def other(config: Config) -> tuple[Metrics, Tensors]:
    return {}, {"values": torch.zeros(1)}


def fail(config: Config) -> tuple[Metrics, Tensors]:
    raise RuntimeError("half way")


def unwritable(config: Config) -> tuple[Metrics, Tensors]:
    return {"bad": object()}, {"values": torch.zeros(1)}


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made.clear()
    monkeypatch.setattr(records, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


def test_a_run_is_made_once() -> None:
    first, second = run("a", count_up, Config()), run("a", count_up, Config())
    assert made == [Config()]
    assert first.metrics == second.metrics == {"size": 3, "epochs": [{"loss": 0.5}]}
    assert first.config == {"size": 3, "seed": 0}
    assert (first.date, first.seconds) == (second.date, second.seconds)
    expected = torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
    assert torch.equal(first.tensors["values"], expected)
    assert torch.equal(second.tensors["values"], expected)


def test_a_changed_configuration_is_another_run() -> None:
    run("a", count_up, Config())
    assert run("a", count_up, Config(size=4)).metrics["size"] == 4
    run("a", count_up, Config(seed=1))
    assert made == [Config(), Config(size=4), Config(seed=1)]


def test_the_key_depends_on_function_code_and_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = key(count_up, Config())
    assert key(count_up, Config()) == before
    assert key(other, Config()) != before
    assert key(count_up, Config(size=4)) != before

    real = inspect.getsource
    vit_before = key(vit.experiment, vit.Config())
    changed = {training: real(training) + "\nCHANGED = 1\n"}
    monkeypatch.setattr(inspect, "getsource", lambda x: changed.get(x) or real(x))
    assert key(vit.experiment, vit.Config()) != vit_before  # a module that it uses
    assert key(count_up, Config()) == before  # which does not use it
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert key(count_up, Config()) != before


@pytest.mark.parametrize(
    "function, error", [(fail, RuntimeError), (unwritable, TypeError)]
)
def test_a_failed_run_leaves_nothing(
    runs: Path, function: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run("a", function, Config())  # type: ignore[arg-type]
    assert not runs.exists() or list(runs.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "save_file", full)
        with pytest.raises(OSError, match="no space"):
            run("a", count_up, Config())
    assert list(runs.iterdir()) == []
    run("a", count_up, Config())
    assert len(made) == 2


def test_the_note_says_what_ran() -> None:
    done = run("a", count_up, Config(seed=5))
    text = done.note().data
    for part in ("`a`", done.date, done.hardware, "seed 5"):
        assert part in text
    assert "\n" not in text
