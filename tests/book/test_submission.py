"""What is handed in is complete; of what is incomplete, all is listed at once."""

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from pypdf import PdfReader

from book import checks, submission
from book.checks import QUESTIONS
from conftest import ROOT
from portable.project import FIXED, read_project

VARIABLES = """\
author: Ada Lovelace
netid: "0123"
collaborators: none
course: Deep Learning
homework: Homework 2
due: 25 March 2024
"""
QUARTO = f"""\
project:
  type: book
  output-dir: _book
  execute-dir: project
  post-render: [code/book/answers.py, code/book/notebooks.py]
book:
  title: A small hand-in
  output-file: report
  chapters:
    - index.qmd
    - report.qmd
    - chapters/01-recurrence.qmd
    - chapters/02-attention.qmd
    - chapters/03-linear-attention.qmd
    - chapters/04-vision-transformer.qmd
    - chapters/05-sentiment.qmd
jupyter: python3
format:
  html: {{html-math-method: mathml, fig-format: svg}}
  pdf:
    documentclass: scrreprt
    classoption: [numbers=noenddot]
    pdf-engine: lualatex
    papersize: a4
    geometry: [margin=25mm]
    fig-format: pdf
    fig-pos: "{FIXED["format", "pdf", "fig-pos"]}"
"""
CHAPTERS = {
    "1": ("01-recurrence", ["1"]),
    "2": ("02-attention", ["2a", "2b", "2c"]),
    "3": ("03-linear-attention", ["3"]),
    "4": ("04-vision-transformer", ["4"]),
    "5": ("05-sentiment", [q for q in QUESTIONS if q.startswith("Q")]),
}
# Stands for hw2: it says which records are stale, and predicts.
STALE = """\
import sys
from pathlib import Path
lines = Path("records/stale").read_text() if Path("records/stale").exists() else ""
print(lines, end="")
sys.exit(bool(lines))
"""
DATA = """\
from array import array
def fashion_mnist(split):
    return array("i", range(9)), array("i", [9, 2, 1, 1, 6, 1])
"""
VIT = """\
from array import array
from pathlib import Path
class Logits:
    def argmax(self, dim):
        return array("i", [9, 2, 1, 1, 4])
def to_unit(images):
    return images
def load(name):
    (Path(__file__).parents[2] / "records" / name / "run.json").read_text()
    return lambda images: Logits()
"""
SHEET = (8.27, 11.69)  # inches of a page of A4
MARGIN = dict.fromkeys(("left", "right", "top", "bottom"), 72.0)
PORTABLE = ("--renderer", "portable")  # also where Quarto is

Render = Callable[[Path], list[str]]


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", folder, *name, *arguments], check=True)


