"""``python -m hw2``: what it makes, what it compares, what it says is wrong."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import hw2
import recorded
from hw2 import __main__, commands, sentiment, vit
from hw2.data import MissingData
from recorded import DamagedCheckpoint, StaleRecord, run
from toy import Config, count_up, machine, made


@pytest.fixture
def folder(toy_records: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hw2, "RECORDS", toy_records)
    return toy_records


@pytest.fixture
def known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"a": (count_up, Config()), "b": (count_up, Config(size=4))}
    monkeypatch.setattr(commands, "RUNS", runs)
    monkeypatch.setattr(commands, "LARGE", {"c": (count_up, Config(size=5))})
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.mark.usefixtures("known")
def test_record_makes_what_is_stale(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOY_TRAIN")  # the command itself asks for it
    assert commands.main(["record", "b"]) == 0
    assert made == [Config(size=4)]
    assert commands.main(["record"]) == 0
    assert made == [Config(size=4), Config()]
    assert capsys.readouterr().out.count("sum 15.0000") == 1
    assert (folder / "README.md").read_text().startswith("# Recorded runs\n")


@pytest.mark.usefixtures("known")
def test_check_makes_nothing_and_says_what_is_not_current(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.main(["record"]) == 0
    capsys.readouterr()
    made.clear()
    assert commands.main(["check"]) == 0
    assert capsys.readouterr().out == ""
    runs = {"a": (count_up, Config(seed=1)), "b": (count_up, Config(size=4))}
    monkeypatch.setattr(commands, "RUNS", runs | {"d": (count_up, Config())})
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    (folder / "b" / "run.json").write_text("{}")
    assert commands.main(["check"]) == 1
    stale, edited, missing = capsys.readouterr().out.splitlines()
    assert stale == "record a is stale: option seed: 0 recorded, 1 now"
    assert edited.startswith("record b is not as it was recorded: ")
    assert missing == "record d is stale: it is not recorded"
    assert commands.main(["check", "c"]) == 1  # a large run is looked at when named
    assert made == []


@pytest.mark.usefixtures("known")
def test_large_runs_are_made_where_there_is_an_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert commands.main(["record"]) == 0
    assert made == [Config(), Config(size=4)]
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert commands.main(["record"]) == 0
    assert made == [Config(), Config(size=4), Config(size=5)]


def test_where_nothing_is_trained_a_run_of_the_report_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    assert commands.main(["record", "vit-small"]) == 1
    error = capsys.readouterr().err
    assert "error: run vit-small can't be taken" in error
    assert "HW2_TRAIN is never" in error and "make record RUN=vit-small does" in error
    assert not folder.exists()


@pytest.mark.parametrize(
    "module, large", [(vit, vit.LARGE), (sentiment, sentiment.LARGE)]
)
def test_loading_a_model_trains_none(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    large: dict[str, Any],
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "stale")
    for name in large:
        with pytest.raises(
            StaleRecord, match=f"it is not recorded.*make record RUN={name}"
        ):
            module.load(name)


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
        commands.main(["record", "d"])
    assert "there is no run 'd'; there are a, b, c" in capsys.readouterr().err
    monkeypatch.setenv("TOY_TRAIN", "never")
    assert commands.main(["record", "a"]) == 1
    assert "error: run a can't be taken" in capsys.readouterr().err
    monkeypatch.setenv("TOY_TRAIN", "stale")
    commands.main(["record"])
    about = folder / "a" / "run.json"
    about.write_text(about.read_text().replace("15.0", "16.0"))
    assert commands.main(["record", "a"]) == 1
    assert "error:" in capsys.readouterr().err

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recorded, "run", stopped)
    monkeypatch.setattr(sys, "argv", ["hw2", "record", "a"])
    assert __main__.main() == 130
    assert "stopped; record goes on" in capsys.readouterr().err


def never(error: Exception) -> object:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "error",
    [
        DamagedCheckpoint("checkpoint a.pt can't be read; delete it to begin again"),
        MissingData("IMDB is not here"),
        ValueError("a.parquet is damaged; put the published one there"),
        OSError(28, "No space left on device", "records/a"),
    ],
)
def test_what_a_person_can_mend_is_a_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(recorded, "run", never(error))
    assert commands.main(["record", "a"]) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.usefixtures("known")
def test_a_fault_of_the_code_is_shown_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorded, "run", never(TypeError("of the code")))
    with pytest.raises(TypeError, match="of the code"):
        commands.main(["record", "a"])


@pytest.mark.usefixtures("known")
def test_an_error_after_ctrl_c_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError(9, "Bad file descriptor")  # a lock that was let go of before

    monkeypatch.setattr(recorded, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        commands.main(["record", "a"])


@pytest.mark.fault(
    "memory",
    provoked="A run asks for more memory than the machine gives.",
    result="It ends in a line that says so.",
    kept="The last checkpoint, from which the run goes on.",
)
@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("by", ["Python", "PyTorch", "an accelerator"])
def test_too_little_memory_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    def greedy(*_: object, **__: object) -> None:
        if by == "an accelerator":  # which is not there
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        bytes(1 << 60) if by == "Python" else torch.empty(1 << 58)

    monkeypatch.setattr(recorded, "run", greedy)
    assert commands.main(["record", "a"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: there is not enough memory (")
    assert line.endswith("; record goes on from its last checkpoint")
