"""The book itself, rendered from the sources with the real data that is at hand."""

import json
import re
from pathlib import Path

import pytest
from bs4 import Tag
from pypdf import PdfReader

from book.variables import read
from conftest import (
    ROOT,
    bookmarks,
    fonts,
    lost_links,
    open_links,
    page,
    pdf_text,
    pictures,
    remote_requests,
    words,
)
from hw2 import sentiment, vit
from hw2.runs import RUNS
from portable.project import read_project

PROBLEMS = {
    "1": "01-recurrence",
    "2": "02-attention",
    "3": "03-linear-attention",
    "4": "04-vision-transformer",
    "5": "05-sentiment",
}
QUESTIONS = [
    *("1", "2a", "2b", "2c", "3", "4"),
    *("Q1a", "Q1b", "Q2a", "Q2b", "Q2c", "Q3a", "Q3b", "Q3c", "Q3d", "Q4a", "Q4b"),
]


@pytest.fixture(scope="module")
def pdf(book: Path) -> PdfReader:
    return PdfReader(book / "report.pdf")


@pytest.fixture(scope="module")
def text(pdf: PdfReader) -> str:
    return pdf_text(pdf)


def test_every_source_has_a_page_and_a_notebook(book: Path) -> None:
    for source in read_project(ROOT).sources:
        path = Path(source)
        assert (book / path.with_suffix(".html")).is_file()
        assert (book / "notebooks" / f"{path.stem}.ipynb").is_file()


def test_nothing_is_unresolved(book: Path, pdf: PdfReader, text: str) -> None:
    assert lost_links(book) == []
    count, lost = open_links(pdf)
    assert count > 50 and lost == []
    for path in book.rglob("*.html"):
        assert not re.search(r"\?@|\?\?|\{\{<|`\{python\}", page(path).get_text()), path
    assert not re.search(r"\?@|\?\?|\{\{<|`\{python\}", text)


def test_every_question_is_answered_at_a_glance(book: Path, text: str) -> None:
    report = page(book / "report.html")
    rows = {}
    for row in report.select("tbody tr"):
        cells = row.find_all("td")
        rows[words(cells[0].get_text())] = cells
    assert list(rows) == QUESTIONS
    for question, cells in rows.items():
        assert len(words(cells[-2].get_text())) > 5, f"{question} has no answer"
        assert cells[-1].select("a.ref, a"), f"{question} leads nowhere"
    assert "Answers at a glance" in text


def test_the_points_of_the_assignment_are_all_there(book: Path) -> None:
    headings = [
        words(head.get_text()) for head in page(book / "report.html").select("h2")
    ]
    points = [int(p) for head in headings for p in re.findall(r"\((\d) points", head)]
    assert points == [3, 3, 2, 3, 4]


@pytest.mark.parametrize(("problem", "stem"), PROBLEMS.items())
def test_a_chapter_opens_with_question_and_answer(
    book: Path, problem: str, stem: str
) -> None:
    main = page(book / f"chapters/{stem}.html").select_one("main")
    assert main
    quotes = main.find_all("blockquote")
    start = words(main.get_text())
    assert start.startswith(problem)  # the chapter has the number of its problem
    assert "Question. (" in start[:200]
    assert words(quotes[0].get_text()).startswith("Answer. ")


def test_the_notebook_items_of_problem_5_stand_in_order(book: Path) -> None:
    chapter = page(book / "chapters/05-sentiment.html")
    headings = " ".join(words(h.get_text()) for h in chapter.select("h2, h3"))
    found = re.findall(r"Q\d[a-d]", headings)
    assert list(dict.fromkeys(found)) == [q for q in QUESTIONS if q.startswith("Q")]


def test_no_cell_complains_on_the_page(book: Path, text: str) -> None:
    for path in book.rglob("*.html"):
        assert not page(path).select("pre.stderr"), path
    assert "Warning" not in text and "Traceback" not in text


