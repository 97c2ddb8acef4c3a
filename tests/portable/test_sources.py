"""Sources as their writers save them are read as Quarto reads them, or refused."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from test_portable import small_book

from conftest import page, pdf_text, words
from portable import RenderError
from portable.book import render
from portable.chapter import END, Piece, read_chapter

CELL = "```{python}\n1 + 1\n```\n"


def read(root: Path, text: str | bytes) -> list[Piece]:
    content = text.encode() if isinstance(text, str) else text
    (root / "a.qmd").write_bytes(content)
    return read_chapter(root, "a.qmd")


def cells(pieces: list[Piece]) -> list[tuple[int, str]]:
    return [(piece.line, piece.text) for piece in pieces if piece.kind == "code"]


# What is read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeff# A\n\n```{python}\n1\n```\n", [(3, "1")]),
        ("# A\r\n\r\n```{python}\r\n1\r\n2\r\n```\r\n", [(3, "1\n2")]),
        ("# A\r\r```{python}\r1\r```\r", [(3, "1")]),
        ("# A\n\n```{python}\n1\n```", [(3, "1")]),
        ("```{python }\n1\n```\n", [(1, "1")]),
        ("``` {python}\n1\n```\n", [(1, "1")]),
        ("```  {python}  \n1\n```   \n", [(1, "1")]),
        ("````{python}\n'''\n```\n'''\n````\n", [(1, "'''\n```\n'''")]),
        ("```{python}\n1\n`````\n2\n```\n", [(1, "1\n`````\n2")]),
        ("```{python}\nif 1:\n\t2\n```\n", [(1, "if 1:\n\t2")]),
        ("```\ncode\n```\n\n```{python}\n1\n```\n", [(5, "1")]),
        ("~~~\n```\n~~~\n\n```{python}\n1\n```\n", [(5, "1")]),
        ("- a\n\n  ```\n  b\n  ```\n\n```{python}\n1\n```\n", [(7, "1")]),
        ("- ```\n  b\n  ```\n\n```{python}\n1\n```\n", [(5, "1")]),
        ("> ```\n> b\n> ```\n\n```{python}\n1\n```\n", [(5, "1")]),
        ("```python 1 + 1```\n\n```{python}\n1\n```\n", [(3, "1")]),
        ("<!-- ``` -->\n\n```{python}\n1\n```\n", [(3, "1")]),
        ("<!--\n```\n:::\n![a](b)\n-->\n\n```{python}\n1\n```\n", [(7, "1")]),
        ("`<!--`\n\n```{python}\n1\n```\n", [(3, "1")]),
        ("$$\n```{python}\n1\n```\n$$\n", [(2, "1")]),
        ("", []),
        ("\n\n  \n", []),
        ("No heading.\n", []),
    ],
)
def test_cells_are_those_of_quarto(
    tmp_path: Path, text: str, expected: list[tuple[int, str]]
) -> None:
    assert cells(read(tmp_path, text)) == expected


@pytest.mark.parametrize(
    "option", ["#| echo: false", "#|echo: false", "# | echo: false", "#|  echo: false"]
)
@pytest.mark.parametrize("before", ["", "\n", "  \n\n"])
def test_options_in_all_spellings(tmp_path: Path, option: str, before: str) -> None:
    (cell,) = read(tmp_path, f"```{{python}}\n{before}{option}\n1\n```\n")
    assert (cell.options, cell.text, cell.line) == ({"echo": False}, "1", 1)


def test_what_is_no_option_is_code(tmp_path: Path) -> None:
    (cell,) = read(tmp_path, "```{python}\n #| echo: false\n1\n#| echo: true\n```\n")
    assert cell.options == {} and cell.text == " #| echo: false\n1\n#| echo: true"


def test_a_caption_of_several_lines_may_have_colons(tmp_path: Path) -> None:
    caption = "#| fig-cap: |\n#|   a: b\n#|   - c: d"
    (cell,) = read(tmp_path, f"```{{python}}\n#| label: fig-a\n{caption}\n1\n```\n")
    assert cell.options["fig-cap"] == "a: b\n- c: d"


@pytest.mark.parametrize("name", ["true-name", "no", "off", "null-one"])
def test_a_label_that_is_nearly_a_truth_value(tmp_path: Path, name: str) -> None:
    (cell,) = read(tmp_path, f"```{{python}}\n#| label: {name}\n1\n```\n")
    assert cell.options == {"label": name}


# What is refused, with its line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Caf\xe9\n".encode("latin-1"), r"a\.qmd:1: the byte 0xe9 is no UTF-8"),
        ("a\n\n“b”\n".encode("cp1252"), r"a\.qmd:3: the byte 0x93 is no UTF-8"),
        ("# A\n".encode("utf-16"), r"a\.qmd:1: the byte 0xff is no UTF-8"),
        ("# A\n".encode("utf-16-le"), r"a\.qmd:1: the character U\+0000"),
        ("a\n\nb\x0cc\n", r"a\.qmd:3: the character U\+000C"),
        ("a\n\nb\u2028c\n", r"a\.qmd:3: the character U\+2028"),
        ("```{python}\n'\x1b'\n```\n", r"a\.qmd:2: the character U\+001B"),
        ("````\n```{python}\n1\n```\n````\n", r"a\.qmd:2: a cell stands in a block"),
        ("~~~\n```{python}\n1\n```\n~~~\n", r"a\.qmd:2: .* write ```\{\{python\}\}"),
        ("~~~{python}\n1\n~~~\n", r"a\.qmd:1: this is no cell, which has ```\{python"),
        ("> ```{python}\n> 1\n> ```\n", r"a\.qmd:1: this is no cell"),
        ("- ```{python}\n  1\n  ```\n", r"a\.qmd:1: this is no cell"),
        ("- a\n\n  ```{python}\n  1\n  ```\n", r"a\.qmd:3: a cell is indented"),
        ("<!--\n```{python}\n1\n```\n-->\n", r"a\.qmd:2: a cell .* comment of line 1"),
        ("a <!-- b\n\nc\n", r"a\.qmd:1: the comment is not closed"),
        ("```{python}\n1\n", r"a\.qmd:1: the fence is not closed"),
        ("```{python}\n1\n   ```\n", r"a\.qmd:1: the fence is not closed"),
        ("a\n\n```\n1\n", r"a\.qmd:3: the fence is not closed"),
        ("```{python echo=false}\n1\n```\n", r"a\.qmd:1: a block of \{python echo"),
        ("```{python, echo=F}\n1\n```\n", r"a\.qmd:1: a block of \{python, echo"),
        ("```{ python }\n1\n```\n", r"a\.qmd:1: a block of \{ python \}"),
        ("```{Python}\n1\n```\n", r"a\.qmd:1: a block of \{Python\}"),
        ('```{.python filename="a"}\n1\n```\n', r"a\.qmd:1: a block of \{\.python f"),
        (
            "```python title\n1\n```\n",
            r"a\.qmd:1: .* 'python title', expected one",
        ),
        ("{{< var name >}}\n", r"a\.qmd:1: shortcode \{\{< var name >\}\}"),
        ("a {{<var name>}} b\n", r"a\.qmd:1: shortcode"),
        ("a {{<\nvar  name >}} b\n", r"a\.qmd:1: shortcode \{\{< var name >\}\}"),
        ("`{{< var name >}}`\n", r"a\.qmd:1: shortcode"),
        ("```\n{{< var name >}}\n```\n", r"a\.qmd:2: shortcode .* not even in code"),
        ("```{python}\n'{{< a >}}'\n```\n", r"a\.qmd:2: shortcode"),
        ("a\n---\nb\n", r"a\.qmd:2: below --- a blank line is expected"),
        ("a\n\n---\nauthor: b\n---\n", r"a\.qmd:3: below --- a blank line"),
        ("\ufeff---\ntitle: a\n---\n", r"a\.qmd:1: front matter"),
        ("`{python} 1`\n", r"a\.qmd:1: .* in a chapter without cells"),
        ("a\n\n\nb\n`{python} 1`\n", r"a\.qmd:5: .* in a chapter without cells"),
        (f"{CELL}`{{python}}1`\n", r"a\.qmd:4: `\{python\} is not followed"),
        (f"{CELL}`{{python}}\n1`\n", r"a\.qmd:4: `\{python\} is not followed"),
        (f"{CELL}`{{python}} 1 +\n1`\n", r"a\.qmd:4: `\{python\} is not followed"),
        ("```{python}\n#| echo: no\n1\n```\n", r"a\.qmd:2: echo is 'no'"),
        ("```{python}\n#| echo: off\n1\n```\n", r"a\.qmd:2: echo is 'off'"),
        ("```{python}\n#| echo:\n1\n```\n", r"a\.qmd:2: echo is None"),
        ("```{python}\n#| echo: false1\n1\n```\n", r"a\.qmd:2: echo is 'false1'"),
        ("```{python}\n#| echo: !!bool x\n1\n```\n", r"a\.qmd:2: cell options"),
        (
            "```{python}\n#| fig-cap: !!timestamp 2001-99-99\n1\n```\n",
            r"a\.qmd:2: cell options",
        ),
        ("```{python}\n#| echo:\tfalse\n1\n```\n", r"a\.qmd:2: .* a tab"),
        (
            "```{python}\n#| echo: true\n#| echo: false\n1\n```\n",
            r"a\.qmd:3: echo is given twice",
        ),
        ("```{python}\n#| just words\n1\n```\n", r"a\.qmd:2: .* not `key: value`"),
        (
            "```{python}\n#| label: a name\n1\n```\n",
            r"a\.qmd:2: label 'a name' has more",
        ),
        ("```{python}\n#| label: 5\n1\n```\n", r"a\.qmd:2: label is 5"),
        (
            "```{python}\n#| label: fig-A\n#| fig-cap: b\n1\n```\n",
            r"a\.qmd:2: label 'fig-A' is changed by Quarto",
        ),
        (
            "```{python}\n#| label: fig-a b\n#| fig-cap: b\n1\n```\n",
            r"a\.qmd:2: label 'fig-a b' has more than letters",
        ),
        (
            "```{python}\n#| label: fig-a\n1\n```\n",
            r"a\.qmd:2: label fig-a has no fig",
        ),
        (
            "```{python}\n#| fig-cap: a\n1\n```\n",
            r"a\.qmd:2: a cell has a fig-cap, e",
        ),
        (
            2 * "```{python}\n#| label: a\n1\n```\n",
            r"a\.qmd:5: label a is used twice",
        ),
        ("```{python}\n#| layout-ncol: 0\n1\n```\n", r"a\.qmd:2: layout-ncol is 0"),
        ("```{python}\n#| layout-ncol: true\n1\n```\n", r"a\.qmd:2: layout-ncol is T"),
        ("```{python}\n#| fig-subcap: [1, 2]\n1\n```\n", r"a\.qmd:2: fig-subcap is \["),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        read(tmp_path, text)


# What is shown

SHOWN = """# A

