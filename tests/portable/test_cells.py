"""What cells give, as students write them, is shown as Quarto shows it.

All cases stand in one book, each in a section of its own. It is rendered once; where
Quarto is installed it renders the same book, and both must show the same.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bs4 import Tag
from pypdf import PdfReader
from test_portable import small_book

from conftest import page, pdf_text, pictures, words
from portable import RenderError
from portable.book import render

# The forms of an object, and what each case is to show: in HTML and in the PDF, "[]"
# for a picture there. The code is hidden.
SETUP = """
import base64, io, sys, warnings
import matplotlib.pyplot as plt
import pandas as pd
import sympy
from IPython.display import HTML, JSON, Image, Javascript, Latex, Markdown, Math
from IPython.display import Pretty, display


def picture(kind):
    figure = plt.figure(figsize=(2, 1))
    figure.gca().plot([1, 2])
    file = io.BytesIO()
    figure.savefig(file, format=kind)
    plt.close(figure)
    return file.getvalue()


class Plain:
    def __repr__(self):
        return "plain"


class AsHtml(Plain):
    def _repr_html_(self):
        return "<p>as <b>HTML</b> &amp; more</p>"


class AsMarkdown(Plain):
    def _repr_markdown_(self):
        return "as **Markdown**"


class AsFormula(Plain):
    def _repr_latex_(self):
        return r"$\\displaystyle 1 + 1$"


class AsLatex(Plain):
    def _repr_latex_(self):
        return r"\\textbf{as LaTeX}"


class AsPng(Plain):
    def _repr_png_(self):
        return picture("png")


class AsJpeg(Plain):
    def _repr_jpeg_(self):
        return picture("jpeg")


class AsJson(Plain):
    def _repr_json_(self):
        return {"a": 1}


class HtmlMarkdown(AsHtml, AsMarkdown):
    pass


class HtmlFormula(AsHtml, AsFormula):
    pass


class Coloured:
    def __repr__(self):
        return "\\x1b[34mblue\\x1b[0m"
