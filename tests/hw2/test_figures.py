"""What the chapters show results with: tables, numbers, and the line of a run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw2 import figures
from recorded import Checkpoint, Fingerprint, Run, run
from toy import Config, count_up


def a_run(config: dict[str, Any], name: str = "a") -> Run:
    options = Fingerprint("made up", config, {}, {})
    about: list[Any] = ["2000-01-01", 99.6, "a machine", {}, {}, {}, {}, {}, {}]
    return Run(name, options, *about)


# The line of a run


def test_the_note_says_what_ran(toy_records: Path) -> None:
    got = run("a", count_up, Config(seed=5))
    text = figures.note(got).data
    for expected in ("`a`", got.date, "seed 5", "@tbl-records"):
        assert expected in text
    assert "\n" not in text


def test_a_note_on_several_runs_has_a_part_for_each() -> None:
    runs = [a_run({"seeds": 3}, "b"), a_run({}, "c")]
    assert figures.note(*runs).data == (
        "[*Run `b` of 2000-01-01, seeds 0 to 2, @tbl-records.*]{.record} "
        "[*Run `c` of 2000-01-01, no seed, @tbl-records.*]{.record}"
    )


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"seeds": 3}, "seeds 0 to 2"),
        ({"seeds": 1}, "seed 0"),
        ({"seed": 5}, "seed 5"),
        ({"seed": 0}, "seed 0"),
        ({"recipe": {"seeds": 2}}, "seeds 0 to 1"),
        ({"recipe": {"seeds": 1}, "seeds": 3}, "seeds 0 to 2"),
        ({"subsets": {"seeds": 3}}, "no seed"),
        ({}, "no seed"),
    ],
)
def test_the_seeds_of_a_run(config: dict[str, Any], says: str) -> None:
    assert figures.seeds(a_run(config)) == says


# Numbers


def test_numbers_have_signs_and_a_minus_that_is_one() -> None:
    assert figures.signed(0.5) == "+0.50"
    assert figures.signed(-0.126) == "−0.13"
    assert figures.signed(-12, 0) == "−12"
    assert figures.signed(1.25, 3) == "+1.250"


def test_where_a_value_is_seen_from_another() -> None:
    assert figures.compared(2, 1) == "above"
    assert figures.compared(1, 2) == "below"
    assert figures.compared(1.0, 1) == "equal to"


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "$1$"),
        (0.0234, "$0.023$"),
        (0.0012, "$0.0012$"),
        (0.0009, "$< 10^{-3}$"),
        (4e-7, "$< 10^{-6}$"),
        (0.0, "$< 10^{-300}$"),
    ],
)
def test_a_p_value_is_its_digits_or_a_bound(p: float, text: str) -> None:
    assert figures.p_value(p) == text


@given(st.floats(1e-299, 1e-3, exclude_max=True))
def test_a_bound_on_a_p_value_is_the_next_power_of_ten(p: float) -> None:
    found = re.fullmatch(r"\$< 10\^\{(-\d+)\}\$", figures.p_value(p))
    assert found
    power = int(found[1])
    assert p < 10.0**power and p >= 10.0 ** (power - 1) * (1 - 1e-12)


def test_items_are_listed_or_there_is_none() -> None:
    assert figures.listed(["a", 1]) == "a; 1"
    assert figures.listed(iter("ab"), ", ") == "a, b"
    assert figures.listed([]) == "none"


# Tables, formulas, code


def test_a_table_is_markdown() -> None:
    found = figures.table(["name", "value"], [("a|b", 1), ("c", 2.5)])
    assert found.data.splitlines() == [
        "| name | value |",
        "| :--- | ---: |",
        r"| a\|b | 1 |",
        "| c | 2.5 |",
    ]
    wide = figures.table(["x", "y", "z"], [], align="rcl", widths=[1, 2, 4]).data
    assert wide.splitlines()[1] == "| -: | :--: | :---- |"


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([("a", 1), ("b",)], {}, r"row \['b'\] has 1 cells for 2 columns"),
        ([("a", 1, 2)], {}, "has 3 cells for 2 columns"),
        ([], {"align": "lrr"}, "align 'lrr' is for 3 columns, not 2"),
        ([], {"widths": [1]}, r"widths \[1\] is for 1 columns, not 2"),
    ],
)
def test_a_table_of_unlike_lengths_is_refused(
    rows: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        figures.table(["name", "value"], rows, **options)


def test_a_formula_is_displayed() -> None:
    assert figures.formula(r"\beta^2").data == "$$\n\\beta^2\n$$"


@given(st.lists(st.text()))
def test_what_a_widget_shows_ends_nothing_that_it_stands_in(texts: list[str]) -> None:
    texts += ["</script><b>", "```", "<!--"]
    fence, element, end = figures.widget("toy", "fig-toy", texts).data.split("\n")
    assert (fence, end) == ("```{=html}", "```")
    before = '<play-toy for="fig-toy"><script type="application/json">'
    after = "</script></play-toy>"
    assert element.startswith(before) and element.endswith(after)
    data = element.removeprefix(before).removesuffix(after)
    assert "<" not in data and "`" not in data
    assert json.loads(data) == texts


def test_the_source_of_functions_is_code() -> None:
    shown = figures.source(figures.formula, Checkpoint.due).data
    assert shown.startswith("```python\ndef formula(") and shown.endswith("\n```")
    assert "\n\ndef due(self)" in shown  # a method, moved to the left
