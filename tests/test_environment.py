"""What is pinned is installed, and conda, pip and the workflow install the same."""

import tomllib
from collections.abc import Iterable
from importlib.metadata import requires, version
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT
from hw2.peers.config import PACKAGES


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return dict(found["project"])


def pinned() -> list[str]:
    return list(project()["dependencies"])


def extra() -> list[str]:
    return list(project()["optional-dependencies"]["bench"])


def environment() -> list[Any]:
    text = (ROOT / "environment.yml").read_text()
    return list(yaml.safe_load(text)["dependencies"])


@pytest.mark.parametrize("requirement", pinned())
def test_what_is_pinned_is_what_runs(requirement: str) -> None:
    # Installed with exactly this version, hence the version exists.
    name, _, wanted = requirement.partition("==")
    assert version(name).partition("+")[0] == wanted


def test_conda_brings_python_and_quarto_and_pip_the_rest() -> None:
    *conda, pip = environment()
    assert conda == ["python=3.11", "pip", "quarto>=1.5"]
    assert pip == {"pip": ["--constraint constraints.txt", "--editable ."]}


def versions(lines: list[str]) -> dict[str, str]:
    """The versions of lines ``name==version``, by the name that packages compare."""
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): wanted for name, wanted in pairs}


def constraints() -> dict[str, str]:
    return versions((ROOT / "constraints.txt").read_text().splitlines())


def test_constraints_hold_the_pins() -> None:
    assert versions(pinned()).items() <= constraints().items()
    assert len(versions(pinned())) == len(pinned())


def pulled_in(packages: Iterable[str]) -> set[str]:
    """Installed packages, and all that they require, by the names that are compared."""
    todo = list(packages)
    seen = set[str]()
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in seen:
            seen.add(name)
            found = [Requirement(text) for text in requires(name) or []]
            here = {"extra": ""}
            todo += [r.name for r in found if not r.marker or r.marker.evaluate(here)]
    return seen


def test_constraints_hold_what_the_pins_pull_in() -> None:
    seen = pulled_in(versions(pinned()))
    assert len(seen) > 50
    assert seen <= constraints().keys()


def test_the_extra_is_pinned_and_nobody_else_needs_it() -> None:
    assert [pin.partition("==")[0] for pin in extra()] == list(PACKAGES)
    assert versions(extra()).items() <= constraints().items()
    assert not set(extra()) & set(pinned())


def test_the_constraints_hold_what_the_extra_pulls_in() -> None:
    for package in PACKAGES:
        pytest.importorskip(package.replace("-", "_"))
    assert pulled_in(PACKAGES) <= constraints().keys()


def test_the_workflow_renders_with_quarto_and_publishes() -> None:
    text = (ROOT / ".github/workflows/publish.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["publish"]["steps"]
    actions = [step["uses"].partition("@")[0] for step in steps if "uses" in step]
    assert "quarto-dev/quarto-actions/setup" in actions
    assert "quarto-dev/quarto-actions/render" in actions
    assert "actions/deploy-pages" in actions


def test_nothing_is_trained_in_continuous_integration() -> None:
    text = (ROOT / ".github/workflows/publish.yml").read_text()
    assert yaml.safe_load(text)["jobs"]["publish"]["env"] == {"HW2_TRAIN": "never"}
    assert "\nexport HW2_TRAIN=never" in (ROOT / ".ci/run").read_text()
