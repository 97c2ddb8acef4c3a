"""Records are whole or not at all, never stale, never edited; what stops goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from conftest import ROOT
from hw2 import __main__ as commands
from hw2 import data, encoder, records, sentiment, training, vit
from hw2.records import (
    Checkpoint,
    Experiment,
    Outcome,
    Run,
    Score,
    Scores,
    StaleRecord,
    TamperedRecord,
    Tensors,
    run,
    scored_by,
)
from test_sentiment import halves


@dataclass(frozen=True)
class Config:
    size: int = 3
    seed: int = 0


made: list[Config] = []
machine = {"off": 0.0}  # what another machine adds to each number


def score(predictions: Tensors) -> Scores:
    return {"sum": Score(predictions["values"].sum().item(), 0.5)}


@scored_by(score)
def count_up(config: Config, checkpoint: Checkpoint) -> Outcome:
    made.append(config)
    # A transposed view is not contiguous.
    values = torch.arange(2.0 * config.size).view(2, -1).T + machine["off"]
    weights = {"w": torch.ones(2, dtype=torch.half)}
    return Outcome({"epochs": [{"loss": 0.5}]}, {"values": values}, weights)


@scored_by(score)
def without_weights(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({}, {"values": torch.ones(1)}, {})


@scored_by(score)
def fail(config: Config, checkpoint: Checkpoint) -> Outcome:
    raise RuntimeError("half way")


@scored_by(score)
def unwritable(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({"bad": object()}, {"values": torch.ones(1)}, {})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made.clear()
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    monkeypatch.delenv("HW2_TRAIN", raising=False)
    return tmp_path / "records"


def visible(folder: Path) -> list[str]:
    """The records in a folder, and what is left of unfinished runs."""
    found = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    return sorted(found + [p.name for p in folder.glob(".unfinished/*")])


# One call


def test_a_run_is_made_once(folder: Path) -> None:
    first, second = run("a", count_up, Config()), run("a", count_up, Config())
    assert made == [Config()]
    for got in (first, second):
        assert got.name == "a"
        assert got.config == {"size": 3, "seed": 0}
        assert got.metrics == {"epochs": [{"loss": 0.5}]}
        assert got.scores == {"sum": (15.0, 0.5)}
        expected = torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
        assert torch.equal(got.predictions["values"], expected)
        assert torch.equal(got.weights["w"], torch.ones(2, dtype=torch.half))
    assert (first.date, first.seconds) == (second.date, second.seconds)
    assert visible(folder) == ["a"]


def test_a_record_is_checked_by_sha256sum_too(folder: Path) -> None:
    run("a", count_up, Config())
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder / "a", capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 3


def test_a_run_without_weights_has_no_file_of_them(folder: Path) -> None:
    assert run("a", without_weights, Config()).weights == {}
    assert not (folder / "a" / "weights.safetensors").exists()


def test_a_changed_option_is_caught(
    capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    run("a", count_up, Config())
    assert run("a", count_up, Config(size=4)).scores["sum"].value == 28
    assert made == [Config(), Config(size=4)]
    assert "option size: 3 recorded, 4 now" in capfd.readouterr().err
    assert visible(folder) == ["a"]


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a b", "-a", "a_b"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name is"):
        run(name, count_up, Config())


def test_the_note_says_what_ran() -> None:
    got = run("a", count_up, Config(seed=5))
    text = got.note().data
    for expected in ("`a`", got.date, got.hardware, "seed 5", "@tbl-records"):
        assert expected in text
    assert "\n" not in text


# Never without being asked


def test_where_nothing_is_trained_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    with pytest.raises(StaleRecord, match=r"it is not recorded.*make record RUN=a"):
        run("a", count_up, Config())
    monkeypatch.delenv("HW2_TRAIN")
    run("a", count_up, Config())
    monkeypatch.setenv("HW2_TRAIN", "never")
    run("a", count_up, Config())
    with pytest.raises(StaleRecord, match="option size: 3 recorded, 4 now"):
        run("a", count_up, Config(size=4))
    with pytest.raises(StaleRecord, match="count_up recorded, without_weights now"):
        run("a", without_weights, Config())
    assert made == [Config()]


def test_another_value_of_the_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "no")
    with pytest.raises(ValueError, match="HW2_TRAIN is 'no', expected"):
        run("a", count_up, Config())


def test_code_that_was_edited_after_import_is_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "edited_since_import", lambda *_: ["hw2.vit"])
    with pytest.raises(RuntimeError, match=r"hw2\.vit changed on disk"):
        run("a", count_up, Config())
    assert made == []


# Whole or not at all


@pytest.mark.parametrize(
    "experiment, error", [(fail, RuntimeError), (unwritable, TypeError)]
)
def test_a_failed_run_leaves_no_record(
    folder: Path, experiment: Experiment, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run("a", experiment, Config())
    assert not (folder / "a").exists()


@pytest.mark.parametrize("step", ["write_bytes", "rename"])
def test_an_interrupted_write_leaves_the_old_record_or_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    run("a", count_up, Config())
    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full)
        with pytest.raises(OSError, match="no space"):
            run("a", count_up, Config(size=4))
        with pytest.raises(OSError, match="no space"):
            run("b", count_up, Config())
    assert not (folder / "b").exists()
    assert run("a", count_up, Config()).scores["sum"].value == 15
    assert run("a", count_up, Config(size=4)).scores["sum"].value == 28
    run("b", count_up, Config())
    assert visible(folder) == ["a", "b"]


def test_two_at_once_make_a_run_once(folder: Path) -> None:
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(folder / ".a.lock"):
            waiting = pool.submit(run, "a", count_up, Config())
            time.sleep(1)
            assert not waiting.done() and made == []
            records.make(folder / "a", count_up, Config())
        assert waiting.result().scores["sum"].value == 15
    assert made == [Config()]


# Tampered records


def rewrite(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of a record, and its line in SHA256SUMS."""
    content = (folder / name).read_bytes()
    changed = change(content)
    assert changed != content
    (folder / name).write_bytes(changed)
    sums = (folder / "SHA256SUMS").read_text()
    old, new = records._sha256(content), records._sha256(changed)
    (folder / "SHA256SUMS").write_text(sums.replace(old, new))


