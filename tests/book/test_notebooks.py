"""The notebooks of the book show what its pages show, and run in a clone of it."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import ROOT, page, words
from executed_notebooks import markdown
from portable.project import read_project


def stems() -> list[str]:
    return [
        Path(source).with_suffix("").as_posix() for source in read_project(ROOT).sources
    ]


def numbers(text: str) -> list[str]:
    """The numbers that figures, tables, theorems and equations have, sorted."""
    kinds = "Figure|Table|Theorem|Lemma|Corollary|Proposition|Definition|Example"
    found = re.findall(rf"\*\*((?:{kinds}) \w\.\d+)\b", text)
    return sorted([*found, *(f"({n})" for n in re.findall(r"\\tag\{([\w.]+)\}", text))])


@pytest.mark.parametrize("stem", stems())
def test_nothing_of_quarto_is_left(book: Path, stem: str) -> None:
    text = markdown(book / "notebooks" / f"{Path(stem).name}.ipynb")
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    left = r":::|\{#|\]\{|\{\.|(?<![\w/.])-?@[\w-]+|\{\{<|\{python\}"
    assert re.findall(left, prose) == []


@pytest.mark.parametrize("stem", stems())
def test_the_numbers_are_those_of_the_book(book: Path, stem: str) -> None:
    text = markdown(book / "notebooks" / f"{Path(stem).name}.ipynb")
    main = page(book / f"{stem}.html").select_one("main")
    assert main
    shown = [words(s.get_text()).strip(":") for s in main.select("figcaption .number")]
    shown += [
        " ".join(words(title.get_text()).split()[:2])
        for title in main.select(".theorem-title")
    ]
    shown += [words(n.get_text()) for n in main.select(".equation > .number")]
    assert numbers(text) == sorted(shown)
    headings = re.findall(r"^#+ (\w\.[\d.]+)", text, re.MULTILINE)
    there = [words(h.get_text()).split()[0] for h in main.select("h2, h3")]
    assert headings == [n for n in there if re.fullmatch(r"\w\.[\d.]+", n)]
    kinds = (
        "Figure|Table|Theorem|Lemma|Corollary|Proposition|Definition|Equation|Section"
    )
    for link in main.select("p a.ref, li a.ref"):
        if words(link.get_text()).startswith(tuple(kinds.split("|"))):
            assert words(link.get_text()) in words(text), link


def test_no_folder_of_this_machine_is_named(book: Path) -> None:
    for path in (book / "notebooks").glob("*.ipynb"):
        text = path.read_text()
        assert not re.search(r"site-packages|/home/|/root/|/tmp/|/Users/", text), path
        assert str(ROOT) not in text, path


@pytest.mark.parametrize(
    ("stem", "place"),
    [
        ("01-recurrence", "."),
        ("04-vision-transformer", "submission"),
        ("05-sentiment", "submission"),
    ],
)
def test_a_notebook_runs_in_a_clone(
    book: Path, tmp_path: Path, stem: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in it Jupyter was started; what it prints is what it printed."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("code", "records"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / place).mkdir(exist_ok=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.setenv("HW2_TRAIN", "never")
    made = nbformat.read(book / "notebooks" / f"{stem}.ipynb", as_version=4)
    again = nbformat.from_dict(json.loads(json.dumps(made)))
    where = {"metadata": {"path": str(tmp_path / place)}}
    NotebookClient(again, kernel_name="python3", resources=where).execute()

    def printed(notebook: nbformat.NotebookNode) -> list[str]:
        cells = [cell.get("outputs", []) for cell in notebook.cells]
        texts = [[o.text for o in of if o.get("name") == "stdout"] for of in cells]
        return ["".join(of) for of in texts if of]

    assert printed(again) == printed(made) and printed(made)