"""
TABLE = "<table><tr><th>k</th></tr><tr><td>one <b>two</b></td></tr></table>"
BOTH = {  # the same in HTML and in the PDF
    "plot-last": ("plt.plot([1, 2])", "[]"),
    "semicolon": ("plt.plot([1, 2]);", "[]"),
    "title-last": ("plt.plot([1, 2])\nplt.title('')", "[]"),
    "named": ("#| label: a-name\nfig, ax = plt.subplots()\nax.plot([1, 2])", "[]"),
    "figure-value": ("fig, ax = plt.subplots()\nfig", "[] []"),
    "words-between": (
        "print('before')\nplt.plot([1])\nplt.show()\nprint('after')\n'value'",
        "before [] after 'value'",
    ),
    "list-beside-figure": ("plt.plot([1])\nplt.show()\n[11, 22]", "[]"),
    "number-beside-figure": ("plt.plot([1])\nplt.show()\n33", "[] 33"),
    "lines-beside-figure": (
        "plt.plot([1])\nplt.show()\n['x' * 60] * 2",
        f"[] ['{60 * 'x'}', '{60 * 'x'}']",
    ),
    "several-figures": ("for k in 1, 2:\n    plt.plot([k])\n    plt.show()", "[] []"),
    "side-by-side": (
        "#| layout-ncol: 2\nfor k in 1, 2:\n    plt.plot([k])\n    plt.show()",
        "[] []",
    ),
    "frame": ("pd.DataFrame({'a_b': ['x*y*'], 'c': [1.5]})", "a_b c 0 x*y* 1.5"),
    "series": ("pd.Series([1.5], name='s')", "0 1.5 Name: s, dtype: float64"),
    "markdown": ("AsMarkdown()", "as Markdown"),
    "png": ("AsPng()", "[]"),
    "jpeg": ("AsJpeg()", "[]"),
    "json": ("AsJson()", "plain"),
    "image-png": ("Image(picture('png'))", "[]"),
    "image-jpeg": ("Image(picture('jpeg'))", "[]"),
    "image-width": ("Image(picture('png'), width=120)", "[]"),
    "display-json": ("JSON({'a': 1})", "<IPython.core.display.JSON object>"),
    "pretty": ("Pretty('pretty')", "pretty"),
    "several": (
        "display('one', 2, Markdown('*three*'))\n'four'",
        "'one' 2 three 'four'",
    ),
    "nothing": ("None", ""),
    "ellipsis": ("...", "Ellipsis"),
    "string-table": (f"'{TABLE}'", "k one two"),
    "html-table": (f"HTML('''{TABLE}''')", "k one two"),
    "colours": (r"print('\x1b[31mred\x1b[0m \x1b[1;32mgreen\x1b[0m')", "red green"),
    "colours-stderr": (r"print('\x1b[33myellow\x1b[0m', file=sys.stderr)", "yellow"),
    "colours-value": ("Coloured()", "blue"),
    "hyperlink": (r"print('\x1b]8;;http://x\x07linked\x1b]8;;\x07')", "linked"),
    "bar": (r"print('0/2\r1/2\r2/2', file=sys.stderr)", "0/2 1/2 2/2"),
    "special": (
        r"print('``` ```` $5 & <tag> \\ # % _ ^ ~ { é')",
        r"``` ```` $5 & <tag> \ # % _ ^ ~ { é",
    ),
    "long": ("print('word ' * 30)", ("word " * 30).strip()),
    "empty-line": ("print()", ""),
    "streams": ("print('out')\nprint('err', file=sys.stderr)", "out err"),
    "no-warning": ("#| warning: false\nwarnings.warn('never')\nprint('said')", "said"),
    "shell": ("!echo from the shell", "from the shell"),
}
DIFFERENT = {  # what HTML shows, and the PDF
    "html": ("AsHtml()", "as HTML & more", "plain"),
    "display-html": ("HTML('<i>it</i>')", "it", "<IPython.core.display.HTML object>"),
    "html-or-markdown": ("HtmlMarkdown()", "as HTML & more", "as Markdown"),
    "latex": ("AsLatex()", "plain", "as LaTeX"),
    "script": (
        "Javascript('var shown = 1')",
        "",
        "<IPython.core.display.Javascript object>",
    ),
    "table-and-words": (
        f"HTML('''<p>before</p>{TABLE}<p>after</p>''')",
        "before k one two after",
        "k one two",
    ),
    "raw": (r"Markdown('a<br>b \\textbf{strong}')", "a b", "ab strong"),
}
FORMULAS = {
    "formula": "AsFormula()",
    "math": r"Math(r'\frac{a}{b}')",
    "environment": r"Latex(r'\begin{align*} a &= b \\ c &= d \end{align*}')",
    "sympy": "sympy.Integral(sympy.Symbol('x') ** 2)",
    "matrix": "sympy.Matrix([[1, 2]])",
}
FLOATS = r"""
```{python}
#| label: fig-last
#| fig-cap: "Last: a # hash, [brackets], \"quotes\", 'more' and $x \\in [0, 1)$"
#| fig-alt: 'An "alt" it''s [a] <b> & c'
plt.plot([1, 2])
```

```{python}
#| label: fig-lines_of.it
#| fig-cap: |
#|   Several:
#|   lines *with* emphasis.
print("printed before")
plt.plot([1, 2])
plt.show()
print("printed after")
```

```{python}
#| label: fig-hash
#| fig-cap: '# hash first'
plt.plot([1, 2]);
```

```{python}
#| label: fig-one
#| fig-cap: '1. number first'
plt.plot([1, 2]);
```

```{python}
#| label: fig-pair
#| fig-cap: "Pair"
for k in 1, 2:
    plt.figure(figsize=(3, 1.5))
    plt.plot([k])
    plt.show()
```

```{python}
#| label: fig-panels
#| fig-cap: "Panels"
#| fig-subcap: ["one [bracket]", "open \\[", "$a_b$ `c`", "@knuth1984literate \"q\""]
#| layout-ncol: 2
for k in range(4):
    print("panel", k)
    plt.figure(figsize=(2, 1))
    plt.plot([k])
    plt.show()
```

```{python}
#| label: fig-words
#| fig-cap: "Words"
Markdown("words *in* a figure")
```

```{python}
#| label: tbl-frame
#| tbl-cap: 'Frame: ''single'', "double", [x], $\alpha$ and \$5'
pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
```

```{python}
#| label: tbl-html
#| tbl-cap: "By HTML"
HTML("<table><tr><td>cell</td></tr></table>")
```