def committed(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")


def written(root: Path) -> Path:
    """A project that is ready to be handed in, in a repository in the folder ``root``.

    Each of its problems has a page, the last one two.
    """
    tables = []
    for problem, (stem, questions) in CHAPTERS.items():
        sections = [
            f"## Answer {q} {{#sec-{q.lower()}}}\n\nIt is so." for q in questions
        ]
        cell = "\n\n```{python}\nprint('ran')\n```\n" if problem > "3" else "\n"
        text = f"# Problem {problem} {{#sec-p{problem}}}\n\n" + "\n\n".join(sections)
        write(root / f"chapters/{stem}.qmd", text + cell)
        rows = "\n".join(f"| {q} | So it is. | @sec-{q.lower()} |" for q in questions)
        tables.append(
            f"## Problem {problem}. Title (3 points) {{.unnumbered .unlisted}}\n\n"
            f"| | Answer | Where |\n|:--|:----|:---|\n{rows}"
        )
    head = "# Answers at a glance {.unnumbered}"
    write(root / "report.qmd", "\n\n".join([head, *tables, ""]))
    write(root / "index.qmd", "# About {.unnumbered}\n\nBy Ada Lovelace (0123).\n")
    write(root / "_variables.yml", VARIABLES)
    write(root / "_quarto.yml", QUARTO)
    for package in ("book", "portable"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(
            ROOT / "code" / package, root / "code" / package, ignore=ignored
        )
    write(root / "code/hw2/__init__.py", "")
    write(root / "code/hw2/__main__.py", STALE)
    write(root / "code/hw2/data.py", DATA)
    write(root / "code/hw2/vit.py", VIT)
    write(root / "records/vit-small/run.json", "{}\n")
    write(root / ".gitignore", "_book/\n/submission/\n/.submission-*/\n__pycache__/\n")
    git(root, "init", "--quiet")
    committed(root)
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of the small project, rendered by ``portable``."""
    root = written(tmp_path_factory.mktemp("rendered"))
    assert submission.render(root, *PORTABLE) == []
    return root / "_book"


@pytest.fixture
def render(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> Render:
    """Rendering that takes no time; a test may put another in its place."""

    def copied(copy: Path) -> list[str]:
        shutil.copytree(rendered, copy / "_book")
        return []

    monkeypatch.setattr(submission, "render", copied)
    return copied


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return written(tmp_path / "project")


def faults(root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What ``make submission`` says is not ready."""
    assert submission.main([str(root)]) == 1
    head, *lines = capsys.readouterr().err.splitlines()
    assert head == "Not ready, and so nothing is written:"
    assert not list(root.glob(".submission-*"))
    return [line.removeprefix("- ") for line in lines]


@pytest.mark.usefixtures("render")
def test_a_project_that_is_ready_is_handed_in(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "submission/old", "of last time")
    assert submission.main([str(project)]) == 0
    out = project / "submission"
    names = ["04-vision-transformer.ipynb", "05-sentiment.ipynb", "code.zip"]
    names += ["pages.json", "pages.txt", "report.pdf"]
    assert sorted(path.name for path in out.iterdir()) == names
    said = capsys.readouterr().out
    assert "NOT READY" not in said
    assert "predicts [9, 2, 1, 1, 4] for test images of [9, 2, 1, 1, 6]" in said
    assert all(name in said for name in names)
    with zipfile.ZipFile(out / "code.zip") as archive:
        zipped = archive.namelist()
    assert {"code/hw2/vit.py", "records/vit-small/run.json"} <= set(zipped)
    assert not [name for name in zipped if name.startswith("chapters")]
    # The problems begin on the pages that their chapters begin on.
    reader = PdfReader(out / "report.pdf")
    starts = {
        item.title: (reader.get_destination_page_number(item) or 0) + 1
        for item in reader.outline
        if not isinstance(item, list)
    }
    pages = json.loads((out / "pages.json").read_text())
    assert list(pages) == list(QUESTIONS)
    for problem, (_, questions) in CHAPTERS.items():
        page = starts[f"Problem {problem}"]
        last = len(reader.pages) if problem == "5" else page
        assert pages[questions[0]] == [page, page]
        assert pages[questions[-1]] == [last, last]
    first, *rows = (out / "pages.txt").read_text().splitlines()
    assert first.split() == ["question", "pages"]
    shown = [
        str(first) if first == last else f"{first}-{last}"
        for first, last in pages.values()
    ]
    assert [row.split() for row in rows] == [
        list(p) for p in zip(pages, shown, strict=True)
    ]
    assert not subprocess.run(
        ["git", "-C", project, "status", "--porcelain"], capture_output=True
    ).stdout


@pytest.mark.usefixtures("render")
def test_all_that_is_not_ready_is_listed_at_once(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "submission/report.pdf", "of last time")
    text = VARIABLES.replace("Ada Lovelace", "Firstname Lastname")
    write(project / "_variables.yml", text.replace("25 March 2024", ""))
    write(project / "code/hw2/vit.py", "raise ImportError('broken')\n")
    write(project / "chapters/06-more.qmd", "# More\n")
    git(project, "add", "code")
    git(project, "commit", "--quiet", "--message", "x")
    monkeypatch.setattr(checks, "LIMIT", 1000)
    assert faults(project, capsys) == [
        '_variables.yml: author is still "Firstname Lastname": write yours there',
        "_variables.yml: due is empty: write yours there",
        "_variables.yml has changes that are not committed",
        "chapters/06-more.qmd is new and not committed",
        "code.zip, unpacked: ImportError: broken",
        "the files together have 0 MB, Gradescope takes 0 MB",
    ]
    assert [path.name for path in (project / "submission").iterdir()] == ["report.pdf"]
    assert (project / "submission/report.pdf").read_text() == "of last time"


@pytest.mark.usefixtures("render")
def test_what_is_handed_in_is_of_the_commit(project: Path, tmp_path: Path) -> None:
    """Neither changes nor files that git ignores have a part in it."""
    write(project / "code/hw2/vit.py", "raise ImportError('not committed')\n")
    write(project / "code/book/.gitignore", "")
    write(project / "_book/report.pdf", "an old book")
    out = tmp_path / "out"
    out.mkdir()
    found = dict(submission.prepare(project, tmp_path / "copy", out))
    listed = [line for lines in found.values() for line in lines]
    assert listed == [
        "code/hw2/vit.py has changes that are not committed",
        "code/book/.gitignore is new and not committed",
    ]
    assert (tmp_path / "copy/code/hw2/vit.py").read_text() == VIT
    assert len(PdfReader(out / "report.pdf").pages) > 5


@pytest.mark.fault(
    "records",
    provoked="A number of a record is edited, and its sums are made to fit.",
    result="Nothing is handed in: a line names the file, which no commit has so.",
    kept="The record, to be compared with that of the last commit.",
)
def test_a_record_that_was_edited_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "records/vit-small/run.json", '{"accuracy": 1}\n')
    assert "records/vit-small/run.json has changes that are not committed" in faults(
        project, capsys
    )


def test_a_stale_record_is_named_and_nothing_rendered(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "render", lambda copy: pytest.fail("rendered"))
    write(project / "records/stale", "record a is stale: x\nrecord b is stale: y\n")
    committed(project)
    assert faults(project, capsys) == ["record a is stale: x", "record b is stale: y"]


def test_fields_that_cannot_be_read_are_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "render", lambda copy: pytest.fail("rendered"))
    write(project / "_variables.yml", VARIABLES.replace('"0123"', "[ab, cd]"))
    committed(project)
    assert faults(project, capsys) == [
        '_variables.yml:2: netid is a list, [ab, cd], expected text, as in "netid: '
        'ab1234"'
    ]