def test_an_edited_file_is_refused(folder: Path) -> None:
    run("a", count_up, Config())
    for path in sorted((folder / "a").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"0", b"1", 1) + b" ")
        with pytest.raises(TamperedRecord, match="is not as it was recorded"):
            run("a", count_up, Config())
        path.unlink()
        with pytest.raises(TamperedRecord, match="SHA256SUMS"):
            run("a", count_up, Config())
        path.write_bytes(content)
    run("a", count_up, Config())
    (folder / "a" / "notes.txt").write_text("more")
    with pytest.raises(TamperedRecord, match=r"notes\.txt"):
        run("a", count_up, Config())
    assert len(made) == 1


def test_swapped_weights_are_refused(folder: Path) -> None:
    run("a", count_up, Config())
    run("b", count_up, Config(seed=1))
    other = records._packed({"w": torch.zeros(2, dtype=torch.half)})
    (folder / "a" / "weights.safetensors").write_bytes(other)
    with pytest.raises(TamperedRecord, match=r"weights\.safetensors has another"):
        run("a", count_up, Config())


@pytest.mark.parametrize(
    "name, change, why",
    [
        (
            "run.json",
            lambda c: c.replace(b"15.0", b"16.0"),
            r"sum is .*16\.0.*15\.0",
        ),
        (
            "run.json",
            lambda c: c.replace(b'"sum"', b'"mean"'),
            "scores are",
        ),
        ("run.json", lambda c: c.replace(b'"size": 3', b'"size": 4'), "the key is not"),
        (
            "predictions.safetensors",
            lambda _: records._packed({"values": torch.ones(6)}),
            r"sum is .*15\.0.*6\.0",
        ),
        (
            "predictions.safetensors",
            lambda _: records._packed({"values": torch.zeros(0, 3)}),
            r"sum is .*15\.0.*0\.0",
        ),
        ("predictions.safetensors", lambda c: c[:20], "it can't be read"),
        ("run.json", lambda c: c.replace(b'"date"', b'"day"'), "it can't be read"),
        ("run.json", lambda c: c.replace(b'"key"', b'"kay"'), "it can't be read"),
        ("run.json", lambda c: c.replace(b": 0.5\n", b": 9.5\n"), "tolerance=9.5"),
    ],
)
def test_edits_with_a_corrected_checksum_are_refused(
    folder: Path, name: str, change: Callable[[bytes], bytes], why: str
) -> None:
    run("a", count_up, Config())
    rewrite(folder / "a", name, change)
    with pytest.raises(TamperedRecord, match=why):
        run("a", count_up, Config())