def test_a_citation_is_told_apart_by_author_and_year(book: Path) -> None:
    """A letter after the year is the same in all formats only within one chapter."""
    cited = [
        c.get_text() for p in book.rglob("*.html") for c in page(p)(class_="citation")
    ]
    assert len(cited) > 30
    assert [text for text in cited if re.search(r"\d{4}[a-z]", text)] == []


def test_every_figure_has_a_caption_and_a_description(book: Path) -> None:
    count = 0
    for path in (book / "chapters").glob("*.html"):
        for image in page(path).select("main img"):
            count += 1
            assert len(str(image.get("alt"))) > 20, f"{path.name}: {image.get('src')}"
            figure = image.find_parent("figure")
            assert figure, f"{path.name}: {image.get('src')} has no caption"
    assert count >= 8


def test_nothing_is_asked_of_another_machine(book: Path) -> None:
    assert remote_requests(book) == []


def test_the_pdf_is_whole(pdf: PdfReader, text: str) -> None:
    assert len(pdf.pages) > 20
    found = fonts(pdf)
    assert found and all(found.values()), found
    marks = " ".join(bookmarks(pdf))
    for path in read_project(ROOT).sources[1:]:  # of the first, the PDF has no heading
        first = (ROOT / path).read_text().splitlines()[0]
        title = re.sub(r"^# | \{.*\}$", "", first)
        assert title in marks, title
    forms = [
        item
        for sheet in pdf.pages
        for item in pictures(sheet)
        if item["/Subtype"] == "/Form"
    ]
    assert len(forms) >= 8, "the figures are not vectors"


def test_the_student_is_named(book: Path, text: str) -> None:
    about = read(ROOT)
    names = about.collaborators or ("Collaborators: none",)
    for name in (about.author, about.netid, about.course, *names):
        assert name in text
        assert name in page(book / "index.html").get_text()
    (author,) = page(book / "index.html").select("meta[name=author]")
    assert author["content"] == about.author


def test_no_heading_is_left_at_the_foot_of_a_page(book: Path, pdf: PdfReader) -> None:
    headings = {
        words(heading.get_text())
        for path in book.rglob("*.html")
        for heading in page(path).select("main h1, main h2, main h3")
    }
    found = set()
    for number, sheet in enumerate(pdf.pages, start=1):
        lines = [words(line) for line in sheet.extract_text().splitlines()]
        if lines[-1:] == [str(number)]:
            lines.pop()
        assert not lines or lines[-1] not in headings, f"page {number}: {lines[-1]}"
        found |= headings.intersection(lines)
    assert len(found) > 30, "the headings are not recognised in the PDF"


def test_the_answers_are_there_for_machines(book: Path, pdf: PdfReader) -> None:
    entries = json.loads((book / "answers.json").read_text())
    assert [entry["question"] for entry in entries] == QUESTIONS
    points = {entry["problem"]: entry["problem_points"] for entry in entries}
    assert points == {1: 3, 2: 3, 3: 2, 4: 3, 5: 4}
    own = [entry["points"] for entry in entries if entry["problem"] < 5]
    assert own == [3, 0.5, 2, 0.5, 2, 3]
    # What follows the formulas, whose text differs from one format to the other.
    text = {n: words(sheet.extract_text()) for n, sheet in enumerate(pdf.pages, 1)}
    for entry in entries:
        file, _, anchor = entry["anchor"].partition("#")
        place = page(book / file).find(id=anchor)
        assert isinstance(place, Tag), entry["anchor"]
        heading = place.select_one("h2, h3")
        title = words((heading or place).get_text())
        if not heading:
            kinds = "Theorem|Lemma|Corollary|Proposition|Table"
            (title, *_) = re.findall(rf"\b(?:{kinds}) \d[.]\d", title)
        assert title in text[entry["page"]], entry["question"]
        assert set(entry["records"]) <= set(RUNS)
    rests = {entry["question"]: entry["records"] for entry in entries}
    assert rests["1"] == rests["2a"] == rests["Q2b"] == []
    assert rests["3"] == ["linear-attention"] and rests["4"] == [
        "vit-small",
        "dense",
        "dense-plain",
    ]
    assert rests["Q3d"] == [
        "sentiment-notebook",
        "sentiment-frozen",
        "sentiment-finetuned",
        "sentiment-tfidf",
    ]
    values = {entry["question"]: entry["answer"] for entry in entries}
    assert "$h_T = \\sum_{k=1}^{T}" in values["1"]
    assert values["Q2b"].startswith("112,241,409 trainable parameters")


