"""The table of what was provoked: it says what the tests say, and all of it passed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from faults import Recorder, declared, table

RECORD = ROOT / "records" / "faults.json"
MARKED = """\
import pytest

{decorator}
def test_it():
    assert True
"""
FAULT = """\
@pytest.mark.fault(
    "disk",
    provoked="The disk is full.",
    result="A line says so.",
    kept="All.",
)"""


def folder(tmp_path: Path, decorator: str = FAULT) -> Path:
    """A folder of tests with one that provokes a fault."""
    (tmp_path / "inner").mkdir()
    text = MARKED.format(decorator=decorator)
    (tmp_path / "inner" / "test_a.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_record_is_of_the_tests_as_they_are() -> None:
    """``make test-faults`` makes it again."""
    found = declared(ROOT / "tests")
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    cases = {
        place: test["cases"]
        for row in recorded["faults"]
        for place, test in row["tests"].items()
    }
    assert cases.keys() == {test.place for test in found}
    assert min(cases.values()) > 0
    assert recorded["faults"] == table(found, cases, 0)["faults"]


def test_make_gives_pytest_options_that_it_takes() -> None:
    """A file after a space would be taken for tests, where it is there."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "--faults" in line]
    options = line.partition("pytest ")[2].split()
    command = [sys.executable, "-m", "pytest", *options, "--markers"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_declared_is_read(tmp_path: Path) -> None:
    (found,) = declared(folder(tmp_path))
    assert found.place == "inner/test_a.py::test_it"
    assert found.fault == ("disk", "The disk is full.", "A line says so.", "All.")
    one = tmp_path / "inner" / "test_a.py"
    one.write_text(one.read_text().replace("True", "1"))
    assert declared(tmp_path)[0].digest != found.digest


def test_a_declaration_may_have_a_name(tmp_path: Path) -> None:
    place = folder(tmp_path, "@FULL") / "inner" / "test_a.py"
    named = FAULT.replace("@", "FULL = ", 1)
    place.write_text(f"{named}\n{place.read_text(encoding='utf-8')}", encoding="utf-8")
    assert [test.fault.kind for test in declared(tmp_path)] == ["disk"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"disk"', '"fire"'),
        ('"disk",', ""),
        ('kept="All.",', ""),
        ("All.", "All"),
        ("kept=", "left="),
    ],
)
def test_another_declaration_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in FAULT
    with pytest.raises(ValueError, match=r"inner/test_a\.py::test_it: its fault is"):
        declared(folder(tmp_path, FAULT.replace(old, new)))


def report(outcome: str, case: str = "", when: str = "call") -> pytest.TestReport:
    node = f"tests/inner/test_a.py::test_it{case}"
    return pytest.TestReport(node, ("", None, ""), {}, outcome, None, when)  # type: ignore[arg-type]


class Lines(list[str]):
    def write_line(self, line: str) -> None:
        self.append(line)


def test_what_passed_is_written(tmp_path: Path) -> None:
    target, lines = tmp_path / "faults.json", Lines()
    recorder = Recorder(folder(tmp_path), target)
    for case in ("[1]", "[2]"):
        for when in ("setup", "call", "teardown"):
            recorder.pytest_runtest_logreport(report("passed", case, when))
    recorder.pytest_terminal_summary(lines)
    (row,) = json.loads(target.read_text(encoding="utf-8"))["faults"]
    assert row["provoked"] == "The disk is full."
    assert row["tests"]["inner/test_a.py::test_it"]["cases"] == 2
    assert lines == [f"1 faults: {target}"]


@pytest.mark.parametrize("outcome", ["failed", "skipped", "missing"])
def test_what_did_not_pass_is_not_written(tmp_path: Path, outcome: str) -> None:
    target, lines = tmp_path / "faults.json", Lines()
    recorder = Recorder(folder(tmp_path), target)
    if outcome != "missing":
        recorder.pytest_runtest_logreport(report("passed", "[1]"))
        recorder.pytest_runtest_logreport(report(outcome, "[2]"))
    recorder.pytest_terminal_summary(lines)
    assert not target.exists() and "inner/test_a.py::test_it" in lines[1]


def test_what_did_not_change_need_not_be_run_again(tmp_path: Path) -> None:
    target, lines, tests = tmp_path / "faults.json", Lines(), folder(tmp_path)
    other = tests / "inner" / "test_b.py"
    other.write_text(MARKED.format(decorator=FAULT), encoding="utf-8")
    found = declared(tests)
    cases = {test.place: 3 for test in found}
    target.write_text(json.dumps(table(found, cases, 100)), encoding="utf-8")
    other.write_text(other.read_text(encoding="utf-8").replace("True", "1"))
    Recorder(tests, target).pytest_terminal_summary(lines)
    assert lines[1:] == ["  inner/test_b.py::test_it"]
    recorder = Recorder(tests, target)
    recorder.passed["inner/test_b.py::test_it"] = 4
    recorder.pytest_terminal_summary(lines)
    now = json.loads(target.read_text(encoding="utf-8"))
    counts = {"inner/test_a.py::test_it": 3, "inner/test_b.py::test_it": 4}
    assert now["faults"] == table(declared(tests), counts, 0)["faults"]
    assert now["seconds"] == 100
