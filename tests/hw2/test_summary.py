"""The tables of results that are read without rendering are those of the records."""

from pathlib import Path

import pytest

import hw2
from hw2 import summary
from hw2.runs import RUNS
from recorded import Run, read


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [read(hw2.RECORDS / name) for name in RUNS]


def test_the_tables_are_current(runs: list[Run]) -> None:
    assert (hw2.RECORDS / "README.md").read_text() == summary.page(runs)
    text = (hw2.RECORDS.parent / "README.md").read_text()
    assert text == summary.with_results(text, runs)


def test_every_run_has_a_row_with_all_its_scores(runs: list[Run]) -> None:
    rows = summary.overview(runs).splitlines()[2:]
    for run, row in zip(runs, rows, strict=True):
        name, scores, parameters, _, minutes, hardware, date = (
            cell.strip() for cell in row.strip("|").split(" | ")
        )
        assert name == f"`{run.name}`"
        assert len(scores.split("<br>")) == len(run.scores)
        assert bool(parameters) == bool(run.weights)
        assert abs(float(minutes) - run.seconds / 60) <= 0.5
        assert (hardware, date) == (run.hardware, run.date)


def test_an_accuracy_has_its_interval(runs: list[Run]) -> None:
    by_name = {run.name: run for run in runs}
    # 1.96 times the root of 0.83 x 0.17 / 25,000 is 0.5 points.
    notebook = summary.score(by_name["sentiment-notebook"], "accuracy")
    assert notebook == "82.93% (82.5% to 83.4%)"
    # A search has validation reviews alone: 0.9 x 0.1 / 5,000 gives 0.8 points.
    searched = summary.score(by_name["sentiment-search-finetuned"], "nothing")
    assert searched == "90.38% (89.5% to 91.2%)"
    linear = summary.score(by_name["linear-attention"], "linear time")
    assert "%" not in linear and 1 < float(linear) < 1.3


def test_update_replaces_only_the_table(tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.mkdir()
    (records / "dense").symlink_to(hw2.RECORDS / "dense")
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n\n{summary.BEGIN}\nold\n{summary.END}\n\nAfter.\n")
    summary.update(records)
    text = readme.read_text()
    assert text.startswith("Before.\n") and text.endswith("\nAfter.\n")
    assert "old" not in text and text.count("`dense`") == 1
    assert "`dense`" in (records / "README.md").read_text()
    summary.update(records)
    assert readme.read_text() == text


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"README\.md lacks the line <!-- results"):
        summary.with_results("No table here.", [])
