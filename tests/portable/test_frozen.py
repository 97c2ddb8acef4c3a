"""What is handed to Quarto holds in the present state, and is what Quarto would write.

That it is the same for the book is tested where Quarto is installed (book/test_quarto).
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from portable.chapter import read_chapter
from portable.frozen import freeze

CHAPTER = """\
# A chapter

It is `{python} 6 * 7`.

```{python}
#| label: fig-a
#| fig-cap: "Line, as
#|   it is"
#| fig-alt: "A 'b'"
#| code-fold: true
import matplotlib.pyplot as plt
plt.plot([1, 2]);
plt.show()
```

```{python}
#| label: tbl-small
#| tbl-cap: "It's a table"
#| echo: false
from IPython.display import Markdown
Markdown("| a |\\n|:--|\\n| 1 |")
```

```{python}
#| label: said
print("said")
6 * 7
```

```{python}
#| include: false
hidden = 1
```
"""
HTML = """\
# A chapter
It is 42.
::: {#cell-fig-a .cell execution_count=1}
``` {.python .cell-code code-fold="true"}
import matplotlib.pyplot as plt
plt.plot([1, 2]);
plt.show()
```
::: {.cell-output .cell-output-display}
![Line, as it is](one_files/figure-html/fig-a-output-1.svg){#fig-a fig-alt='A \\'b\\''}
:::
:::
::: {#tbl-small .cell tbl-cap='It\\'s a table' execution_count=2}
::: {.cell-output .cell-output-display .cell-output-markdown execution_count=2}
| a |
|:--|
| 1 |
:::
:::
::: {#cell-said .cell execution_count=3}
``` {.python .cell-code}
print("said")
6 * 7
```
::: {.cell-output .cell-output-stdout}
```
said
```
:::
::: {#said .cell-output .cell-output-display execution_count=3}
```
42
```
:::
:::
"""


def handed(root: Path, whole: bool = True, fresh: bool = False) -> dict[str, Any]:
    """The files that stand in ``_freeze`` of a chapter after it was handed over."""
    freeze(root, {"one.qmd": read_chapter(root, "one.qmd")}, whole, fresh)
    folder = root / "_freeze" / "one"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "one.qmd").write_text(CHAPTER)
    return tmp_path


def test_a_chapter_is_written_as_quarto_would(root: Path) -> None:
    files = handed(root)
    assert sorted(files) == [
        "execute-results/html.json",
        "execute-results/tex.json",
        "figure-html/fig-a-output-1.svg",
        "figure-pdf/fig-a-output-1.pdf",
    ]
    html, tex = (
        json.loads(files[f"execute-results/{n}.json"]) for n in ("html", "tex")
    )
    lines = html["result"].pop("markdown").splitlines()
    assert [line for line in lines if line.strip()] == HTML.splitlines()
    assert html["hash"] == tex["hash"] == hashlib.md5(CHAPTER.encode()).hexdigest()
    assert html["result"] == {
        "engine": "jupyter",
        "supporting": ["one_files"],
        "filters": [],
    }
    text = HTML.replace("figure-html", "figure-pdf").replace(".svg)", ".pdf)")
    text = text.replace("#cell-fig-a ", "").replace("#cell-said ", "")
    lines = tex["result"]["markdown"].splitlines()
    assert [line for line in lines if line.strip()] == text.splitlines()
    assert files["figure-pdf/fig-a-output-1.pdf"].startswith(b"%PDF")


def test_of_a_chapter_alone_only_what_is_kept_is_handed_over(root: Path) -> None:
    assert handed(root, whole=False) == {}
    files = handed(root)
    assert handed(root, whole=False) == files
    assert handed(root, whole=False, fresh=True) == {}
    (root / "one.qmd").write_text(CHAPTER.replace("A chapter", "Another"))
    words = handed(root, whole=False)
    assert words.keys() == files.keys() and words != files


def test_what_no_longer_holds_is_taken_away(root: Path) -> None:
    (root / "helper.py").write_text("VALUE = 1\n")
    cell = "```{python}\nimport helper\nprint(helper.VALUE)\n```\n"
    (root / "one.qmd").write_text(CHAPTER + "\n" + cell)
    before = handed(root)
    (root / "helper.py").write_text("VALUE = 2\n")
    assert handed(root, whole=False) == {}
    after = handed(root)
    assert after.keys() == before.keys() and after != before


@pytest.mark.parametrize(
    "options",
    [
        '#| label: fig-two\n#| fig-cap: "x"\n#| fig-subcap: ["a", "b"]\n',
        '#| label: fig-two\n#| fig-cap: "x"\n#| layout-ncol: 2\n',
        '#| label: fig-two\n#| fig-cap: "x"\n',
        "#| label: two\n",
        "",
    ],
)
def test_what_is_not_known_is_left_to_quarto(
    root: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    cell = "for _ in range(2):\n    plt.plot([1])\n    plt.show()\n"
    (root / "one.qmd").write_text(f"{CHAPTER}\n```{{python}}\n{options}{cell}```\n")
    assert handed(root) == {}
    assert "one.qmd is left to Quarto: cell" in capsys.readouterr().out


@pytest.mark.parametrize(
    "cell",
    [
        "from IPython.display import HTML\nHTML('<b>a</b>')",
        "from IPython.display import Math\nMath('a')",
        "print('\\x1b[31mred\\x1b[0m')",
        "from IPython.display import Image\nImage(b'\\x89PNG\\r\\n', width=9)",
    ],
)
def test_what_quarto_writes_in_its_own_way_is_left_to_it(
    root: Path, capsys: pytest.CaptureFixture[str], cell: str
) -> None:
    (root / "one.qmd").write_text(f"{CHAPTER}\n```{{python}}\n{cell}\n```\n")
    assert handed(root) == {}
    assert "one.qmd is left to Quarto: cell" in capsys.readouterr().out


def test_quarto_replaces_no_shortcode_in_what_a_cell_prints(root: Path) -> None:
    """It would, and shows what stands in three braces in two."""
    printed = "[[< var a >]] [[<b>]] >]] [[ c ]]\\n[[< d"
    cell = f"print('{printed}'.replace('[', '{{').replace(']', '}}'))"
    (root / "one.qmd").write_text(f"{CHAPTER}\n```{{python}}\n{cell}\n```\n")
    html = json.loads(handed(root)["execute-results/html.json"])
    lines = html["result"]["markdown"].splitlines()
    assert "{{{< var a >}}} {{{<b>}}} >}} {{ c }}" in lines and "{{< d" in lines


def test_the_name_of_what_is_drawn_is_not_handed_over(root: Path) -> None:
    cell = "```{python}\n#| label: drawn\nplt.plot([1, 2])\n```\n"
    (root / "one.qmd").write_text(f"{CHAPTER}\n{cell}")
    files = handed(root)
    assert "figure-html/drawn-output-1.svg" in files
    assert b"Line2D" not in files["execute-results/html.json"]


def test_the_script_does_nothing_for_portable(root: Path) -> None:
    script = ROOT / "code" / "book" / "executed.py"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUARTO_")}
    environment |= {"QUARTO_PROJECT_RENDER_ALL": "1"}
    subprocess.run([sys.executable, script], cwd=root, env=environment, check=True)
    assert sorted(path.name for path in root.iterdir()) == ["one.qmd"]


def test_the_script_tells_what_failed(root: Path) -> None:
    script = ROOT / "code" / "book" / "executed.py"
    environment = os.environ | {"QUARTO_PROJECT_INPUT_FILES": "one.qmd"}
    done = subprocess.run(
        [sys.executable, script],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: _quarto.yml is not in")
