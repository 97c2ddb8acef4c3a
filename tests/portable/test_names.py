"""The same name in several chapters; names and headings that are not plain words."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from conftest import bookmarks, open_links, page, pdf_text, pictures, words
from portable import RenderError
from portable.book import render
from portable.project import FIXED, read_project

CHAPTERS = [
    "index.qmd",
    "chapters/a/intro.qmd",
    "chapters/b/intro.qmd",
    "with space/ünï & 1.qmd",
    "last.qmd",
]
QUARTO_YML = f"""\
project: {{type: book, output-dir: _book, execute-dir: project}}
book:
  title: Names
  output-file: names
  chapters: {json.dumps(CHAPTERS, ensure_ascii=False)}
  appendices: [more/intro.qmd]
format:
  html: {{html-math-method: mathml, fig-format: svg}}
  pdf:
    documentclass: scrreprt
    pdf-engine: lualatex
    fig-format: pdf
    fig-pos: "{FIXED["format", "pdf", "fig-pos"]}"
"""
TEXTS = {
    "index.qmd": r"""# Preface {.unnumbered}

[a](chapters/a/intro.qmd), [b](chapters/b/intro.qmd), [c](more/intro.qmd),
[b2](chapters/b/intro.qmd#question), [root](/chapters/b/intro.qmd#question),
[auto](chapters/a/intro.qmd#question-1), [self](#same-page),
[u](with%20space/ünï%20&%201.qmd#überblick-und-mehr),
[v](<with space/ünï & 1.qmd#%C3%BCberblick-und-mehr>).

## Same page

Text[^1], and [link].

[^1]: Foot of index.

[link]: https://index.example

(@good) First example.
(@) Second.

As (@good).
""",
    "chapters/a/intro.qmd": r"""# Introduction

Text[^1], and [link]. As @thm-a, -@thm-a, [@thm-a; @thm-c], [Claim @thm-a], [-@thm-a].
@Thm-a begins. [other](../b/intro.qmd#question), [deep](../../last.qmd),
[formula](../b/intro.qmd#eq-x_y.ä).

[^1]: Foot of a.

    Second paragraph, with $x^2$.

[link]: https://a.example

## Question

::: {#thm-a name="On $[0, 1]$ & \"quotes\""}
Words of a.

> Nested.
:::

::: {#thm-c name='It is "c"'}
Words of c.
:::

## Question

(@good) First of another chapter.

- a list
- of two
""",
    "chapters/b/intro.qmd": r"""# Introduction

Text[^1], and [link]. [own](#question), [up](../a/intro.qmd#question).

[^1]: Foot of b.

[link]: https://b.example

## Question

::: {#thm-ä_1}
Words of b.
:::

$$
x = 1
$$ {#eq-x_y.ä}

By @thm-ä_1, @eq-x_y.ä and @sec-my_id.x.

## Explicit {#sec-my_id.x}

[Here](#sec-my_id.x).
""",
    "with space/ünï & 1.qmd": r"""
# Übung `a<b` $x^2$ A < B & *em* "q" [site](https://x.y) ^[Note.] {#sec-u}

## Überblick und mehr

See @sec-u. [a](../chapters/a/intro.qmd#question)

## $x_1$

## 1. `code` of [a link](#sec-u) & more^[Another.] {#sec-code}

As @sec-code.
""",
    "last.qmd": r"""# Last

End[^a].

[^a]: Foot of last.

```python
# A comment that is no heading
```
""",
    "more/intro.qmd": r"""# Introduction

## Question

[own](#question), [other](../chapters/a/intro.qmd#question)
""",
}


def write_book(root: Path, texts: dict[str, str] = TEXTS) -> Path:
    (root / "_quarto.yml").write_text(QUARTO_YML)
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def small(root: Path, texts: dict[str, str], appendices: str = "[]") -> Path:
    """A book of other chapters, which stand in the order of ``texts``."""
    chapters = json.dumps([*texts], ensure_ascii=False)
    options = re.sub("chapters: .*", f"chapters: {chapters}", QUARTO_YML, count=1)
    options = options.replace("[more/intro.qmd]", appendices)
    write_book(root, texts)
    (root / "_quarto.yml").write_text(options)
    return root


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_book(tmp_path_factory.mktemp("names"))
    render(root)
    return root / "_book"


def links(path: Path) -> dict[str, str]:
    found = page(path).select("main p a:not([role])")
    return {link.get_text(): unquote(str(link["href"])) for link in found}


def test_links_lead_to_the_page_that_they_name(book: Path) -> None:
    home = links(book / "index.html")
    assert home == {
        "a": "chapters/a/intro.html#introduction",
        "b": "chapters/b/intro.html#introduction",
        "c": "more/intro.html#introduction",
        "b2": "chapters/b/intro.html#question",
        "root": "chapters/b/intro.html#question",
        "auto": "chapters/a/intro.html#question-1",
        "self": "#same-page",
        "u": "with space/ünï & 1.html#überblick-und-mehr",
        "v": "with space/ünï & 1.html#überblick-und-mehr",
        "link": "https://index.example",
    }
    one, two = (links(book / f"chapters/{of}/intro.html") for of in "ab")
    assert one["other"] == "../b/intro.html#question"
    assert one["deep"] == "../../last.html#last"
    assert one["formula"] == "../b/intro.html#eq-x_y.ä"
    assert one["link"] == "https://a.example"
    assert two["own"] == "#question" and two["up"] == "../a/intro.html#question"
    assert two["link"] == "https://b.example"
    assert links(book / "more/intro.html")["own"] == "#question"


def test_every_link_leads_to_a_file(book: Path) -> None:
    for path in book.rglob("*.html"):
        for link in page(path).select("a[href]"):
            name = unquote(str(link["href"]).partition("#")[0])
            if name and not name.startswith("https:"):
                assert (path.parent / name).is_file(), (path, name)


def test_links_in_the_pdf_lead_to_their_place(book: Path) -> None:
    reader = PdfReader(book / "names.pdf")
    count, lost = open_links(reader)
    assert count > 20 and lost == []
    chapters = [item for item in reader.outline if not isinstance(item, list)]
    starts = [reader.get_destination_page_number(item) or 0 for item in chapters]
    titles = [str(item.title).split()[0] for item in chapters]
    same = "Introduction"
    assert titles == ["Preface", same, same, "Übung", "Last", same]
    preface, a, b, space, _, more = starts
    actions = [of.get_object()["/A"] for of in reader.pages[preface].annotations or []]
    led = [
        reader.get_destination_page_number(reader.named_destinations[str(of["/D"])])
        for of in actions
        if "/D" in of
    ]
    assert led[:9] == [a, b, more, b, b, a, preface, space, space]


def test_footnotes_and_links_are_those_of_the_chapter(book: Path) -> None:
    for name, foot in (
        ("index", "Foot of index."),
        ("chapters/a/intro", "Foot of a. Second paragraph, with x2."),
        ("chapters/b/intro", "Foot of b."),
        ("last", "Foot of last."),
    ):
        (note,) = page(book / f"{name}.html").select("#footnotes li")
        assert said(note).removesuffix("↩︎") == foot
    text = pdf_text(PdfReader(book / "names.pdf"))
    for foot in ("Foot of index.", "Foot of a. Second", "Foot of b.", "Foot of last."):
        assert text.count(foot) == 1


def test_examples_are_counted_in_each_chapter(book: Path) -> None:
    """As on Quarto's pages; in its PDF they go on, and (@good) is the last of two."""
    text = pdf_text(PdfReader(book / "names.pdf"))
    assert "(1) First example. (2) Second. As (1)." in text
    assert "(1) First of another chapter." in text


def test_theorems_are_named_as_typed(book: Path) -> None:
    titles = [said(of) for of in page(book / "chapters/a/intro.html").select(TITLES)]
    assert titles == ["Theorem 1.1 (On [0,1] & “quotes”)", "Theorem 1.2 (It is “c”)"]
    text = pdf_text(PdfReader(book / "names.pdf"))
    assert "Theorem 1.1 (On [0, 1] & “quotes”). Words of a." in text
    assert "Theorem 1.2 (It is “c”). Words of c." in text


REFERENCES = (
    "As Theorem 1.1, 1.1, Theorem 1.1, Theorem 1.2, Claim 1.1, 1.1. Theorem 1.1 begins."
)
TITLES = ".theorem-title"


def test_references_in_all_their_forms(book: Path) -> None:
    text = pdf_text(PdfReader(book / "names.pdf"))
    for shown in (said(page(book / "chapters/a/intro.html").select("main")[0]), text):
        assert REFERENCES in shown
    for shown in (said(page(book / "chapters/b/intro.html").select("main")[0]), text):
        assert "By Theorem 2.1, Equation 2.1 and Section 2.2." in shown


HEADING = "Übung a<b x2 A < B & em “q” site"


def test_headings_keep_all_that_they_have_in_menus(book: Path) -> None:
    soup = page(book / "with space/ünï & 1.html")
    assert soup.title and soup.title.string == (
        f"{HEADING.replace('x2', 'x^2')} – Names"
    )
    (here,) = soup.select('nav.chapters [aria-current="page"]')
    assert said(here) == HEADING
    assert [tag.name for tag in here.find_all(["code", "math", "em", "a"])] == [
        "code",
        "math",
        "em",
    ]
    contents = [said(of) for of in soup.select("nav.contents li li a")]
    assert contents == [
        "3.1 Überblick und mehr",
        "3.2 x1",
        "3.3 1. code of a link & more",
    ]
    (turn,) = page(book / "last.html").select('a[rel="prev"]')
    assert said(turn) == f"← {HEADING}"
    titles = bookmarks(PdfReader(book / "names.pdf"))
    assert any(title.startswith("Übung a<b x2 A < B & em") for title in titles)


def test_notebooks_have_names_of_their_own(book: Path) -> None:
    names = {path.stem for path in (book / "notebooks").iterdir()}
    same = {"chapters-a-intro", "chapters-b-intro", "more-intro"}
    assert names == {"index", "last", "ünï & 1"} | same
    for name in ("a", "b"):
        text = (book / f"notebooks/chapters-{name}-intro.ipynb").read_text()
        assert f"Words of {name}." in text
        (link,) = page(book / f"chapters/{name}/intro.html").select("a[download]")
        assert link["href"] == f"../../notebooks/chapters-{name}-intro.ipynb"


def test_figures_of_the_same_line_are_two(tmp_path: Path) -> None:
    cell = (
        "```{python}\nimport matplotlib.pyplot as plt\n"
        "plt.plot(NAME)\nplt.show()\n```\n"
    )
    texts = {
        "index.qmd": "# Preface\n",
        "a/intro.qmd": "# A\n\n" + cell.replace("NAME", "[1, 2]"),
        "b/intro.qmd": "# B\n\n" + cell.replace("NAME", "[2, 1]"),
    }
    root = small(tmp_path, texts)
    render(root, ["html", "pdf"])
    drawn = []
    for name in ("a", "b"):
        (image,) = page(root / f"_book/{name}/intro.html").select("img")
        drawn.append((root / "_book" / name / str(image["src"])).read_bytes())
    assert drawn[0] != drawn[1]
    sheets = PdfReader(root / "_book/names.pdf").pages
    one, other = (form.get_data() for sheet in sheets for form in pictures(sheet))
    assert one != other


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        ("$$ x", "$$ x"),
        ("- a list\n- of two", "a list of two"),
        ("> quoted", "quoted"),
        ("[a]: https://a.example", ""),
        ("**open `", "**open `"),
        ("Term\n\n:   Definition", "Term Definition"),
        ("| a |\n|---|\n| 1 |", "a 1"),
    ],
)
def test_what_a_chapter_leaves_open_ends_with_it(
    tmp_path: Path, left: str, shown: str
) -> None:
    texts = {
        "index.qmd": f"# A\n\n{left}\n",
        "b.qmd": "# B\n\n    code -->\n\n[a] $$\n",
    }
    root = small(tmp_path, texts)
    render(root, ["html"])
    one, two = (page(root / f"_book/{name}.html") for name in ("index", "b"))
    for nav in one.select("nav, .title"):
        nav.decompose()
    assert words(one.select("main")[0].get_text()) == f"1 A {shown}".strip()
    assert [of.get_text() for of in two.select("pre")] == ["code -->"]
    assert words(two.select("main p")[0].get_text()) == "[a] $$"


# What is refused

GIVEN = """```{python}
from IPython.display import Markdown
Markdown("x\\n\\n---\\ntitle: Other\\n---\\n\\ny")
```"""


@pytest.mark.parametrize(
    ("chapters", "message"),
    [
        (
            "[index.qmd, {part: Two, chapters: [a.qmd]}]",
            r"_quarto\.yml:5: chapter {chapters: \[a\.qmd\], part: Two} is not a",
        ),
        (
            "[index.qmd, {text: A, href: a.qmd}]",
            r"yml:5: chapter {href: a\.qmd, text: A}",
        ),
        ("[index.qmd, 'a b.md']", r"yml:5: chapter a b\.md is not supported: no \.qmd"),
        ("[index.qmd, a.ipynb]", r"yml:5: chapter a\.ipynb is not supported"),
        ("[index.qmd, ../a.qmd]", r"yml:5: chapter \.\./a\.qmd is outside the book's"),
        ("[index.qmd, x/../../a.qmd]", r"yml:5: chapter x/../../a\.qmd is outside"),
        ("[index.qmd, /a.qmd]", r"yml:5: chapter /a\.qmd is outside"),
        ("[index.qmd, a.qmd, ./a.qmd]", r"yml:5: chapter \./a\.qmd is there twice"),
        ("[index.qmd, none.qmd]", r"_quarto\.yml: chapter none\.qmd does not exist"),
        (
            "[index.qmd, b.qmd]",
            r"_quarto\.yml: b\.qmd is both a chapter and an appendix",
        ),
        ("index.qmd", r"yml:5: book\.chapters is index\.qmd, expected a list of files"),
        ("{a: b}", r"yml:5: book\.chapters is {a: b}, expected a list of files"),
        ("[a.qmd]", r"a book needs index\.qmd among its chapters"),
        (
            "[index.qmd, x/y/z.qmd, y/z.qmd, x-y/z.qmd]",
            "two chapters differ only in a / and a -",
        ),
    ],
)
def test_lists_of_chapters(tmp_path: Path, chapters: str, message: str) -> None:
    for name in ("index", "a", "b", "x/y/z", "y/z", "x-y/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.qmd").write_text("# A\n")
    options = re.sub(
        "chapters: .*", lambda _: f"chapters: {chapters}", QUARTO_YML, count=1
    )
    (tmp_path / "_quarto.yml").write_text(options.replace("more/intro", "b"))
    with pytest.raises(RenderError, match=message):
        read_project(tmp_path)


@pytest.mark.parametrize("name", ["_quarto.yml.local", "c/_metadata.yml"])
def test_other_files_of_options_are_refused(tmp_path: Path, name: str) -> None:
    root = small(tmp_path, {"index.qmd": "# A\n", "c/b.qmd": "# B\n"})
    assert read_project(root).sources
    (root / name).write_text("lang: en\n")
    with pytest.raises(RenderError, match=f"^{re.escape(name)} is not supported by"):
        read_project(root)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["x\n\n[a](c/b.qmd#none)"],
            r"index\.qmd:5: no place for the link to c/b\.qmd#n",
        ),
        (["[a](b.qmd)"], r"index\.qmd:3: no place for the link to b\.qmd"),
        (["x", "[a](b.qmd#x)"], r"c/b\.qmd:3: no place for the link to b\.qmd#x"),
        (["[a](#none)"], r"index\.qmd:3: no place for the link to #none"),
        (["[a](#s)", "## S", "## S"], r"index\.qmd:3: .* #s may lead to several pages"),
        (
            ["## S {#sec-s}", "x\n\n## T {#sec-s}"],
            r"c/b\.qmd:5: label sec-s is used twice",
        ),
        (["`<b>`", "x <b>y</b>"], r"c/b\.qmd:3: raw html is not supported: <b>"),
        (["See\n@sec-none."], r"index\.qmd:4: unresolved reference @sec-none"),
        (["x", "[see @thm-none]"], r"c/b\.qmd:3: unresolved reference @thm-none"),
        (
            ["x[^1]\n\n[^1]: a\n\n[^1]: b"],
            r"index\.qmd:7: Duplicate note reference '1'",
        ),
        (
            ["x", "[a]: b\n\n[a]: c\n\n[a]"],
            r"c/b\.qmd:5: Duplicate link reference '\[a",
        ),
        (["x", GIVEN], r"c/b\.qmd:5: metadata is not supported: title"),
        (["<!-- open"], r"index\.qmd:3: the comment is not closed"),
        (["[^1]: A note"], r"index\.qmd:3: Note with key '1' defined but not used"),
        (
            ["x", "y\n\n# Second *x*\n"],
            r"c/b\.qmd:5: a second chapter in the file: Second",
        ),
        (
            ["# A\n\n> # Quoted\n"],
            r"index\.qmd:3: a second chapter in the file: Quoted",
        ),
    ],
)
def test_places_are_named(tmp_path: Path, texts: list[str], message: str) -> None:
    names = ["index.qmd", "c/b.qmd", "d.qmd"]
    chapters = {
        name: text if text.startswith("# ") else f"# C\n\n{text}\n"
        for name, text in zip(names, texts, strict=False)
    }
    with pytest.raises(RenderError, match=message):
        render(small(tmp_path, chapters), ["html"])


@pytest.mark.parametrize("text", ["Text.\n\n# A\n", "No heading.\n", "## A\n\nText.\n"])
def test_a_chapter_begins_with_its_heading(tmp_path: Path, text: str) -> None:
    """Quarto's pages put the heading first, and its PDF has it where it is typed."""
    with pytest.raises(RenderError, match=r"b\.qmd:1: the chapter does not begin with"):
        render(small(tmp_path, {"index.qmd": "# A\n", "b.qmd": text}), ["html"])


def test_a_cell_that_shows_nothing_may_stand_before_the_heading(tmp_path: Path) -> None:
    cell = "<!-- for all -->\n\n```{python}\n#| include: false\nx = 1\n```\n\n"
    root = small(tmp_path, {"index.qmd": "# A\n", "b.qmd": f"{cell}# B\n"})
    render(root, ["html"])
    assert said(page(root / "_book/b.html").select("h1")[0]) == "2 B"


def test_a_leading_dot_names_the_same_file(tmp_path: Path) -> None:
    """Quarto 1.10 leaves out the numbers on such a page, but not in its PDF."""
    root = small(
        tmp_path, {"index.qmd": "# A\n", "./b.qmd": "# B {#sec-b}\n\n@sec-b\n"}
    )
    assert read_project(root).sources == ["index.qmd", "b.qmd"]
    render(root, ["html"])
    assert "2 B Chapter 2" in said(page(root / "_book/b.html").select("main")[0])


def test_a_name_may_have_marks_that_an_address_may_not(tmp_path: Path) -> None:
    """Quarto 1.10 does not escape them, so that its links lead nowhere."""
    texts = {
        "index.qmd": "# A\n\n[b](a%23b/50%25%20?.qmd#s)\n",
        "a#b/50% ?.qmd": "# B\n\n## S\n\n[a](../index.qmd)\n",
    }
    root = small(tmp_path, texts)
    render(root, ["html"])
    book = root / "_book"
    (link,) = page(book / "index.html").select("main p a:not(.title a)")
    assert link["href"] == "a%23b/50%25%20%3F.html#s"
    for path in book.rglob("*.html"):
        for tag in page(path).select("a[href], link[href]"):
            name = unquote(str(tag["href"]).partition("#")[0])
            assert (
                not name
                or "pdf" in name
                or "ipynb" in name
                or (path.parent / name).is_file()
            )


# Quarto


def said(element: Tag) -> str:
    """The words of an element, without the TeX of its formulas and marks of notes."""
    copy = BeautifulSoup(str(element), "html.parser")
    for hidden in copy.select("annotation, a[role=doc-noteref]"):
        hidden.decompose()
    return words(copy.get_text())


def shown(book: Path, source: str) -> dict[str, list[str]]:
    """What a page shows, where the two renderers have it alike."""
    path = book / source.replace(".qmd", ".html")
    (main,) = page(path).select("main")
    for frame in main.select("nav, div.title, header p"):
        frame.decompose()
    if source == "index.qmd":
        for title in main.select("header"):
            title.decompose()
    texts = {
        kind: [
            re.sub("^Appendix A — ", "Appendix A ", said(of))
            for of in main.select(kind)
        ]
        for kind in ("h1", "h2", "p", "li", ".theorem-title", "pre")
    }
    texts["p"] = [re.sub(r" ?↩︎$", "", text) for text in texts["p"]]
    found = []
    for link in main.select("a[href]:not(pre a)"):
        name, _, label = unquote(str(link["href"])).partition("#")
        # A page that is named may be the same, or the label may be that of its heading.
        place = os.path.normpath(path.parent / name) if name else str(path)
        if "//" not in name:
            other = page(Path(place)).find(id=label) if label else None
            begins = isinstance(other, Tag) and (
                other.find_parent("h1") or (other.select("h1") and other.name != "main")
            )
            label = "" if begins else label
            name = os.path.relpath(place, book)
        found.append(f"{said(link)} {name}#{label}")
    return texts | {"links": found}


@pytest.mark.skipif(not shutil.which("quarto"), reason="quarto is not on the PATH")
def test_quarto_shows_the_same_pages(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_book(tmp_path)
    done = subprocess.run(
        ["quarto", "render", "--to", "html"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for source in read_project(root).sources:
        assert shown(book, source) == shown(root / "_book", source), source