def test_a_folder_without_a_commit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "_variables.yml", VARIABLES)
    first, last = faults(tmp_path, capsys)
    assert first.startswith("git status failed: fatal: not a git repository")
    assert last == "there is no commit to hand in"
    git(tmp_path, "init", "--quiet")
    assert faults(tmp_path, capsys) == [
        "_variables.yml is new and not committed",
        "there is no commit to hand in",
    ]


def test_a_book_that_cannot_be_rendered_says_why(project: Path) -> None:
    write(project / "chapters/03-linear-attention.qmd", "# Problem 3\n\n![](a.png)\n")
    assert submission.render(project, *PORTABLE) == [
        "the book can't be rendered: chapters/03-linear-attention.qmd:3: an image from "
        "a file is not supported"
    ]


def test_what_is_wrong_with_the_book_is_listed(
    project: Path,
    render: Render,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damaged(copy: Path) -> list[str]:
        render(copy)
        book = copy / "_book"
        (book / "notebooks/05-sentiment.ipynb").unlink()
        path = book / "notebooks/04-vision-transformer.ipynb"
        path.write_text(path.read_text().replace("'ran'", f"'{copy}'"))
        write(copy / "_variables.yml", VARIABLES.replace("Ada", "Grace"))
        entries = json.loads((book / "answers.json").read_text())
        entries[1]["answer"] = " "
        entries[2]["pages"] = None
        write(book / "answers.json", json.dumps(entries[:-1]))
        return []

    monkeypatch.setattr(submission, "render", damaged)
    lines = faults(project, capsys)
    copy = lines[-2].split()[2]
    assert lines == [
        "question 2a has no answer in answers.json",
        "question 2b has no place in the PDF",
        "question Q4b has no answer in answers.json",
        "the first pages of the PDF do not have the author 'Grace Lovelace'",
        f"04-vision-transformer.ipynb names {copy} of this machine",
        "05-sentiment.ipynb is missing",
    ]


# The checks


def answers(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    entries = [{"question": q, "answer": "x", "pages": [1, 2]} for q in QUESTIONS]
    change(entries)
    write(folder / "answers.json", json.dumps(entries))
    return folder / "answers.json"


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda entries: entries, []),
        (lambda entries: entries.pop(3), ["question 2c has no answer in answers.json"]),
        (
            lambda entries: entries[16].update(answer=None),
            ["question Q4b has no answer in answers.json"],
        ),
        (
            lambda entries: entries[0].update(pages=[2, 4]),
            ["question 1 has no place in the PDF"],
        ),
        (
            lambda entries: entries[5].update(pages=[0, 1]),
            ["question 4 has no place in the PDF"],
        ),
        (
            lambda entries: entries.append({"question": "Q5a"}),
            ["the assignment has no question Q5a"],
        ),
    ],
)
def test_every_question_needs_an_answer_and_a_place(
    tmp_path: Path, change: Callable[[list[dict[str, Any]]], object], lines: list[str]
) -> None:
    assert checks.unanswered(answers(tmp_path, change), 3) == lines


