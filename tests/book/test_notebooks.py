"""The notebooks of the book show what its pages show, and run in a clone of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import ROOT, page, words
from executed_notebooks import markdown
from portable.project import FIXED, read_project


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


def test_quartos_pages_lead_to_notebooks_of_the_same_name(tmp_path: Path) -> None:
    """The filter that writes the links knows the name of the page's file alone."""
    (tmp_path / "_quarto.yml").write_text(
        "project: {type: book, output-dir: _book, execute-dir: project}\n"
        "book: {title: T, chapters: [index.qmd, one.qmd, a/one.qmd]}\n"
        "format:\n  html: {html-math-method: mathml, fig-format: svg}\n"
        f"  pdf: {{fig-format: pdf, fig-pos: '{FIXED['format', 'pdf', 'fig-pos']}'}}\n"
    )
    for name in ("index", "one", "a/one"):
        link = f'<a href="/notebooks/{Path(name).name}.ipynb">'
        for path, text in ((f"{name}.qmd", "# A\n"), (f"_book/{name}.html", link)):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
    asked = {
        "QUARTO_PROJECT_RENDER_ALL": "1",
        "QUARTO_PROJECT_OUTPUT_DIR": str(tmp_path / "_book"),
        "QUARTO_PROJECT_OUTPUT_FILES": str(tmp_path / "_book/index.html"),
    }
    script = [sys.executable, str(ROOT / "code/book/notebooks.py")]
    subprocess.run(script, cwd=tmp_path, env=os.environ | asked, check=True)
    for name, made in (("index", "index"), ("one", "one"), ("a/one", "a-one")):
        link = f'<a href="/notebooks/{made}.ipynb">'
        assert (tmp_path / f"_book/{name}.html").read_text() == link
        assert (tmp_path / f"_book/notebooks/{made}.ipynb").is_file()


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
