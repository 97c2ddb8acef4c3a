"""What a package says of its runs, and what holds where it says nothing."""

import importlib.metadata
import platform
from pathlib import Path

import pytest

import hw2
import toy
from hw2 import vit
from recorded import StaleRecord, fingerprint, run
from recorded.home import home
from toy import Config, count_up


@pytest.fixture(autouse=True)
def folder(toy_records: Path) -> Path:
    return toy_records


def test_a_package_without_records_can_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for say_nothing in (
        lambda: monkeypatch.setattr(toy, "RECORDS", None),
        lambda: monkeypatch.delattr(toy, "RECORDS"),
    ):
        say_nothing()
        with pytest.raises(ValueError, match="toy is of a package without RECORDS"):
            run("a", count_up, Config())
    assert toy.made == []


def test_a_record_notes_the_versions_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = {"python": platform.python_version()}
    assert run("a", count_up, Config()).versions == python
    monkeypatch.setattr(toy, "VERSIONS", ("pytest", "numpy"), raising=False)
    assert run("b", count_up, Config()).versions == python | {
        name: importlib.metadata.version(name) for name in ("pytest", "numpy")
    }


def test_the_command_of_the_package_is_what_makes_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOY_TRAIN", "never")
    monkeypatch.setattr(toy, "COMMAND", "play {} again")
    with pytest.raises(StaleRecord, match=r"not made here; play a-1 again does$"):
        run("a-1", count_up, Config())
    monkeypatch.delattr(toy, "COMMAND")
    with pytest.raises(
        StaleRecord, match=r"here; recorded\.run\('a-1', \.\.\., train=True\)"
    ):
        run("a-1", count_up, Config())


def test_the_variable_that_forbids_is_the_packages_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    run("a", count_up, Config())  # TOY_TRAIN is stale
    assert toy.made == [Config()]
    monkeypatch.setenv("TOY_TRAIN", "never")
    with pytest.raises(StaleRecord, match="TOY_TRAIN is never"):
        run("b", count_up, Config())
    monkeypatch.setenv("TOY_TRAIN", "")  # as if it were not set
    run("b", count_up, Config(), train=True)
    assert len(toy.made) == 2


def test_what_keeps_results_has_no_part_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {"count_up", "Config", "machine"} <= fingerprint(
        count_up, Config()
    ).code.keys()
    monkeypatch.setattr(toy, "KEEPERS", ("toy",), raising=False)
    assert fingerprint(count_up, Config()).code == {}


def test_the_home_of_the_reports_runs() -> None:
    kept = home(vit.experiment)
    assert kept.records == hw2.RECORDS and kept.keepers == ("hw2",)
    assert kept.versions == hw2.VERSIONS and "torch" in kept.versions
    assert kept.command.format("a") == "make record RUN=a"
    assert kept.variable == "HW2_TRAIN"