def test_a_book_without_answers_is_refused(tmp_path: Path) -> None:
    assert checks.unanswered(tmp_path / "answers.json", 3) == [
        "the rendered book has no answers.json"
    ]


def drawn(path: Path, *pages: list[tuple[float, float, str]]) -> Path:
    """A PDF of A4 whose pages have texts, from points right and down of the corner."""
    with PdfPages(path) as pdf:
        for texts in pages:
            figure = Figure(figsize=SHEET)
            for right, down, text in texts:
                x, y = right / SHEET[0] / 72, 1 - down / SHEET[1] / 72
                figure.text(x, y, text, fontsize=10, va="baseline")
            pdf.savefig(figure)
    return path


LINE = (72.0, 400.0, "A line of the text.")
LEFT, TOP, RIGHT, BOTTOM = (
    f"page 2 of the PDF: what is drawn reaches {{}} mm beyond the text at the {side}"
    for side in ("left", "top", "right", "bottom")
)


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        ([LINE, (72.0, 40.0, "head"), (300.0, 810.0, "foot")], None),
        ([(72.0, 400.0, "A long line of code: " + "n" * 90)], RIGHT),
        ([(560.0, 400.0, "it runs off the paper")], RIGHT),
        ([LINE, (640.0, 400.0, "all beyond the paper")], RIGHT),
        ([(60.0, 400.0, "A wide table")], LEFT),
        ([(72.0, 770.0 + n, "A tall figure") for n in range(0, 40, 4)], BOTTOM),
        ([LINE, (300.0, 835.0, "a foot at the edge")], BOTTOM),
        ([LINE, (300.0, 860.0, "all beyond the paper")], BOTTOM),
        ([(72.0, 66.0, "It begins too high.")], TOP),
        ([], "page 2 of the PDF is blank"),
    ],
)
def test_what_reaches_beyond_the_text_is_found(
    tmp_path: Path, texts: list[tuple[float, float, str]], line: str | None
) -> None:
    pdf = drawn(tmp_path / "a.pdf", [LINE], texts, [LINE])
    found = checks.overflowing(pdf, MARGIN)
    if line is None:
        assert found == []
    else:
        (only,) = found
        start, _, end = line.partition("{}")
        assert only.startswith(start) and only.endswith(end)