@scored_by(lambda predictions: {"mean": Score(predictions["other"].mean().item(), 1)})
def scored_otherwise(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({}, {"other": torch.ones(2)}, {})


def test_another_score_is_another_run_and_no_forgery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("a", count_up, Config())
    with monkeypatch.context() as patch:
        patch.setenv("HW2_TRAIN", "never")
        with pytest.raises(StaleRecord, match="count_up recorded, scored_"):
            run("a", scored_otherwise, Config())
    assert run("a", scored_otherwise, Config()).scores["mean"].value == 1


@scored_by(lambda predictions: {"x": Score(float("nan"), 1)})
def without_number(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({}, {"x": torch.ones(1)}, {})


def test_a_score_has_to_be_a_number(folder: Path) -> None:
    with pytest.raises(ValueError, match="score x is nan, expected a finite number"):
        run("a", without_number, Config())
    assert not (folder / "a").exists()


# Checkpoints


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c")
    assert checkpoint.load("a") is None
    state = {"step": 3, "rows": [(0.5, 1.0)], "w": {"x": [torch.arange(3)]}, "s": "t"}
    checkpoint.save("a", state)
    time.sleep(0.05)
    checkpoint.save("b", {})
    again = Checkpoint(tmp_path / "c")
    got = again.load("a")
    assert got and repr(got) == repr(state)
    assert again.seconds >= 0.05  # the time before the interruption counts
    assert again.load("b") == {} and again.load("c") is None


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"state": Path("x"), "spent": 0.0}, tmp_path / "a.pt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        Checkpoint(tmp_path)


def test_half_a_checkpoint_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails while the second one is written."""
    Checkpoint(tmp_path).save("a", {"step": 1})

    def half(content: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            Checkpoint(tmp_path).save("a", {"step": 2})
    assert Checkpoint(tmp_path).load("a") == {"step": 1}


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=r"a\.pt can't be read .*; delete it"):
        Checkpoint(tmp_path)


def test_the_hardware_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert records._hardware().startswith("3 cores of ")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert records._hardware().startswith("6 cores of ")


@pytest.mark.parametrize("what", ["_hardware", "_versions"])
def test_a_checkpoint_of_another_machine_is_not_gone_on_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    @scored_by(score)
    def stops(config: Config, checkpoint: Checkpoint) -> Outcome:
        found.append(checkpoint.load("a"))
        checkpoint.save("a", {"step": 1})
        raise KeyboardInterrupt

    found: list[Any] = []
    stops.__qualname__ = "count_up"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run("a", stops, Config())
    with monkeypatch.context() as patch:
        patch.setattr(records, what, lambda: "another")
        with pytest.raises(KeyboardInterrupt):
            run("a", stops, Config())
    assert found == [None, {"step": 1}, None]


def test_a_checkpoint_is_due_after_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    checkpoint = Checkpoint(tmp_path)
    for _ in range(2):
        now[0] += records.INTERVAL - 1
        assert not checkpoint.due()
        now[0] += 1
        assert checkpoint.due()
        checkpoint.save("a", {})


# A tiny run of each training of the report, on the real modules

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
TINY = [(vit.experiment, VIT), (sentiment.experiment, SENTIMENT)]


def few_images(split: str) -> training.Images:
    seed = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (500, 1, 28, 28), generator=seed, dtype=torch.uint8)
    return images, torch.randint(10, (500,), generator=seed)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few data in the place of the real ones, and a checkpoint at every step."""
    monkeypatch.setattr(data, "fashion_mnist", few_images)
    monkeypatch.setattr(data, "imdb", halves)
    monkeypatch.setattr(records, "INTERVAL", 0.0)


def assert_same(one: Run, other: Run) -> None:
    """To the last bit."""
    for here, there in (
        (one.weights, other.weights),
        (one.predictions, other.predictions),
    ):
        assert here.keys() == there.keys() and here
        for name, tensor in here.items():
            assert torch.equal(tensor, there[name]), name

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if not k.endswith("seconds")}
            return {k: without_times(v) for k, v in kept.items()}
        return [without_times(v) for v in value] if isinstance(value, list) else value

    assert without_times(one.metrics) == without_times(other.metrics)


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
    monkeypatch.setattr(records, "RECORDS", tmp_path / ".other")
    whole = records.make(tmp_path / "whole", experiment, config)
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    modules: list[Any] = [training] if config is VIT else [encoder, sentiment]
    advance, steps = training.advance, []

    def interrupted(bar: Any, **shown: float) -> None:
        advance(bar, **shown)
        steps.append(bar.n)
        if len(steps) % every == 0:
            raise KeyboardInterrupt

    for module in modules:
        monkeypatch.setattr(module, "advance", interrupted)
    stops = 0
    while not (tmp_path / "parts").exists():
        try:
            records.make(tmp_path / "parts", experiment, config)
        except KeyboardInterrupt:
            stops += 1
        assert stops < 100
    assert stops > 5 // every
    # Nothing is done twice: a checkpoint follows every step.
    assert len(steps) == stops * every + len(steps) % every
    assert_same(whole, records.read(tmp_path / "parts"))
    assert visible(tmp_path) == ["parts", "whole"]