```{python}
#| label: tbl-words
#| tbl-cap: "With words"
print("printed beside")
display(Markdown("first words"))
Markdown("words above\n\n| a |\n|---|\n| 1 |\n\nwords below")
```

```{python}
#| label: tbl-simple
#| tbl-cap: "Simple"
Markdown("a   b\n--- ---\n1   2\n")
```

See @fig-last, @fig-lines_of.it, @fig-hash, @fig-one, @fig-pair, @fig-panels,
@fig-words, @tbl-frame, @tbl-html, @tbl-words and @tbl-simple.
"""


def cell(code: str) -> str:
    return f"```{{python}}\n#| echo: false\n{code}\n```"


def chapter() -> str:
    cases = {name: code for name, (code, *_) in (BOTH | DIFFERENT).items()} | FORMULAS
    sections = [
        f"## Case {name} {{#{name}}}\n\n{cell(code)}" for name, code in cases.items()
    ]
    floats = FLOATS.replace("```{python}\n", "```{python}\n#| echo: false\n")
    start = f"# Cells\n\n{cell(SETUP)}"
    return "\n\n".join([start, *sections, f"## Floats {{#floats}}\n{floats}"])


def write(root: Path) -> Path:
    small_book(root, "# Preface {.unnumbered}\n\nWords.\n")
    options = (root / "_quarto.yml").read_text()
    (root / "_quarto.yml").write_text(
        options.replace("[index.qmd]", "[index.qmd, cells.qmd, references.qmd]")
    )
    (root / "cells.qmd").write_text(chapter())
    refs = "# References {.unnumbered}\n\n::: {#refs}\n:::\n"
    (root / "references.qmd").write_text(refs)
    return root


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("cells"))
    render(root)
    return root / "_book"


@pytest.fixture(scope="module")
def sections(book: Path) -> dict[str, str]:
    return shown_in_html(book)


@pytest.fixture(scope="module")
def text(book: Path) -> str:
    return pdf_text(PdfReader(book / "small.pdf"))


def shown_in_html(book: Path) -> dict[str, str]:
    """What each section of the page shows, a picture as ``[alternative text]``."""
    found = {}
    for section in page(book / "cells.html").select("main section:has(> h2)"):
        for hidden in section.select("script, style, h2, annotation, #refs"):
            hidden.decompose()
        for image in section.select("img"):
            image.replace_with(f" [{image.get('alt') or ''}] ")
        for line in section.select("br"):
            line.replace_with(" ")
        name = str(section.get("id"))
        found[name] = words(section.get_text(" "))
    return found


HTML_SHOWN = {name: html for name, (_, html, *_) in (BOTH | DIFFERENT).items()}
PDF_SHOWN = {name: shown[-1] for name, shown in (BOTH | DIFFERENT).items()}


@pytest.mark.parametrize("name", HTML_SHOWN)
def test_a_cell_is_shown_on_the_page(sections: dict[str, str], name: str) -> None:
    assert sections[name] == HTML_SHOWN[name]


@pytest.mark.parametrize(
    "name", [name for name, shown in PDF_SHOWN.items() if "[]" not in shown]
)
def test_a_cell_is_shown_in_the_pdf(text: str, name: str) -> None:
    number = r"(?: \d+)? "  # of a page, which may end anywhere
    expected = [re.escape(word) for word in f"Case {name} {PDF_SHOWN[name]}".split()]
    assert re.search(number.join(expected) + rf"{number}\d", text)


def test_every_picture_is_there(book: Path, sections: dict[str, str]) -> None:
    reader = PdfReader(book / "small.pdf")
    kinds = Counter(
        str(item["/Subtype"]) for sheet in reader.pages for item in pictures(sheet)
    )
    named = " ".join(shown for shown in HTML_SHOWN.values())
    assert kinds["/Image"] == 5
    assert kinds["/Form"] == named.count("[]") - 5 + 10  # those with captions


def test_no_picture_is_named_instead(sections: dict[str, str], text: str) -> None:
    for shown in (*sections.values(), text):
        assert "matplotlib" not in shown and "Text(" not in shown


def test_a_size_is_kept(book: Path) -> None:
    image = page(book / "cells.html").select_one("#image-width img")
    assert image and image["width"] == "120"


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(book: Path, name: str) -> None:
    assert page(book / "cells.html").select_one(f"#{name} math")


CAPTIONS = [
    "Figure 1.1: Last: a # hash, [brackets], “quotes”, ‘more’ and",
    "Figure 1.2: Several: lines with emphasis.",
    "Figure 1.3: # hash first",
    "Figure 1.4: 1. number first",
    "(a) Pair",
    "Figure 1.6: Panels",
    "(a) one [bracket]",
    "(b) open [",
    "(d) Knuth (1984) “q”",
    "Figure 1.7: Words",
    "Table 1.1: Frame: ‘single’, “double”, [x],",
    "Table 1.2: By HTML",
    "Table 1.3: With words",
    "Table 1.4: Simple",
    "printed before",
    "printed after",
    "words in a figure",
    "first words",
    "words above",
    "words below",
    "panel 3",
    "See Figure 1.1, Figure 1.2, Figure 1.3, Figure 1.4, Figure 1.5, Figure 1.6, "
    "Figure 1.7, Table 1.1, Table 1.2, Table 1.3 and Table 1.4.",
]


@pytest.mark.parametrize("caption", CAPTIONS)
def test_captions(sections: dict[str, str], text: str, caption: str) -> None:
    number = re.compile(r"[\d\s]+")  # of a page, too
    expected = number.sub("", caption)
    assert expected in number.sub("", sections["floats"])
    assert expected in number.sub("", text)


def test_a_figure_without_a_caption_has_its_number_only(book: Path, text: str) -> None:
    found = page(book / "cells.html").select_one("#fig-pair > figcaption")
    assert found and words(found.get_text()) == "Figure 1.5"
    assert re.search(r"\(b\) Figure 1\.5 (?!:)", text)


def test_alternative_text(book: Path) -> None:
    image = page(book / "cells.html").select_one("#fig-last img")
    assert image and image["alt"] == 'An "alt" it\'s [a] <b> & c'


def test_words_around_a_table_stay_around_it(book: Path) -> None:
    found = page(book / "cells.html").select_one("#tbl-words")
    assert isinstance(found, Tag)
    assert [child.name for child in found.find_all(True, recursive=False)] == [
        "div",
        "figcaption",
    ]
    shown = words(found.get_text(" "))
    assert shown.startswith("first words words above a 1 words below")


def test_the_notebook_shows_the_same(book: Path) -> None:
    text = (book / "notebooks" / "cells.ipynb").read_text()
    assert "matplotlib.lines.Line2D" not in text
    assert "matplotlib.text" not in text.lower()
    assert "as <b>HTML</b>" in text and "image/jpeg" in text


@pytest.mark.skipif(not shutil.which("quarto"), reason="quarto is not on the PATH")
def test_quarto_shows_the_same(
    tmp_path: Path, sections: dict[str, str], text: str
) -> None:
    root = write(tmp_path)
    done = subprocess.run(
        ["quarto", "render"],
        cwd=root,
        env=os.environ | {"QUARTO_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    theirs = shown_in_html(root / "_book")
    floats, our_floats = theirs.pop("floats"), sections["floats"]
    assert {name: sections[name] for name in theirs} == theirs
    assert letters(our_floats) == letters(floats)
    by_quarto = pdf_text(PdfReader(root / "_book" / "small.pdf"))
    # A table that goes over pages has its head twice, so words are not counted.
    titles = {"Contents", "contents", "of"}
    assert letters(text).keys() - titles == letters(by_quarto).keys() - titles


def letters(text: str) -> Counter[str]:
    """The words of a text in any order, without numbers, some of which are of pages."""
    return Counter(re.findall(r"[^\W\d_]+", text))


# What is refused


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')",
            r"cells\.qmd:3: .* SVG picture, .* rsvg-convert",
        ),
        ("print('a\\x08b')", r"cells\.qmd:3: .* the character '\\x08'"),
        (
            "#| layout-ncol: 2\nprint(1)",
            r"cells\.qmd:3: .* layout-ncol and shows more than figures",
        ),
        (
            "display({'application/x-unknown': '1'}, raw=True)",
            r"cells\.qmd:3: .* application/x-unknown, which is not supported",
        ),
        (
            "display({'application/vnd.jupyter.widget-view+json': {'model_id': 'a'}, "
            "'text/plain': 'w'}, raw=True)",
            r"cells\.qmd:3: .* a widget of Jupyter",
        ),
        (
            "#| label: fig-a\n#| fig-cap: a ] b\nimport matplotlib.pyplot as plt\n"
            "plt.plot([1]);",
            r"cells\.qmd:3: .* a bracket without its other, .*: a \] b",
        ),
        (
            "#| label: fig-a\n#| fig-cap: a\n#| fig-subcap: [b]\n"
            "import matplotlib.pyplot as plt\nplt.plot([1]);",
            r"cells\.qmd:3: .* has a fig-subcap and shows one figure",
        ),
        (
            "#| label: fig-a\n#| fig-cap: a\nfrom IPython.display import Markdown\n"
            "Markdown('|a|\\n|-|\\n|1|')",
            r"cells\.qmd:4: label fig-a is of a figure and its cell shows a table",
        ),
        (
            "#| label: tbl-a\n#| tbl-cap: a\nprint(1)",
            r"cells\.qmd:4: label tbl-a is of one table and its cell shows 0",
        ),
        (
            "#| label: tbl-a\n#| tbl-cap: a\nfrom IPython.display import Markdown\n"
            "Markdown('|a|\\n|-|\\n|1|\\n\\n|b|\\n|-|\\n|1|')",
            r"cells\.qmd:4: label tbl-a is of one table and its cell shows 2",
        ),
        (
            "from IPython.display import Markdown\nMarkdown('![a](b.png)')",
            r"cells\.qmd:5: an image .* is not supported: b\.png",
        ),
        *(
            (
                f"from IPython.display import Markdown\nMarkdown({text!r})",
                r"cells\.qmd:3: .* Markdown in which a block or a comment is not cl",
            )
            for text in (":::", "::: {.a}\nb", "```\na", "a <!-- b", "~~~\n```")
        ),
        (
            "from IPython.display import HTML\nHTML('<img src=b.png>')",
            r"cells\.qmd:3: .* HTML that refers to the file 'b\.png'",
        ),
        ("print('☃')", r"cells\.qmd:4: LaTeX: Missing character: There is no ☃"),
        (
            "#| output: asis\nprint(1)",
            r"cells\.qmd:4: output is 'asis'",
        ),
        ("#| error: true\n1 / 0", r"cells\.qmd:4: cell option 'error'"),
        ("#| eval: false\n1 / 0", r"cells\.qmd:4: cell option 'eval'"),
    ],
)
def test_what_no_page_can_show_is_refused(
    tmp_path: Path, code: str, message: str
) -> None:
    root = small_book(tmp_path, "# Preface {.unnumbered}\n")
    options = (root / "_quarto.yml").read_text()
    (root / "_quarto.yml").write_text(
        options.replace("[index.qmd]", "[index.qmd, cells.qmd]")
    )
    (root / "cells.qmd").write_text(f"# Cells\n\n```{{python}}\n{code}\n```\n")
    with pytest.raises(RenderError, match=message):
        render(root, ["pdf"])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("__import__('sympy').Symbol('x')", "text/latex, text/markdown"),
        ("__import__('IPython.display').display.HTML('<b>x</b>')", "text/html"),
    ],
)
def test_an_inline_value_that_is_more_than_text_is_refused(
    tmp_path: Path, expression: str, message: str
) -> None:
    text = f"# A\n\nIt is `{{python}} {expression}`.\n\n```{{python}}\n1\n```\n"
    with pytest.raises(RenderError, match=f"index\\.qmd:1: .* gives {message}"):
        render(small_book(tmp_path, text), ["html"])


def test_an_svg_is_made_a_pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "rsvg-convert"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pypdf import PdfWriter\n"
        "assert '<svg' in open(sys.argv[6]).read()\n"
        "writer = PdfWriter()\nwriter.add_blank_page(50, 50)\n"
        "writer.write(sys.argv[5])\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    code = (
        "from IPython.display import SVG\n"
        "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"><g/></svg>')"
    )
    root = small_book(tmp_path, f"# A\n\n{cell(code)}\n")
    render(root, ["html", "pdf"])
    (image,) = page(root / "_book" / "index.html").select("main img")
    assert "<svg" in (root / "_book" / str(image["src"])).read_text()
    (sheet,) = (
        sheet
        for sheet in PdfReader(root / "_book" / "small.pdf").pages
        if pictures(sheet)
    )
    assert len(pictures(sheet)) == 1