Shown {{{< var name >}}}, `{{{< var a >}}}` and `{{python}} 1 + 1`.

```
{{{< var b >}}}
```

```{{python}}
#| echo: false
1 + 41
```

````markdown
```{{python}}
2 + 41
```
````

```{.python}
3 + 41
```

``` py
4 + 41
```

above

---

below

<!-- never
shown -->

```{python}
5 + 41
```
"""
EXPECTED = (
    "Shown {{< var name >}}, {{< var a >}} and {python} 1 + 1. {{< var b >}} "
    "```{python} #| echo: false 1 + 41 ``` ```{python} 2 + 41 ``` 3 + 41 4 + 41 above "
    "below 5 + 41 46"
)


def test_what_is_escaped_is_shown(tmp_path: Path) -> None:
    root = small_book(tmp_path, SHOWN)
    render(root, ["html", "pdf"])
    main = page(root / "_book" / "index.html").select_one("main")
    assert main and EXPECTED in words(main.get_text()).replace("Copy ", "")
    assert main.select("hr") and "never" not in main.get_text()
    text = pdf_text(PdfReader(root / "_book" / "small.pdf"))
    assert EXPECTED in text


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_chapter_is_rendered(tmp_path: Path, text: str) -> None:
    root = small_book(tmp_path, text)
    render(root, ["html"])
    assert page(root / "_book" / "index.html").select_one("main")


def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    pages = []
    changed = [SHOWN, "\ufeff" + SHOWN, SHOWN.replace("\n", "\r\n")]
    for number, text in enumerate(changed):
        root = tmp_path / str(number)
        root.mkdir()
        small_book(root, "")
        (root / "index.qmd").write_bytes(text.encode())
        render(root, ["html"])
        pages.append((root / "_book" / "index.html").read_bytes())
    assert pages[0] == pages[1] == pages[2]


# Any source

BLOCKS = [
    "```{python}\nx = 1\n```",
    "````{python}\n'''\n```\n'''\n````",
    "```{python}\n\n#| label: fig-%d\n#| fig-cap: |\n#|   a: b\n\nx\n```",
    "```\ncode\n```",
    "```{{python}}\n1\n```",
    "- a\n\n  ```\n  b\n  ```",
    "words and `code`\nand `{python} x`",
    "<!-- a\nb -->",
    "::: {.proof}",
    ":::",
    "---",
    "",
]
TOKENS = [
    *("```", "````", "~~~", "{python}", "{{python}}", "#| ", "label: a", "echo: no"),
    *(
        "\n",
        "\r\n",
        "\r",
        "\t",
        " ",
        "    ",
        "- ",
        "> ",
        ":",
        "`",
        "<!--",
        "-->",
        "---",
    ),
    *(
        "{{< a >}}",
        "{{{< a >}}}",
        "![a](b)",
        "!!bool x",
        "&a",
        "*a",
        "'",
        "|",
        "\u2028",
    ),
    *("`{python}", "---", "|"),
]


@st.composite
def sources(draw: st.DrawFn) -> str:
    """Blocks as they should be, with something put in here and there."""
    blocks = draw(st.lists(st.sampled_from(BLOCKS), max_size=6))
    text = "\n\n".join(
        of % number if "%d" in of else of for number, of in enumerate(blocks)
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        put = draw(st.sampled_from(TOKENS) | st.text(max_size=3))
        text = text[:at] + put + text[at:]
    return text


def by_quarto(lines: list[str]) -> list[tuple[int, list[str]]]:
    """The cells of a source, as the lines of Quarto's own reader: line and content."""
    found: list[tuple[int, list[str]]] = []
    opened: re.Match[str] | None = None
    for number, line in enumerate(lines, 1):
        if opened is None:
            opened = re.match(r"(\s*)(```+)\s*\{python( *[ ,].*)?\}\s*$", line)
            if opened:
                found.append((number, []))
        elif re.match(re.escape(opened[1] + opened[2]) + r"\s*$", line):
            opened = None
        else:
            found[-1][1].append(line)
    return found