def test_what_is_shown_of_a_run_says_so(book: Path) -> None:
    """Under each recorded figure and table stands a line that leads to the records."""
    notes: dict[str, list[str]] = {}
    for path in sorted(book.rglob("*.html")):
        for line in page(path).select(".record"):
            text = words(line.get_text())
            link = line.find("a")
            assert link and str(link["href"]).endswith("#tbl-records"), text
            assert re.match(
                r"Run \S+ of \d{4}-\d\d-\d\d, (?:seeds? [\d to]+|no seed), Table",
                text,
            )
            above = line.find_previous(id=re.compile("^(fig|tbl)-"))
            label = above["id"] if isinstance(above, Tag) else path.name
            notes.setdefault(str(label), []).append(text.split()[1])
    assert {label: " ".join(runs) for label, runs in notes.items()} == {
        "fig-bracketings": "linear-attention",  # of its widget
        "fig-times": "linear-attention",
        "tbl-growth": "linear-attention",
        "tbl-peers-attention": "peers",
        "fig-vit-curves": " ".join(vit.RUNS),
        "tbl-peers-steps": "peers",
        "tbl-vit-results": " ".join(vit.RUNS),
        "tbl-vit-ablation": "vit-ablation",
        "fig-vit-confusion": "vit-small",
        "fig-vit-wrong": "vit-small",
        "fig-vit-calibration": "vit-small dense dense-smoothed",
        "fig-vit-rollout": "vit-small",
        "fig-vit-positions": "vit-small",
        "fig-vit-moved": "vit-small dense dense-plain",
        # after it Q1b, Q3b and Q3c, printed
        "tbl-sentiment-setup": " ".join(["sentiment-notebook"] * 3),
        "tbl-sentiment-epochs": "sentiment-notebook",
        "tbl-sentiment-confusion": "sentiment-notebook sentiment-finetuned",
        # after it, as after fig-sentiment-padding, its widget
        "fig-sentiment-occlusion": (
            "sentiment-finetuned sentiment-notebook sentiment-frozen"
        ),
        "tbl-sentiment-results": " ".join([*sentiment.RUNS, "sentiment-tfidf"]),
        # after it what the text says of three studies
        "fig-sentiment-curves": " ".join(
            [*sentiment.RUNS, "sentiment-data", "sentiment-padding", "sentiment-gap"]
        ),
        "fig-sentiment-lengths": "sentiment-data",
        "tbl-sentiment-padding": "sentiment-padding",
        "fig-sentiment-padding": "sentiment-padding sentiment-notebook",
        "tbl-sentiment-gap": "sentiment-notebook sentiment-gap",
        "tbl-sentiment-search": "sentiment-search",
        "tbl-sentiment-search-finetuned": "sentiment-search-finetuned",
        "fig-sentiment-calibration": " ".join(sentiment.RUNS),
        "tbl-sentiment-errors": "sentiment-finetuned",
        "fig-sentiment-occlusion-given": "sentiment-finetuned",
        "tbl-sentiment-negation": " ".join([*sentiment.RUNS, "sentiment-tfidf"]),
        "tbl-sentiment-speed": "sentiment-speed",
    }


def test_the_appendix_lists_every_record(book: Path) -> None:
    appendix = page(book / "chapters/a-reproduction.html")
    for table in ("tbl-records", "tbl-scores", "tbl-provenance"):
        (element,) = appendix.select(f"#{table}")
        rows = [words(row.get_text()) for row in element.select("tbody tr")]
        assert [row.split()[0] for row in rows] == list(RUNS)
