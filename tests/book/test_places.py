"""The pages of an answer, by the bookmarks and links of the PDF."""

import json
import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from book.checks import QUESTIONS
from book.places import Place, Places, Section, key, read
from conftest import words

# Chapters begin on top of a page, but for the last; a section may begin anywhere.
SECTIONS = [
    Section("Answers at a glance", 0, Place(1, 70)),
    Section("Problem 1", 0, Place(3, 70)),
    Section("Recurrence", 1, Place(3, 400)),
    Section("Closed form", 1, Place(5, 67)),
    Section("Proof", 2, Place(5, 500)),
    Section("Sharpness", 1, Place(6, 300)),
    Section("Problem 2", 0, Place(8, 70)),
    Section("Norms", 1, Place(8, 200)),
    Section("Copies", 1, Place(10, 300)),
    Section("References", 0, Place(12, 400)),
]
LINKS = {
    "Theorem 1.1": Place(5, 200),
    "Lemma 1.1": Place(6, 100),
    "Figure 1.1": Place(4, 100),
    "Sharpness": Place(6, 300),
    "Norms": Place(8, 200),
    "Copies": Place(10, 300),
    "Table A.1": Place(12, 500),
    "Preface": Place(1, 10),
}
BOOK = Places(SECTIONS, 13, list(LINKS.items()))


@pytest.mark.parametrize(
    ("links", "whole", "pages"),
    [
        (["Theorem 1.1"], True, (3, 7)),  # the next chapter begins on top of page 8
        (["Copies"], True, (8, 12)),  # and here below the end of this one
        (["Table A.1"], True, (12, 13)),
        (["Figure 1.1"], False, (3, 4)),  # "Closed form" begins on top of page 5
        (["Theorem 1.1"], False, (5, 6)),  # with its subsection
        (["Lemma 1.1"], False, (5, 6)),
        (["Sharpness"], False, (6, 7)),
        (["Norms"], False, (8, 10)),
        (["Figure 1.1", "Sharpness"], False, (3, 7)),
        (["Sharpness", "Figure 1.1"], False, (6, 7)),  # from the first link's section
        (["Norms", "Table A.1", "Theorem 1.1"], False, (8, 10)),  # of one chapter
    ],
)
def test_the_pages_of_an_answer(
    links: list[str], whole: bool, pages: tuple[int, int]
) -> None:
    assert BOOK.range([LINKS[words] for words in links], whole) == pages


def test_a_section_that_ends_where_it_begins_has_a_page() -> None:
    sections = [Section("A", 0, Place(1, 70)), Section("B", 0, Place(1, 75))]
    assert Places(sections, 2, []).range([Place(1, 72)], True) == (1, 1)


def test_a_place_before_the_chapters_is_an_error() -> None:
    with pytest.raises(ValueError, match="page 1 is in no chapter"):
        BOOK.range([Place(1, 10)], True)


def test_links_are_matched_in_order() -> None:
    one, two = Place(5, 200), Place(6, 100)
    links = [("Theorem", one), ("1.1", one), ("1.1,", two), ("Norms", one)]
    book = Places(SECTIONS, 13, links)  # broken over two lines, the number alone, whole
    assert book.matched(["Theorem 1.1", "Lemma 1.1", "Norms"]) == [one, two, one]
    for wrong in (["Norms"], ["Theorem 1.1", "Lemma 1.2"], ["Theorem 1.1"] * 2 + ["x"]):
        with pytest.raises(ValueError, match="the PDF has no link"):
            book.matched(wrong)
    with pytest.raises(ValueError, match=r"no link 'Theorem 1\.1'"):
        Places(SECTIONS, 13, [("Theorem", one), ("1.1", two)]).matched(["Theorem 1.1"])


def test_words_are_compared_by_what_both_formats_have() -> None:
    same = ["Definition 1.1", "De\ufb01nition\u00a01.1,", "Defi\u00ad\nnition 1.1 ("]
    assert len({key(text) for text in same}) == 1
    assert key("Table 1.1") != key("Table 1.11") and key("Table 1.1") != key("Table 11")


def test_every_question_has_its_pages(book: Path) -> None:
    """In the book: within the chapter of its problem, and in order."""
    entries = json.loads((book / "answers.json").read_text())
    assert [entry["question"] for entry in entries] == list(QUESTIONS)
    places = read(book / "report.pdf")
    chapters = [section for section in places.sections if section.level == 0]
    first = [c.title for c in chapters].index("Answers at a glance") + 1
    starts = [chapter.start.page for chapter in chapters[first : first + 6]]
    for problem in range(1, 6):
        pages = [entry["pages"] for entry in entries if entry["problem"] == problem]
        firsts = [start for start, _ in pages]
        assert firsts == sorted(firsts)
        for start, end in pages:
            assert starts[problem - 1] <= start <= end <= starts[problem]
    whole = {entry["question"]: entry["pages"] for entry in entries}
    for problem in (1, 3, 4):  # each of them ends where a problem begins a page
        assert whole[str(problem)] == [starts[problem - 1], starts[problem] - 1]


def test_the_pages_have_what_the_answer_refers_to(book: Path) -> None:
    text = [
        words(sheet.extract_text()) for sheet in PdfReader(book / "report.pdf").pages
    ]
    for entry in json.loads((book / "answers.json").read_text()):
        start, end = entry["pages"]
        assert start <= entry["page"] <= end
        if re.fullmatch(r"Q\d[a-d]", entry["question"]):
            shown = " ".join(text[start - 1 : end])
            assert f"{entry['question']} " in shown, entry["question"]
