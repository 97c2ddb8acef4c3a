"""Which part of the code may import which, and how long a file may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

CODE = ROOT / "code"
# What a package may import of the others.
MAY_IMPORT = {
    "recorded": set(),
    "portable": {"recorded"},
    "hw2": {"recorded"},
    "book": {"portable"},
}
# Within hw2, and within the folder of a problem, each row imports from those above it.
LAYERS = {
    "hw2": [
        ["files", "arguments"],
        ["data", "evaluation", "training", "study", "figures"],
        ["recurrence", "attention", "linear_attention"],
        ["scaling"],
        ["vit", "sentiment"],
        ["peers"],
        ["runs"],
        ["summary", "exhibits"],
        ["commands"],
        ["__main__"],
    ],
    "hw2/vit": [["config"], ["model"], ["training"], ["experiments"], ["inspection"]],
    "hw2/peers": [["config"], ["networks", "attention"], ["steps"], ["experiment"]],
    "hw2/sentiment": [
        ["config"],
        ["reviews", "tokens"],
        ["encoder"],
        ["model"],
        ["training"],
        ["experiments", "ensemble"],
        ["predict", "survey", "tfidf", "padding", "speed"],
        ["studies", "inspection"],
    ],
}


def module_of(path: Path) -> str:
    parts = path.relative_to(CODE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(CODE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """The modules of ``code`` that a file imports, within functions as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are by their full path"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in FILES else str(node.module))
    return {name for name in found if name.partition(".")[0] in MAY_IMPORT}


def test_every_package_has_its_rules() -> None:
    packages = {name.partition(".")[0] for name in FILES}
    assert packages == MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_no_others(package: str) -> None:
    for name, path in FILES.items():
        if name.partition(".")[0] == package:
            others = {other.partition(".")[0] for other in imported(path)} - {package}
            assert others <= MAY_IMPORT[package], f"{name} imports {others}"


def parts_of(folder: str) -> Iterator[tuple[str, str, set[str]]]:
    """The modules and folders of a folder: each file's part, name and imports."""
    start = folder.replace("/", ".") + "."
    for name, path in FILES.items():
        if name.startswith(start):
            inner = {
                n.removeprefix(start) for n in imported(path) if n.startswith(start)
            }
            part = name.removeprefix(start).partition(".")[0]
            yield part, name, {other.partition(".")[0] for other in inner} - {part}


@pytest.mark.parametrize("folder", LAYERS)
def test_modules_import_from_the_layers_above(folder: str) -> None:
    layers = LAYERS[folder]
    assert {part for part, *_ in parts_of(folder)} == {p for row in layers for p in row}
    level = {part: number for number, row in enumerate(layers) for part in row}
    for part, name, others in parts_of(folder):
        above = {other for other in others if level[other] < level[part]}
        assert others == above, f"{name} imports {others - above}"


@pytest.mark.parametrize("folder", ["hw2/vit", "hw2/peers", "hw2/sentiment"])
def test_a_problem_does_not_import_its_own_face(folder: str) -> None:
    face = folder.replace("/", ".")
    for name, path in FILES.items():
        if name.startswith(face + "."):
            assert face not in imported(path), name


def test_no_file_is_long() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    answers = {n: count for n, count in lines.items() if n.partition(".")[0] == "hw2"}
    assert max(answers.values()) <= 260, answers


# What it reads is ASCII, and the times of a recorded run rest on it.
WITHOUT_ENCODING = {"hw2.scaling"}


@pytest.mark.fault(
    "environment",
    provoked="The locale has another encoding than UTF-8.",
    result="Sources, pages and what programs say are read and written as UTF-8.",
    kept="Everything.",
)
def test_the_encoding_of_texts_is_said() -> None:
    """Else it would be that of the locale."""
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or name in WITHOUT_ENCODING:
                continue
            function = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = {keyword.arg for keyword in node.keywords}
            method = isinstance(node.func, ast.Attribute)
            texts = method and function in ("read_text", "write_text")
            texts |= "text" in given
            modes = [of.value for of in node.args if isinstance(of, ast.Constant)]
            if function in ("open", "NamedTemporaryFile", "fdopen"):
                binary = any("b" in str(mode) for mode in modes)
                texts = not (binary or (function != "open" and not modes))
                texts &= getattr(getattr(node.func, "value", None), "id", "") != "os"
            assert not texts or "encoding" in given, f"{path}:{node.lineno}"
