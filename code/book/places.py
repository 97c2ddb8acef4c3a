"""Where in the PDF of the book the answers stand, read back from the finished file.

The links of the page "Answers at a glance" lead to places, and the bookmarks say in
which sections these are. A link is found by its place among the others, and by the
words that it stands on.
"""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pypdfium2
from pypdf import PdfReader
from pypdf.generic import Destination

ANSWERS = "Answers at a glance"
AT_TOP = 8.0  # points below the book's highest bookmark, where no line fits above


class Place(NamedTuple):
    """A page, counted from 1, and how far down on it in points."""

    page: int
    down: float


class Section(NamedTuple):
    """A bookmark; chapters have the level 0."""

    title: str
    level: int
    start: Place


class Places(NamedTuple):
    """The sections of a PDF, its pages, and where the links of the answers lead.

    ``links`` has the words of each link and the place, in the order of the PDF.
    """

    sections: list[Section]
    pages: int
    links: list[tuple[str, Place]]

    def matched(self, links: list[str]) -> list[Place]:
        """The places that links with these words lead to, in their order.

        A link of the PDF may have the end of the words alone, as Quarto's has the
        number of a theorem, and one that is broken over two lines stands there twice.
        Raises ``ValueError`` where the links of the PDF are others.
        """
        found, rest = [], iter(self.links)
        for words in links:
            text, place = next(rest, ("", None))
            while place and not key(words).endswith(key(text)):
                more, same = next(rest, ("", None))
                text, place = text + more, place if same == place else None
            if not place or not key(text):
                raise ValueError(f"the PDF has no link {words!r} where HTML has it")
            found.append(place)
        return found

    def range(self, places: list[Place], whole: bool) -> tuple[int, int]:
        """The first and the last page of an answer, whose links lead to ``places``.

        An answer to a whole problem has the pages of the chapter of its first link. Any
        other begins with the section of its first link, and ends with the last section
        of the chapter that a link leads to. Raises ``ValueError`` for a place before
        the first chapter.
        """
        chapter = self._around(places[0], 0)
        first = chapter if whole else self._around(places[0], 9)
        inside = [self._around(place, 9) for place in places]
        start, end = self.sections[chapter].start.page, self._last_page(chapter)
        if not whole:
            start = self.sections[first].start.page
            ends = [
                self._last_page(section)
                for place, section in zip(places, inside, strict=True)
                if self._around(place, 0) == chapter
            ]
            end = min(end, max(ends))
        return start, end

    def _around(self, place: Place, deepest: int) -> int:
        """The index of the last section, no deeper than a level, that begins before."""
        before = [
            index
            for index, section in enumerate(self.sections)
            if section.level <= deepest and section.start <= place
        ]
        if not before:
            raise ValueError(f"page {place.page} is in no chapter of the PDF")
        return before[-1]

    def _last_page(self, index: int) -> int:
        """The page where a section ends, which the next may begin on."""
        level = self.sections[index].level
        for after in self.sections[index + 1 :]:
            if after.level <= level:
                page, down = after.start
                at_top = down <= self._top + AT_TOP
                return max(page - at_top, self.sections[index].start.page)
        return self.pages

    @property
    def _top(self) -> float:
        return min(section.start.down for section in self.sections)


def read(pdf: Path) -> Places:
    """The sections of a PDF, and where the links of its answers lead.

    Raises ``ValueError`` where it has no chapter "Answers at a glance".
    """
    reader = PdfReader(pdf)
    sections = list(_sections(reader, reader.outline, 0))
    chapters = [section for section in sections if section.level == 0]
    titles = [section.title for section in chapters]
    if ANSWERS not in titles:
        raise ValueError(f"{pdf.name} has no bookmark {ANSWERS!r}")
    index = titles.index(ANSWERS)
    first, last = chapters[index].start.page, len(reader.pages)
    if index + 1 < len(chapters):
        last = chapters[index + 1].start.page
    links = list(_links(reader, pdf, range(first, last + 1)))
    return Places(sections, len(reader.pages), links)


def key(words: str) -> str:
    """Words without what may differ from one format to the other, or stand beside."""
    return re.sub(r"[^\w.]", "", unicodedata.normalize("NFKC", words)).strip(".")


def _sections(reader: PdfReader, items: list[Any], level: int) -> Iterator[Section]:
    for item in items:
        if isinstance(item, list):
            yield from _sections(reader, item, level + 1)
        else:
            title = re.sub(r"\s+", " ", str(item.title)).strip()
            yield Section(title, level, _place(reader, item))


def _place(reader: PdfReader, destination: Destination) -> Place:
    number = reader.get_destination_page_number(destination)
    if number is None:
        raise ValueError(f"{destination.title} leads to no page of the PDF")
    height = float(reader.pages[number].mediabox.top)
    top = destination.get("/Top")
    return Place(number + 1, height - float(top) if isinstance(top, float) else 0.0)


def _links(reader: PdfReader, pdf: Path, pages: range) -> Iterator[tuple[str, Place]]:
    """The words of each link within the PDF, and the place that it leads to.

    A link that is broken over two lines has two areas, one after the other.
    """
    with pypdfium2.PdfDocument(pdf) as document:
        for page in pages:
            text = document[page - 1].get_textpage()
            for annotation in reader.pages[page - 1].get("/Annots", []):
                action = annotation.get_object().get("/A", {}).get_object()
                name = action.get("/D") if action.get("/S") == "/GoTo" else None
                if name not in reader.named_destinations:
                    continue
                place = _place(reader, reader.named_destinations[name])
                left, bottom, right, top = map(float, annotation.get_object()["/Rect"])
                # TeX draws the area of a link a point larger than the words.
                words = text.get_text_bounded(left + 1, bottom + 1, right - 1, top - 1)
                yield words, place
