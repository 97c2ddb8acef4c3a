"""The notebooks show in plain Jupyter what the pages of the book show."""

import re
import shutil
from pathlib import Path

import pytest

from conftest import ROOT
from executed_notebooks import markdown, notebook, plain, source
from portable.book import render
from portable.project import FIXED

QUARTO_YML = f"""\
project: {{type: book, output-dir: _book, execute-dir: project}}
book:
  title: Small book
  chapters: [index.qmd, one.qmd, two.qmd, references.qmd]
bibliography: references.bib
format:
  html: {{html-math-method: mathml, fig-format: svg}}
  pdf: {{fig-format: pdf, fig-pos: "{FIXED["format", "pdf", "fig-pos"]}"}}
"""
ONE = r"""# Problem 1. The first {#sec-one}

Before @thm-main, @fig-both and @fig-both-2, [words](two.qmd#sec-two), see Elman
[-@elman1990finding] or [@elman1990finding, page 3]; @elman1990finding says so[^1].

[^1]: In a note.

## A section {#sec-part .unlisted}

::: {#thm-main name="Name of $x$"}

It is [42]{.quoted}, and so
$$
x = 1,
$$ {#eq-one}

as a cell shows.

```{python}
print("in the theorem")
```

:::

::: {.proof}

By @eq-one and `{#eq-one}` and `@eq-one`.

:::

::: {.content-visible when-format="html"}

Only on pages.

:::

::: {.content-visible when-format="pdf"}

Only on paper.

```{python}
print("on paper")
```

:::

```{python}
#| label: fig-both
#| fig-cap: "Two lines, as in @tbl-one."
#| fig-subcap: ["Up", "Down"]
#| fig-alt: ["A line that rises.", "A line that falls."]
#| layout-ncol: 2
import matplotlib.pyplot as plt
for direction in (1, -1):
    plt.figure()
    plt.plot([0, direction])
    plt.show()
```

After.

```{python}
#| label: tbl-one
#| tbl-cap: "A table."
from IPython.display import Markdown, display
display(Markdown("From [run]{.record} of @sec-two."))
Markdown("| a | b |\n|:--|--:|\n| @thm-main | 2 |")
```

```{python}
#| warning: false
import warnings
print("shown")
warnings.warn("a warning")
```

```{python}
Markdown("```{=html}\n<b>played with</b>\n```")
```
"""
TWO = """# The second {#sec-two}

> A quotation with $a_b$ and @sec-one.

1. A list.

### Deep {.unnumbered}

[A site](https://example.org) costs 5\\$.

| a | b |
|:--|--:|
| x | @eq-one |
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebooks of a small book, which has all that is rewritten."""
    root = tmp_path_factory.mktemp("small")
    (root / "_quarto.yml").write_text(QUARTO_YML)
    (root / "index.qmd").write_text("# Preface {.unnumbered}\n\nSee @sec-one.\n")
    (root / "one.qmd").write_text(ONE)
    (root / "two.qmd").write_text(TWO)
    (root / "references.qmd").write_text(
        "# References {.unnumbered}\n\n::: {#refs}\n:::\n"
    )
    shutil.copy(ROOT / "references.bib", root)
    (root / "_book").mkdir()
    render(root, ["notebooks"])
    return root / "_book" / "notebooks"


def test_markdown_is_that_of_jupyter(small: Path) -> None:
    cells = notebook(small / "one.ipynb")
    texts = [source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    assert texts == [
        "# Problem 1. The first\n\n"
        "Before Theorem 1.1, Figure 1.1 and Figure 1.1 (b), words, see Elman\n"
        "(1990) or (Elman 1990, 3); Elman (1990) says so (In a note.).\n\n"
        "## 1.1 A section\n\n"
        "**Theorem 1.1 (Name of $x$).** It is 42, and so\n"
        "$$\nx = 1, \\tag{1.1}\n$$\n\n"
        "as a cell shows.",
        "*Proof.* By Equation 1.1 and `{#eq-one}` and `@eq-one`.\n\nOnly on pages.",
        "**Figure 1.1.** Two lines, as in Table 1.1. (a) Up (b) Down",
        "After.",
        "**Table 1.1.** A table.",
    ]


def test_other_markdown_is_as_it_was(small: Path) -> None:
    (text,) = (source(cell) for cell in notebook(small / "two.ipynb"))
    assert text.startswith("# 2 The second\n\n> A quotation with $a_b$ and Chapter 1.")
    assert (
        "\n\n1.  A list.\n\n### Deep\n\n[A site](https://example.org) costs 5" in text
    )
    assert re.search(
        r"\n\| a +\| +b \|\n\|:-+\|-+:\|\n\| x +\| Equation 1\.1 \|$", text
    )
    assert source(notebook(small / "index.ipynb")[0]).endswith("See Chapter 1.")
    references = markdown(small / "references.ipynb")
    assert "Elman, Jeffrey L. 1990. " in references


def test_a_caption_follows_its_cell(small: Path) -> None:
    cells = notebook(small / "one.ipynb")
    for label, caption in (
        ("fig-both", "**Figure 1.1.**"),
        ("tbl-one", "**Table 1.1.**"),
    ):
        (index,) = (
            index
            for index, cell in enumerate(cells)
            if cell["metadata"].get("options", {}).get("label") == label
        )
        assert source(cells[index + 1]).startswith(caption)


def test_outputs_are_rewritten_too(small: Path) -> None:
    (cell,) = (c for c in notebook(small / "one.ipynb") if "display(Ma" in source(c))
    first, second = (plain(o["data"]["text/markdown"]) for o in cell["outputs"])
    assert first == "From run of Chapter 2."
    assert second.splitlines()[-1] == "| Theorem 1.1 |   2 |"


def test_code_and_its_other_outputs_stay(small: Path) -> None:
    cells = [c for c in notebook(small / "one.ipynb") if c["cell_type"] == "code"]
    printed = ["".join(o.get("text", "")) for c in cells for o in c["outputs"]]
    assert "in the theorem\n" in printed and "on paper\n" in printed
    images = [o["data"].keys() for o in cells[2]["outputs"]]
    assert len(images) == 2 and all("image/svg+xml" in image for image in images)
    assert not any("application/pdf" in image for image in images)
    # What the page leaves out of a cell's warnings the notebook leaves out, too.
    assert [o["name"] for o in cells[-2]["outputs"]] == ["stdout"]


def test_html_is_left_out(small: Path) -> None:
    cells = [c for c in notebook(small / "one.ipynb") if c["cell_type"] == "code"]
    assert "played with" in "".join(cells[-1]["source"])
    assert cells[-1]["outputs"] == []