def test_how_far_it_reaches_is_said(tmp_path: Path) -> None:
    pdf = drawn(tmp_path / "a.pdf", [(72.0 - 10 * 72 / 25.4, 400.0, "|")])
    (found,) = checks.overflowing(pdf, MARGIN)
    assert found == (
        "page 1 of the PDF: what is drawn reaches 10 mm beyond the text at the left"
    )


def test_the_book_has_no_overflow(book: Path) -> None:
    geometry = read_project(ROOT).format("pdf")["geometry"]
    paper = PdfReader(book / "report.pdf").pages[0].mediabox
    margins = checks.margins(geometry, float(paper.width), float(paper.height))
    assert margins.keys() == MARGIN.keys()
    assert checks.overflowing(book / "report.pdf", margins) == []


@pytest.mark.parametrize(
    ("geometry", "margins"),
    [
        (None, {}),
        (["margin=1in"], MARGIN),
        ("margin=2.54cm", MARGIN),
        (["hmargin=25.4mm", "top=72bp"], {"left": 72.0, "right": 72.0, "top": 72.0}),
        (["margin=1in,", "bottom = 2in", "heightrounded"], MARGIN | {"bottom": 144.0}),
        (["textwidth=456bp"], {"left": 72.0, "right": 72.0}),
        (["textheight=700bp"], {"top": 40.0, "bottom": 60.0}),
        (["textheight=700bp", "vmarginratio=3:1"], {"top": 75.0, "bottom": 25.0}),
    ],
)
def test_the_margins_are_those_of_the_project(
    geometry: Any, margins: dict[str, float]
) -> None:
    assert checks.margins(geometry, 600, 800) == pytest.approx(margins)


@pytest.mark.parametrize("option", ["left=5em", "textwidth=wide", "vmarginratio=2"])
def test_a_margin_that_is_not_understood_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"geometry has '{option}', expected as in"):
        checks.margins([option], 600, 800)


def cell(kind: str, source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": source.splitlines(True), **more}


@pytest.mark.parametrize(
    ("of", "line"),
    [
        (cell("code", "x", execution_count=2, outputs=[]), None),
        (cell("code", "", execution_count=None, outputs=[]), None),
        (cell("markdown", "![a](attachment:b.png) ![c](https://d.org/e.png)"), None),
        (cell("code", "x", execution_count=None, outputs=[]), ": cell 1 did not run"),
        (
            cell("code", "x", execution_count=1, outputs=[{"output_type": "error"}]),
            ": cell 1 failed",
        ),
        (cell("markdown", "![a](b/c.png)"), ": cell 1 needs the file b/c.png"),
        (cell("markdown", "in /home/ada/x"), " names /home/ada of this machine"),
    ],
)
def test_a_notebook_has_to_be_whole(
    tmp_path: Path, of: dict[str, Any], line: str | None
) -> None:
    path = tmp_path / "a.ipynb"
    assert checks.unfinished(path, []) == ["a.ipynb is missing"]
    path.write_text(json.dumps({"cells": [of]}))
    found = checks.unfinished(path, ["/home/ada"])
    assert found == ([] if line is None else [f"a.ipynb{line}"])


def test_code_that_is_not_all_there_does_not_predict(tmp_path: Path) -> None:
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as file:  # hw2 is installed here, and not in it
        file.writestr("code/other.py", "")
    said, (line,) = checks.predict(archive)
    assert said == "" and line.startswith("code.zip, unpacked: hw2 was imported from ")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code/hw2/__init__.py", "")
        file.writestr("code/hw2/data.py", DATA)
        file.writestr("code/hw2/vit.py", VIT)  # whose record is missing
    _, (line,) = checks.predict(archive)
    assert "No such file" in line


def test_what_gradescope_does_not_take_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(2_000_000))
    assert checks.too_large(tmp_path) == []
    monkeypatch.setattr(checks, "LIMIT", 1_000_000)
    assert checks.too_large(tmp_path) == [
        "the files together have 2 MB, Gradescope takes 1 MB"
    ]