KILLED = """
import os, signal, sys
from pathlib import Path

import test_records
from hw2 import data, encoder, records, sentiment, training

records.RECORDS = Path(sys.argv[2]).parent
data.fashion_mnist, data.imdb = test_records.few_images, test_records.halves
records.INTERVAL = 0.0
which = int(sys.argv[1])

def advance(bar, **_):
    bar.update()
    if [bar.desc, bar.n] == [sys.argv[3], int(sys.argv[4])]:
        os.kill(os.getpid(), signal.SIGKILL)

for module in (training, encoder, sentiment):
    module.advance = advance
records.make(Path(sys.argv[2]), *test_records.TINY[which])
"""


@pytest.mark.usefixtures("few")
def test_the_time_before_an_interruption_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the times that the metrics report, after a stop at every step."""
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    batch, to_unit = sentiment.Encoded.batch, training.to_unit

    def slow(reviews: sentiment.Encoded, part: torch.Tensor) -> Any:
        time.sleep(0.05)
        return batch(reviews, part)

    def slow_images(images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return to_unit(images)

    def stopped(bar: Any, **_: float) -> None:
        bar.update()
        raise KeyboardInterrupt

    monkeypatch.setattr(sentiment.Encoded, "batch", slow)
    monkeypatch.setattr(training, "to_unit", slow_images)
    for module in (training, encoder, sentiment):
        monkeypatch.setattr(module, "advance", stopped)
    got = []
    for which, (experiment, config) in enumerate(TINY):
        place = tmp_path / str(which)
        while not place.exists():
            with suppress(KeyboardInterrupt):
                records.make(place, experiment, config)
        got.append(records.read(place).metrics)
    length = len(got[0]["seed-1"]["losses"]) // VIT.epochs
    for epoch in got[0]["seed-1"]["held_out"]:
        assert epoch["seconds"] > 0.05 * length * epoch["epochs"]
    for epoch in got[1]["seed-0"]["history"]:
        assert epoch["seconds"] > epoch["train_seconds"]
        assert epoch["train_seconds"] > 0.05 * len(epoch["batch_losses"])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("which, stage, step", [(0, "seed-1", 5), (1, "train", 2)])
def test_a_killed_training_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    stage: str,
    step: int,
) -> None:
    """kill -9 in the middle of a training loses at most the interval, here one step."""
    place = tmp_path / "killed"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(which), place, stage, str(step)],
        cwd=ROOT / "tests",
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.DEVNULL,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not place.exists()

    monkeypatch.setattr(records, "RECORDS", tmp_path)
    advance = training.advance
    first: dict[str, int] = {}

    def look(bar: Any, **shown: float) -> None:
        advance(bar, **shown)
        first.setdefault(bar.desc, bar.n)

    for module in (training, encoder, sentiment):
        monkeypatch.setattr(module, "advance", look)
    resumed = records.make(place, *TINY[which])
    assert first[stage] == step + 1
    assert not {"seed-0", "valid", "test"} & first.keys()
    assert_same(records.make(tmp_path / "whole", *TINY[which]), resumed)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("experiment, config", TINY)
def test_a_record_is_reproduced_to_the_bit(
    tmp_path: Path, experiment: Experiment, config: Any
) -> None:
    first = records.make(tmp_path / "first", experiment, config)
    second = records.make(tmp_path / "second", experiment, config)
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
    records.make(tmp_path / "a", experiment, config)
    last = capfd.readouterr().err.splitlines()[-1].split("\r")[-1]
    for part in ("100%", "loss=", "%]", "<00:00"):
        assert part in last, last


# Commands


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"a": (count_up, Config()), "b": (count_up, Config(size=4))}
    monkeypatch.setattr(commands, "RUNS", runs)


@pytest.mark.usefixtures("known")
def test_record_makes_what_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["record", "b"]) == 0
    assert made == [Config(size=4)]
    assert commands.main(["record"]) == 0
    assert made == [Config(size=4), Config()]
    assert capsys.readouterr().out.count("sum 15.0000") == 1


@pytest.mark.usefixtures("known")
def test_reproduce_compares(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.main(["record"]) == 0
    before = {path: path.read_bytes() for path in folder.glob("[ab]/*")}
    capsys.readouterr()
    states = folder / ".states"  # of an encoder; from scratch is without them
    states.mkdir()
    assert commands.main(["reproduce"]) == 0
    assert not states.exists()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][-4:] == ["reproduced", "difference", "tolerance", "verdict"]
    assert [row[0] for row in rows[1:]] == ["a", "b"]
    assert rows[1][1:] == [
        *("sum", "15.0000", "15.0000", "+0.0000", "0.5000", "identical")
    ]
    assert len(made) == 4
    assert {path: path.read_bytes() for path in folder.glob("[ab]/*")} == before

    for change, verdict, status in ((0.4, "agrees", 0), (0.6, "DIFFERS", 1)):
        monkeypatch.setitem(machine, "off", change / 6)
        assert commands.main(["reproduce", "a"]) == status
        assert capsys.readouterr().out.splitlines()[-1].endswith(verdict)


@pytest.mark.usefixtures("known")
def test_reproduce_needs_records(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("a", count_up, Config())
    run("b", count_up, Config(size=5))  # not the one that is known by this name
    before = {path: path.read_bytes() for path in folder.glob("[ab]/*")}
    made.clear()
    assert commands.main(["reproduce"]) == 1
    error = capsys.readouterr().err
    assert "run b can't be compared" in error and "size: 5 recorded, 4 now" in error
    assert made == []
    assert {path: path.read_bytes() for path in folder.glob("[ab]/*")} == before


@pytest.mark.usefixtures("known")
def test_commands_say_what_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        commands.main(["record", "c"])
    assert "there is no run 'c'; there are a, b" in capsys.readouterr().err
    monkeypatch.setenv("HW2_TRAIN", "never")
    assert commands.main(["record", "a"]) == 1
    assert "error: run a can't be taken" in capsys.readouterr().err
    monkeypatch.delenv("HW2_TRAIN")
    commands.main(["record"])
    about = folder / "a" / "run.json"
    about.write_text(about.read_text().replace("15.0", "16.0"))
    assert commands.main(["record", "a"]) == 1
    assert "error:" in capsys.readouterr().err

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "run", stopped)
    assert commands.main(["record", "a"]) == 130
    assert "stopped; record goes on" in capsys.readouterr().err


# The records of the report


def test_the_records_are_those_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("HW2_TRAIN", "never")
    names = {p.name for p in records.RECORDS.iterdir() if not p.name.startswith(".")}
    assert names == set(commands.RUNS)
    for name, of in commands.RUNS.items():
        got = run(name, *of)
        about = json.loads((records.RECORDS / name / "run.json").read_text())
        assert about["hardware"] and about["versions"]["torch"]
        for score in got.scores.values():
            assert score.tolerance > 0


def test_the_records_are_small_and_hold_no_pickles() -> None:
    files = [path for path in (ROOT / "records").glob("*/*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ""}