@example("```{python}\n#| echo: false1 + 1\nx\n```")
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sources())
def test_any_source_is_read_whole_or_refused(tmp_path: Path, text: str) -> None:
    start = time.perf_counter()
    try:
        pieces = read(tmp_path, text.encode("utf-8", "surrogatepass"))
    except RenderError as error:
        assert re.match(r"a\.qmd:\d+: .", str(error)) and "\n" not in str(error)
        return
    finally:
        assert time.perf_counter() - start < 5
    lines = END.split(text.removeprefix("\ufeff"))
    taken = [0] * len(lines)
    expected = by_quarto(lines)
    assert [piece.line for piece in pieces if piece.kind == "code"] == [
        line for line, _ in expected
    ]
    for start_line, content in expected:
        (cell,) = (of for of in pieces if of.kind == "code" and of.line == start_line)
        assert "\n".join(content).rstrip("\n").endswith(cell.text)
        for number in range(start_line - 1, start_line + len(content) + 1):
            taken[number] += 1
    for piece in pieces:
        number = piece.line - 1
        for line in piece.text.split("\n") if piece.kind == "markdown" else []:
            if number < len(lines) and line == lines[number]:
                taken[number] += 1
                number += 1
            else:  # what was put around a cell that is shown
                assert re.fullmatch(r"`{4,}|~{4,}", line)
    for line, count in zip(lines, taken, strict=True):
        assert count == 1 or (count == 0 and not line.strip())
