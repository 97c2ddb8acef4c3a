"""The renderer: each feature in both formats, and each clear refusal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from conftest import (
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
from portable import RenderError
from portable.book import render
from portable.quarto import find_quarto

POSITION = 'fig-pos: "!htb"'
QUARTO_YML = """\
project:
  type: book
  output-dir: _book
  execute-dir: project
book:
  title: Small book
  output-file: small
  chapters: [index.qmd, chapters/01-one.qmd, chapters/02-two.qmd, references.qmd]
  appendices: [chapters/a-more.qmd]
bibliography: references.bib
format:
  html: {html-math-method: mathml, fig-format: svg}
  pdf:
    documentclass: scrreprt
    classoption: [numbers=noenddot]
    pdf-engine: lualatex
    fig-format: pdf
    fig-pos: "!htb"
"""

INDEX = """# Preface {.unnumbered}

See @fig-line, [the second](chapters/02-two.qmd) and
[its theorem](chapters/02-two.qmd#thm-main).
"""

ONE = r"""# The first {#sec-one}

> **Answer.** It is `{python} 6 * 7`.

By @knuth1984literate; also [@knuth1984literate, p. 3].
Forward to @fig-two, @fig-two-2, @sec-second, @sec-more, @eq-line and @thm-main.

```{python}
#| code-fold: true
#| code-summary: "The imports"
import warnings
import matplotlib.pyplot as plt
from IPython.display import Markdown, Math
text = "a*b* 1.5, [f]_g_ `e`"
```

## A section {#sec-section}

Literally `{python} text`, as Markdown `{python} Markdown("**strong**")`.

### Deeper {#sec-deeper}

See @sec-deeper and -@sec-section.

```{python}
#| label: fig-line
#| fig-cap: 'A line, as in @eq-line, of slope $\alpha$'
#| fig-alt: 'A "line"'
#| echo: false
figure = plt.plot([1, 2])
plt.show()
```

```{python}
#| label: tbl-small
#| tbl-cap: "A table"
Markdown("| name | value |\n|:--|--:|\n| x | 1 |")
```

$$
y = \alpha x
$$ {#eq-line}

```{python}
#| warning: false
print("to stdout")
warnings.warn("to stderr")
Math(r"\int_0^1 x \, dx")
```

```{python}
#| output: false
print("never shown")
```

```{python}
#| code-fold: show
#| code-summary: "The sum"
1 + 1
```

```{python}
#| include: false
hidden_cell = 1
```

::: {.content-visible when-format="html"}

### Further {#sec-further}

Only in HTML.
:::

::: {.content-visible when-format="pdf"}
Only in PDF.
:::

::: {.content-hidden when-format="pdf"}
Not in PDF.
:::
"""

TWO = r"""# The second {#sec-second}

::: {#def-thing name="Thing"}
A *thing* is a thing.
:::

::: {#thm-main name="On $x^2$"}
Things are, by @def-thing,

$$ x^2 \ge 0. $$ {#eq-square}
:::

::: {.proof}
By @eq-square.
:::

```{python}
#| label: fig-two
#| fig-cap: "Two panels"
#| fig-subcap: ["the left", "the right"]
#| fig-alt: ["rising", "falling"]
#| layout-ncol: 2
import matplotlib.pyplot as plt
for line in ([1, 2], [2, 1]):
    plt.plot(line)
    plt.show()
```

Back to @fig-line, @tbl-small, [@fig-line; @tbl-small] and @eq-appendix.
"""

MORE = """# More {#sec-more}

## Below

$$ 1 = 1 $$ {#eq-appendix}
"""

BIB = """@article{knuth1984literate, title = {Literate Programming},
  author = {Knuth, Donald E.}, journal = {The Computer Journal}, year = {1984}}
"""


# A cell that shows nothing; without one Quarto executes nothing.
NO_OP = "\n```{python}\n#| include: false\n```\n"


def write_book(root: Path) -> Path:
    """A small book in ``root`` that uses every feature."""
    files = {
        "_quarto.yml": QUARTO_YML,
        "references.bib": BIB,
        "index.qmd": INDEX,
        "chapters/01-one.qmd": ONE,
        "chapters/02-two.qmd": TWO,
        "references.qmd": "# References {.unnumbered}\n\n::: {#refs}\n:::\n",
        "chapters/a-more.qmd": MORE,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def small_book(root: Path, chapter: str) -> Path:
    """A book of one page, for what must fail early."""
    quarto = QUARTO_YML.replace(
        "[index.qmd, chapters/01-one.qmd, chapters/02-two.qmd, references.qmd]",
        "[index.qmd]",
    ).replace("  appendices: [chapters/a-more.qmd]\n", "")
    (root / "_quarto.yml").write_text(quarto)
    (root / "references.bib").write_text(BIB)
    (root / "index.qmd").write_text(chapter)
    return root


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_book(tmp_path_factory.mktemp("book"))
    render(root)
    return root / "_book"


@pytest.fixture(scope="module")
def one(book: Path) -> BeautifulSoup:
    return page(book / "chapters/01-one.html")


@pytest.fixture(scope="module")
def two(book: Path) -> BeautifulSoup:
    return page(book / "chapters/02-two.html")


@pytest.fixture(scope="module")
def pdf(book: Path) -> PdfReader:
    return PdfReader(book / "small.pdf")


@pytest.fixture(scope="module")
def text(pdf: PdfReader) -> str:
    return pdf_text(pdf)


def tag(soup: Tag, selector: str) -> Tag:
    found = soup.select_one(selector)
    assert found, f"no {selector}"
    return found


def body(soup: BeautifulSoup) -> str:
    return words(tag(soup, "main").get_text())


def test_chapters_sections_and_appendix_are_numbered(
    one: BeautifulSoup, two: BeautifulSoup, book: Path, pdf: PdfReader
) -> None:
    heads = [words(head.get_text()) for head in one.select("main h1, main h2, main h3")]
    assert heads == ["1 The first", "1.1 A section", "1.1.1 Deeper", "1.1.2 Further"]
    assert words(tag(two, "h1").get_text()) == "2 The second"
    more = page(book / "chapters/a-more.html")
    assert [words(h.get_text()) for h in more.select("h1, h2")] == [
        "Appendix A More",
        "A.1 Below",
    ]
    assert words(tag(page(book / "index.html"), "h1").get_text()) == "Preface"
    titles = bookmarks(pdf)
    for title in ("The first", "A section", "The second", "References", "More"):
        assert any(title in mark for mark in titles), (title, titles)


FORWARD = (
    "Forward to Figure 2.1, Figure 2.1 (b), Chapter 2, Appendix A, Equation 1.1 "
    "and Theorem 2.1."
)


def test_references_in_html(one: BeautifulSoup, two: BeautifulSoup) -> None:
    forward = words(body(one))
    assert FORWARD in forward
    assert "See Section 1.1.1 and 1.1." in forward
    assert "Back to Figure 1.1, Table 1.1, Figure 1.1, Table 1.1 and Equation A.1." in (
        body(two)
    )
    links = {words(link.get_text()): link["href"] for link in one.select("a.ref")}
    assert links["Theorem 2.1"] == "02-two.html#thm-main"
    assert links["Equation 1.1"] == "#eq-line"


def test_links_to_sources_become_links_to_pages(book: Path) -> None:
    links = {a.get_text(): a["href"] for a in page(book / "index.html").select("p a")}
    assert links["the second"] == "chapters/02-two.html#sec-second"
    assert links["its theorem"] == "chapters/02-two.html#thm-main"


def test_references_in_pdf(text: str, pdf: PdfReader) -> None:
    assert FORWARD in text
    assert (
        "Back to Figure 1.1, Table 1.1, Figure 1.1, Table 1.1 and Equation A.1." in text
    )
    count, lost = open_links(pdf)
    assert count > 20 and lost == []


def test_every_link_of_the_html_leads_somewhere(book: Path) -> None:
    assert lost_links(book) == []


def test_captions(one: BeautifulSoup, two: BeautifulSoup, text: str) -> None:
    caption = words(tag(one, "#fig-line figcaption").get_text())
    assert caption.startswith("Figure 1.1: A line, as in Equation 1.1, of slope")
    assert tag(one, "#fig-line img")["alt"] == 'A "line"'
    panels = [words(c.get_text()) for c in two.select("#fig-two figure figcaption")]
    assert panels == ["(a) the left", "(b) the right"]
    assert [img["alt"] for img in two.select("#fig-two img")] == ["rising", "falling"]
    assert "columns: 2" in str(tag(two, "#fig-two .row")["style"])
    assert words(tag(one, "#tbl-small figcaption").get_text()) == "Table 1.1: A table"
    for expected in (
        "Figure 1.1: A line, as in Equation 1.1, of slope",
        "Figure 2.1: Two panels",
        "(a) the left",
        "Table 1.1: A table",
    ):
        assert expected in text


def test_figures_are_vectors(book: Path, pdf: PdfReader) -> None:
    assert len(list((book / "figures").glob("*.svg"))) == 3
    kinds = [item["/Subtype"] for sheet in pdf.pages for item in pictures(sheet)]
    assert kinds.count("/Form") >= 3 and "/Image" not in kinds


def test_equations(one: BeautifulSoup, text: str) -> None:
    equation = tag(one, "#eq-line")
    assert equation.find("math") and words(equation.get_text()).endswith("(1.1)")
    assert "(1.1)" in text and "(A.1)" in text


def test_theorems_and_proofs(two: BeautifulSoup, text: str) -> None:
    theorem = tag(two, "#thm-main")
    assert words(theorem.get_text()).startswith("Theorem 2.1 (On ")
    assert tag(two, "#thm-main .theorem-title math")
    assert words(tag(two, "#def-thing").get_text()).startswith(
        "Definition 2.1 (Thing) A"
    )
    assert words(tag(two, ".proof").get_text()) == "Proof. By Equation 2.1."
    assert "Theorem 2.1 (On" in text and "Definition 2.1 (Thing)" in text
    assert "Proof. By Equation 2.1." in text


def test_citations(one: BeautifulSoup, book: Path, text: str) -> None:
    assert "By Knuth (1984); also (Knuth 1984, 3)" in body(one)
    assert tag(one, 'a[href="../references.html#ref-knuth1984literate"]')
    entry = tag(page(book / "references.html"), "#ref-knuth1984literate")
    assert "Literate Programming" in entry.get_text()
    assert "By Knuth (1984); also (Knuth 1984, 3)" in text
    assert "Knuth, Donald E. 1984" in text


def test_inline_expressions(one: BeautifulSoup, text: str) -> None:
    literal = "Literally a*b* 1.5, [f]_g_ `e`, as Markdown strong."
    assert literal in body(one)
    assert "Literally a*b* 1.5, [f]_g_" in text
    assert one.find("strong", string="strong")
    assert "It is 42." in body(one) and "It is 42." in text


def test_references_and_links_between_chapters(book: Path, text: str) -> None:
    expected = "See Figure 1.1, the second and its theorem."
    assert expected in body(page(book / "index.html")) and expected in text


def test_cell_options(one: BeautifulSoup, text: str) -> None:
    shown = body(one)
    for here in (shown, text):
        assert "to stdout" in here
        assert "import warnings" in here
        for never in ("to stderr\n", "UserWarning", "hidden_cell", "figure = plt"):
            assert never not in here
        assert here.count("never shown") == 1  # the code, not its output
    folded = tag(one, "details.code-fold")
    assert words(tag(folded, "summary").get_text()) == "The imports"
    assert "import warnings" in folded.get_text()
    assert "#|" not in shown
    opened = one.select("details.code-fold[open]")
    assert [words(of.get_text()) for of in opened] == ["The sum 1 + 1"]


def test_latex_output_is_a_formula(one: BeautifulSoup) -> None:
    assert any("∫" in math.get_text() for math in one.select("math"))


def test_content_for_one_format(one: BeautifulSoup, text: str) -> None:
    assert "Only in HTML." in body(one) and "Not in PDF." in body(one)
    assert "1.1.2 Further" in body(one)
    assert "1.1.2 Further" in words(tag(one, "nav.contents").get_text())
    assert "Only in PDF." not in body(one)
    assert "Only in PDF." in text
    assert "Only in HTML." not in text and "Not in PDF." not in text


def test_answers_are_block_quotes(one: BeautifulSoup) -> None:
    assert words(tag(one, "blockquote").get_text()) == "Answer. It is 42."


def test_pages_have_navigation(one: BeautifulSoup, book: Path) -> None:
    chapters = [words(a.get_text()) for a in one.select("nav.chapters li a")]
    assert chapters == [
        "Preface",
        "The first",
        "The second",
        "References",
        "Appendix A More",
    ]
    assert words(tag(one, 'nav.chapters a[aria-current="page"]').get_text()) == (
        "The first"
    )
    assert tag(one, 'a[rel="prev"]')["href"] == "../index.html"
    assert tag(one, 'a[rel="next"]')["href"] == "../chapters/02-two.html"
    assert "A section" in tag(one, "nav.contents").get_text()
    assert tag(one, 'meta[name="viewport"]')


def test_nothing_is_asked_of_another_machine(book: Path) -> None:
    assert remote_requests(book) == []


def test_the_pdf_says_its_language(pdf: PdfReader) -> None:
    assert str(pdf.root_object["/Lang"]) == "en"


def test_pdf_fonts_are_embedded(pdf: PdfReader) -> None:
    found = fonts(pdf)
    assert found and all(found.values()), found


def test_notebooks_are_executed(book: Path) -> None:
    names = {path.name for path in (book / "notebooks").iterdir()}
    assert names == {
        f"{stem}.ipynb"
        for stem in ("index", "01-one", "02-two", "references", "a-more")
    }
    notebook = json.loads((book / "notebooks/01-one.ipynb").read_text())
    outputs = json.dumps([cell.get("outputs") for cell in notebook["cells"]])
    assert "to stdout" in outputs and "image/svg+xml" in outputs
    assert "It is 42." in json.dumps(notebook["cells"][0])


# What is not supported


@pytest.mark.parametrize(
    ("chapter", "message"),
    [
        ("# A\n\n```{r}\n1\n```\n", r"index\.qmd:3: a block of \{r\}"),
        ("# A\n\n```{=html}\n<b>\n```\n", r"index\.qmd:3: a block of \{=html\}"),
        ("# A\n\n```{python}\n#| fig-width: 3\n1\n```\n", r"index\.qmd:4: .*fig-width"),
        ("# A\n\n```{python}\n#| echo: 3\n1\n```\n", r"index\.qmd:4: echo is 3"),
        (
            "# A\n\n```{python}\n#| code-fold: open\n1\n```\n",
            r"index\.qmd:4: code-fold is 'open', expected true, false or show",
        ),
        ("# A\n\n```{python}\n#| label: [\n1\n```\n", r"index\.qmd:4: cell options"),
        ("# A\n\n```{python}\n#| label: fig-a\n1\n```\n", r"index\.qmd:4: .*fig-cap"),
        ("# A\n\n```{python}\n1\n", r"index\.qmd:3: the fence is not closed"),
        ("# A\n\n::: {.callout-note}\nx\n:::\n", r"index\.qmd:3: .*callout-note"),
        ("# A\n\n::: {#thm-a}\nx\n", r"index\.qmd:3: the ::: block is not closed"),
        ("# A\n\nx\n:::\n", r"index\.qmd:4: ::: closes nothing"),
        ("# A\n\n{{< include b.qmd >}}\n", r"index\.qmd:3: shortcode .* not supported"),
        ("# A\n\n{{< var name >}}\n", r"index\.qmd:3: shortcode .* not supported"),
        ("# A\n\n`{r} 1`\n", r"index\.qmd:3: inline \{r\}"),
        ("# A\n\n`{python} 1``{python} 2`\n", r"index\.qmd:3: .* further backtick"),
        ("# A\n\n![x](y.png)\n", r"index\.qmd:3: an image"),
        ("---\ntitle: A\n---\n", r"index\.qmd:1: front matter"),
    ],
)
def test_unsupported_sources_are_refused_with_file_and_line(
    tmp_path: Path, chapter: str, message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        render(small_book(tmp_path, chapter))


def test_html_that_a_cell_gives_is_on_the_page(tmp_path: Path) -> None:
    cell = """```{python}
from IPython.display import Markdown
Markdown("```{=html}\\n<b>given</b>\\n```")
```"""
    root = small_book(tmp_path, f"# A\n\n{cell}\n")
    render(root, ["html"])
    assert "<b>given</b>" in (root / "_book" / "index.html").read_text()


@pytest.mark.parametrize(
    ("chapter", "message"),
    [
        ("# A\n\nSee @fig-none.\n", r"index\.qmd:3: unresolved reference @fig-none"),
        (
            "# A\n\nSee @nobody2020.\n\n::: {#refs}\n:::\n",
            r"index\.qmd:3: .*nobody2020.* not found",
        ),
        ("# A\n\n[x](b.qmd)\n", r"index\.qmd:3: .*link to b\.qmd"),
        (
            f"# A\n\n$x = `{{python}} '1.5'`$\n{NO_OP}",
            r"formula holds a string .* x = 1\\\.5",
        ),
        (
            f"# A\n\nIt is `{{python}} ''`.\n{NO_OP}",
            r"index\.qmd:1: .*'' gives nothing",
        ),
        (
            "# A {#sec-a}\n\n## B {#sec-a}\n",
            r"index\.qmd:3: Duplicate identifier .sec-a",
        ),
        ("# A\n\nx <b>y</b>\n", r"index\.qmd:3: raw html is not supported: <b>"),
        ("# A\n\n\\newpage\n", r"index\.qmd:3: raw tex is not supported: \\newpage"),
    ],
)
def test_what_pandoc_finds_is_refused(
    tmp_path: Path, chapter: str, message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        render(small_book(tmp_path, chapter), ["html"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  output-dir",
            "  preview: x\n  output-dir",
            r"_quarto\.yml:3: .*preview",
        ),
        ("mathml", "katex", r"html-math-method is 'katex'"),
        ("[index.qmd", "[nowhere.qmd, index.qmd", r"nowhere\.qmd does not exist"),
        ("[index.qmd", "[{part: x}, index.qmd", r"is not a file's name"),
        ("lualatex", "tectonic", r"pdf-engine is 'tectonic'"),
        (POSITION, "fig-pos: t", r"fig-pos is 't'"),
        ("type: book", "type: book\n  pre-render: a.py", r"pre-render has 'a\.py'"),
        ("type: book", "type: book\n  post-render: a.py", r"post-render has 'a\.py'"),
        ("type: book", "type: book\n  post-render: [b.sh]", r"post-render has 'b\.sh'"),
        (POSITION, f"{POSITION}\n    filters: [a.lua]", r"filters has 'a\.lua'"),
        (
            POSITION,
            f"{POSITION}\n    include-in-header: a.tex",
            r"header has 'a\.tex'",
        ),
        (
            POSITION,
            f"{POSITION}\n    include-in-header: {{text: x}}",
            r"include-in-header has \{'text': 'x'\}, supported are \.tex files",
        ),
        ("mathml", "mathml, css: a.css", r"css has 'a\.css'"),
        ("type: book", "type: [", r"_quarto\.yml"),
    ],
)
def test_unsupported_options_are_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    root = small_book(tmp_path, "# A\n")
    options = (root / "_quarto.yml").read_text()
    assert old in options
    (root / "_quarto.yml").write_text(options.replace(old, new, 1))
    with pytest.raises(RenderError, match=message):
        render(root)


@pytest.mark.fault(
    "data",
    provoked="The code of a chapter fails.",
    result="A line names the file, the line and the cell, and what it says.",
    kept="The previous book.",
)
def test_a_failing_cell_is_named_and_leaves_the_previous_book(tmp_path: Path) -> None:
    cell = "# A\n\n```{python}\n#| label: broken\nvalue = 1\nvalue / 0\n```\n"
    root = small_book(tmp_path, cell)
    (root / "_book").mkdir()
    (root / "_book" / "index.html").write_text("the previous one")
    message = r"index\.qmd:3: cell broken failed: ZeroDivisionError: division by zero"
    with pytest.raises(RenderError, match=message):
        render(root)
    assert (root / "_book" / "index.html").read_text() == "the previous one"
    assert [path.name for path in root.glob("*book*")] == ["_book"]


POST_RENDER = """\
import os, pathlib, sys
folder = pathlib.Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
(folder / "list.txt").write_text("\\n".join(p.name for p in folder.iterdir()))
sys.exit({status} and "no such answer")
"""


def test_a_script_is_run_on_the_finished_book(tmp_path: Path) -> None:
    root = small_book(tmp_path, "# A\n")
    options = (root / "_quarto.yml").read_text()
    (root / "_quarto.yml").write_text(
        options.replace("type: book", "type: book\n  post-render: after.py", 1)
    )
    (root / "after.py").write_text(POST_RENDER.format(status=0))
    render(root, ["html"])
    assert "index.html" in (root / "_book" / "list.txt").read_text()
    (root / "after.py").write_text(POST_RENDER.format(status=1))
    (root / "index.qmd").write_text("# Another {.unnumbered}\n")
    with pytest.raises(RenderError, match=r"after\.py failed\nno such answer"):
        render(root, ["html"])
    assert "Another" not in (root / "_book" / "index.html").read_text()


def test_styles_and_preamble_of_the_project_come_last(tmp_path: Path) -> None:
    root = small_book(tmp_path, "# A\n\nText.\n")
    options = (root / "_quarto.yml").read_text()
    options = options.replace("mathml", "mathml, css: [a.css, b.css]", 1)
    options = options.replace(POSITION, f"{POSITION}\n    include-in-header: a.tex")
    (root / "_quarto.yml").write_text(options)
    (root / "a.css").write_text("main { color: red; }")
    (root / "b.css").write_text("main { color: blue; }")
    (root / "a.tex").write_text(r"\AtEndDocument{From the preamble.}")
    render(root, ["html", "pdf"])
    style = (root / "_book" / "style.css").read_text()
    assert "body {" in style
    assert style.rindex("body {") < style.index("red") < style.index("blue")
    assert "From the preamble." in pdf_text(PdfReader(root / "_book" / "small.pdf"))


def test_a_filter_changes_its_format_only(tmp_path: Path) -> None:
    cell = "```{python}\n#| code-fold: true\nx = 'folded'\n```\n"
    root = small_book(tmp_path, f"# A\n\n{cell}\n```{{python}}\ny = 'shown'\n```\n")
    options = (root / "_quarto.yml").read_text()
    (root / "_quarto.yml").write_text(
        options.replace(POSITION, f"{POSITION}\n    filters: [pdf.lua]", 1)
    )
    (root / "pdf.lua").write_text(
        "function CodeBlock(block)\n"
        '  if block.attributes["code-fold"] == "true" then return {} end\nend\n'
    )
    render(root, ["html", "pdf"])
    text = pdf_text(PdfReader(root / "_book" / "small.pdf"))
    assert "shown" in text and "folded" not in text
    shown = page(root / "_book" / "index.html").get_text()
    assert "shown" in shown and "folded" in shown


def test_a_failing_inline_expression_is_named(tmp_path: Path) -> None:
    root = small_book(tmp_path, f"# A\n\nIt is `{{python}} nothing`.\n{NO_OP}")
    with pytest.raises(RenderError, match=r"index\.qmd:1: .*NameError: name 'nothing'"):
        render(root)


def test_a_figure_cell_without_a_figure_is_refused(tmp_path: Path) -> None:
    cell = "# A\n\n```{python}\n#| label: fig-a\n#| fig-cap: x\nprint(1)\n```\n"
    with pytest.raises(RenderError, match=r"index\.qmd:3: .*shows no figure"):
        render(small_book(tmp_path, cell))


def test_a_character_that_the_fonts_lack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="Missing character"):
        render(small_book(tmp_path, "# A\n\nA snowman: ☃\n"), ["pdf"])


def test_the_command_says_what_failed(tmp_path: Path) -> None:
    root = small_book(tmp_path, "# A\n\n@sec-none\n")
    done = subprocess.run(
        [sys.executable, "-m", "portable", "--renderer", "portable", str(root)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "error: index.qmd:3: unresolved reference @sec-none" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fault(
    "environment",
    provoked="The Python that renders lacks packages of the book.",
    result="A line names the Python, what it lacks, and the command that installs it.",
    kept="The previous book.",
)
def test_a_python_without_the_dependencies_is_refused(tmp_path: Path) -> None:
    root = small_book(tmp_path, "# A\n")
    (root / "pyproject.toml").write_text(
        '[project]\ndependencies = ["pyyaml==6", "no-such-one==1.0", "nor_this>2"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "portable", root], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr == (
        f"error: {sys.executable} lacks no-such-one, nor_this; run "
        f"{sys.executable} -m pip install --editable {root}\n"
    )


# Smaller parts


@pytest.mark.fault(
    "environment",
    provoked="The quarto that is found is too old for the book.",
    result="A line says which version it is, and which is needed.",
    kept="The previous book.",
)
@pytest.mark.parametrize(("version", "fine"), [("1.4.550", False), ("1.5.57", True)])
def test_quarto_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, fine: bool
) -> None:
    (tmp_path / "quarto").write_text(f"#!/bin/sh\necho {version}\n")
    (tmp_path / "quarto").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if fine:
        assert find_quarto() == version
    else:
        with pytest.raises(RenderError, match=r"quarto is 1\.4\.550, expected 1\.5"):
            find_quarto()
