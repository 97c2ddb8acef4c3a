"""What the tests provoke of damage and distress, and whether it was survived.

A test that provokes a fault says so by ``pytest.mark.fault``: of which kind it is, how
it was provoked, what comes of it, and what is kept, in sentences of Markdown.
``pytest -m fault --faults=FILE`` runs them all and writes the table that the appendix
of the book shows.
"""

import ast
import hashlib
import json
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

KINDS = (
    *("data", "disk", "process", "memory", "records"),
    *("injection", "environment", "network", "supply"),
)
SENTENCES = ("provoked", "result", "kept")


class Fault(NamedTuple):
    """What a test declares."""

    kind: str
    provoked: str
    result: str
    kept: str


class Provoked(NamedTuple):
    """A test by its place, what it declares, and the SHA-256 of its text."""

    place: str  # file::function
    fault: Fault
    digest: str


def declared(folder: Path) -> list[Provoked]:
    """The tests of a folder that provoke a fault, in order of kind, then of place.

    Raises ``ValueError`` where a declaration is not one of a kind and three sentences.
    """
    found = [
        test
        for path in sorted(folder.rglob("test_*.py"))
        for test in _of_file(path, path.relative_to(folder).as_posix())
    ]
    return sorted(found, key=lambda test: KINDS.index(test.fault.kind))


def _of_file(path: Path, name: str) -> Iterator[Provoked]:
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    module = ast.parse(source).body
    named = {  # a marker that several tests carry
        ast.unparse(node.targets[0]): node.value
        for node in module
        if isinstance(node, ast.Assign)
    }
    for node in module:
        for decorator in getattr(node, "decorator_list", []):
            mark = named.get(ast.unparse(decorator), decorator)
            if isinstance(node, ast.FunctionDef) and (
                isinstance(mark, ast.Call)
                and ast.unparse(mark.func) == "pytest.mark.fault"
            ):
                place = f"{name}::{node.name}"
                start = node.decorator_list[0].lineno
                text = "\n".join(lines[start - 1 : node.end_lineno])
                digest = hashlib.sha256(text.encode()).hexdigest()
                yield Provoked(place, _fault(mark, place), digest)


def _fault(mark: ast.Call, place: str) -> Fault:
    kinds = [ast.literal_eval(value) for value in mark.args]
    said = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
    if (
        len(kinds) != 1
        or kinds[0] not in KINDS
        or tuple(said) != SENTENCES
        or not all(isinstance(text, str) and text[-1:] == "." for text in said.values())
    ):
        raise ValueError(
            f"{place}: its fault is {ast.unparse(mark)}, expected one kind of "
            f"{', '.join(KINDS)} and the sentences {', '.join(SENTENCES)}"
        )
    return Fault(kinds[0], *said.values())


def table(
    tests: list[Provoked], cases: dict[str, int], seconds: float
) -> dict[str, Any]:
    """The tests as JSON, with how many cases of each passed, and where and when."""
    rows: dict[Fault, dict[str, Any]] = {}
    for test in tests:
        row = rows.setdefault(test.fault, test.fault._asdict() | {"tests": {}})
        row["tests"][test.place] = {"cases": cases[test.place], "digest": test.digest}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "seconds": round(seconds),
        "faults": list(rows.values()),
    }


class Recorder:
    """Counts the cases of each test that passed, and writes them if all did.

    Where not all tests are run, those whose text is as it was recorded keep their row.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder, self.target = folder, target
        self.start = time.perf_counter()
        self.passed: dict[str, int] = defaultdict(int)
        self.others: list[str] = []  # failed or skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = report.nodeid.partition("[")[0].removeprefix("tests/")
        if not report.passed:
            self.others.append(f"{report.nodeid} {report.outcome}")
        elif report.when == "call":
            self.passed[place] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        tests = declared(self.folder)
        seconds, kept = self._kept(tests)
        missing = [t.place for t in tests if t.place not in self.passed | kept]
        if self.others or missing:
            terminalreporter.write_line(f"{self.target} is left as it is, because of")
            for line in self.others or missing:
                terminalreporter.write_line(f"  {line}")
            return
        seconds += time.perf_counter() - self.start
        found = table(tests, self.passed | kept, seconds)
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        self.target.write_text(text, encoding="utf-8")
        terminalreporter.write_line(f"{len(found['faults'])} faults: {self.target}")

    def _kept(self, tests: list[Provoked]) -> tuple[float, dict[str, int]]:
        """What is recorded of tests that were not run and are as they were then.

        The seconds that all took together, if there are such, and the cases of each.
        """
        if not self.target.exists():
            return 0, {}
        recorded = json.loads(self.target.read_text(encoding="utf-8"))
        known = {
            (place, test["digest"]): test["cases"]
            for row in recorded["faults"]
            for place, test in row["tests"].items()
        }
        kept = {
            test.place: known[test.place, test.digest]
            for test in tests
            if test.place not in self.passed and (test.place, test.digest) in known
        }
        return recorded["seconds"] if kept else 0, kept
