"""What is pinned is installed, and conda, pip and the workflow install the same."""

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path
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


def environment() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
    return found


def workflow() -> dict[str, Any]:
    text = (ROOT / ".github/workflows/publish.yml").read_text()
    return dict(yaml.safe_load(text)["jobs"]["publish"])


@pytest.mark.parametrize("requirement", pinned())
def test_what_is_pinned_is_what_runs(requirement: str) -> None:
    # Installed with exactly this version, hence the version exists.
    name, _, wanted = requirement.partition("==")
    assert version(name).partition("+")[0] == wanted


def test_conda_brings_python_jupyter_and_quarto_and_pip_the_rest() -> None:
    *conda, pip = environment()["dependencies"]
    assert conda == ["python=3.11", "pip", "jupyter", "quarto>=1.5"]
    assert pip == {"pip": ["--requirement requirements.txt"]}


def test_conda_finds_the_code() -> None:
    """pip refuses to install it beside what has a checksum."""
    assert (ROOT / environment()["variables"]["PYTHONPATH"] / "hw2").is_dir()


def requirements(name: str = "requirements.txt") -> dict[str, list[Requirement]]:
    """The lines of a file of requirements, by the name that packages compare."""
    found: dict[str, list[Requirement]] = defaultdict(list)
    for line in (ROOT / name).read_text().splitlines():
        if re.match(r"\w", line):
            one = Requirement(line.rstrip("\\ "))
            found[canonicalize_name(one.name)].append(one)
    return found


def pins(lines: list[str]) -> dict[str, str]:
    """The versions of lines ``name==version``, by the name that packages compare."""
    pairs = (line.split("==") for line in lines)
    return {canonicalize_name(name): f"=={wanted}" for name, wanted in pairs}


def here(found: dict[str, list[Requirement]]) -> dict[str, str]:
    """The versions of those lines that are meant for this machine and this Python."""
    return {
        name: str(one.specifier)
        for name, lines in found.items()
        for one in lines
        if not one.marker or one.marker.evaluate()
    }


def test_the_requirements_hold_the_pins() -> None:
    assert pins(pinned()).items() <= here(requirements()).items()
    assert len(pins(pinned())) == len(pinned())


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-bench.txt"])
def test_every_requirement_has_a_version_and_a_checksum(name: str) -> None:
    blocks = re.split(r"\n(?=\w)", "\n" + (ROOT / name).read_text())[1:]
    assert len(blocks) > 10
    for block in blocks:
        assert re.match(r"[\w.-]+==[\w.]+ (; .+ )?\\\n", block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0"])
def test_every_python_that_will_do_has_its_requirements(python: str) -> None:
    """Of each package one, for Debian's Python and for a newer one."""
    at = {"python_version": python[:4], "python_full_version": python}
    for name, lines in requirements().items():
        fit = [one for one in lines if not one.marker or one.marker.evaluate(at)]
        assert len(fit) <= 1, name
        if any(not one.marker or one.marker.evaluate() for one in lines):
            assert len(fit) == 1, name


def pulled_in(packages: Iterable[str]) -> set[str]:
    """Installed packages, and all that they require, by the names that are compared."""
    todo = list(packages)
    seen = set[str]()
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in seen:
            seen.add(name)
            found = [Requirement(text) for text in requires(name) or []]
            no_extra = {"extra": ""}
            todo += [
                r.name for r in found if not r.marker or r.marker.evaluate(no_extra)
            ]
    return seen


def test_the_requirements_hold_what_the_pins_pull_in() -> None:
    seen = pulled_in(pins(pinned()))
    assert len(seen) > 50
    assert seen <= here(requirements()).keys()


def test_the_extra_is_pinned_and_nobody_else_needs_it() -> None:
    assert [pin.partition("==")[0] for pin in extra()] == list(PACKAGES)
    assert pins(extra()).items() <= here(requirements("requirements-bench.txt")).items()
    assert not pins(extra()).keys() & requirements().keys()


def test_the_requirements_hold_what_the_extra_pulls_in() -> None:
    for package in PACKAGES:
        pytest.importorskip(package.replace("-", "_"))
    held = requirements().keys() | requirements("requirements-bench.txt").keys()
    assert pulled_in(PACKAGES) <= held


def package(folder: Path, name: str, wanted: str) -> Path:
    """A package of that name and version, as an installer takes it; it is empty."""
    stem = f"{name}-{wanted}"
    info, wheel = f"{stem}.dist-info", folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {wanted}\n"
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.mark.fault(
    "supply",
    provoked="A package index serves other files under a pinned name and version.",
    result="pip refuses them, with both checksums.",
    kept="What was installed before.",
)
def test_a_package_with_other_bytes_is_refused(tmp_path: Path) -> None:
    (one,) = requirements()["comm"]
    package(tmp_path, "comm", str(one.specifier).removeprefix("=="))
    text = (ROOT / "requirements.txt").read_text()
    block = re.search(r"^comm==[^\n]*\n(    [^\n]*\n)+", text, re.MULTILINE)
    assert block
    (tmp_path / "requirements.txt").write_text(block[0])
    said = installed(tmp_path)
    assert said.returncode and "DO NOT MATCH THE HASHES" in said.stderr
    assert "Expected sha256" in said.stderr
    digest = hashlib.sha256(next(tmp_path.glob("*.whl")).read_bytes()).hexdigest()
    (tmp_path / "requirements.txt").write_text(
        f"comm{one.specifier} --hash=sha256:{digest}\n"
    )
    assert installed(tmp_path).returncode == 0


@pytest.mark.fault(
    "supply",
    provoked="A dependency without a checksum is added to the pinned ones.",
    result="pip refuses it and names it.",
    kept="What was installed before.",
)
def test_a_package_without_a_checksum_is_refused(tmp_path: Path) -> None:
    package(tmp_path, "comm", "1.0")
    (tmp_path / "requirements.txt").write_text("comm==1.0\n")
    said = installed(tmp_path)
    assert said.returncode and "comm==1.0 --hash=sha256:" in said.stderr


def installed(folder: Path) -> subprocess.CompletedProcess[str]:
    """What pip says that would install what a folder requires, from there alone."""
    command = [sys.executable, "-m", "pip", "install", "--isolated", "--dry-run"]
    alone = [
        "--no-deps",
        "--ignore-installed",
        "--no-index",
        "--find-links",
        str(folder),
    ]
    verified = ["--require-hashes", "--requirement", str(folder / "requirements.txt")]
    return subprocess.run([*command, *alone, *verified], capture_output=True, text=True)


def test_what_is_installed_is_verified() -> None:
    verified = "--require-hashes --requirement requirements.txt"
    assert f"$(PIP) {verified}" in (ROOT / "Makefile").read_text()
    runs = [step["run"] for step in workflow()["steps"] if "run" in step]
    assert f"pip install {verified}" in runs
    assert any("pip-audit==" in run and verified in run for run in runs)


def test_the_workflow_renders_with_quarto_and_publishes() -> None:
    uses = [step["uses"] for step in workflow()["steps"] if "uses" in step]
    assert all(re.search("@[0-9a-f]{40}$", action) for action in uses), uses
    actions = [action.partition("@")[0] for action in uses]
    assert "quarto-dev/quarto-actions/setup" in actions
    assert "quarto-dev/quarto-actions/render" in actions
    assert "actions/deploy-pages" in actions


def test_nothing_is_trained_in_continuous_integration() -> None:
    assert workflow()["env"] == {"HW2_TRAIN": "never"}
    assert "\nexport HW2_TRAIN=never" in (ROOT / ".ci/run").read_text()
