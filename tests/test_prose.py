"""No result is typed by hand: results in the prose are values of expressions.

A figure from elsewhere is marked, as in ``[92.3%]{.quoted}``, in a paragraph that cites
where it is from.
"""

import re

import pytest

from conftest import ROOT
from portable.project import read_project

NUMBER = r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
WORD = (
    r"(?:half an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"fifteen|twenty|thirty|forty|fifty|sixty|ninety|a hundred)"
)
UNIT = (
    r"(?:%|\\%|percent\b|per cent\b|percentage points?\b|points of accuracy\b|"
    r"(?:s|ms|µs|sec|min|h|seconds?|milliseconds?|microseconds?|minutes?|hours?|days?)\b|"
    r"(?:times|x|×)\s+(?:as\s+(?:fast|slow|cheap|long)|faster|slower|cheaper|longer|more|less)|"
    r"\w+\s?/\s?s\b|\w+ (?:per|a) second\b)"
)
MEASURE = r"(?:accuracy|accuracies|loss|losses|slope|speed-?up|error rate|AUC|F1)"
RESULT = re.compile(
    rf"(?<![\w.,])(?:{NUMBER}(?:\s|-|\\,|\$)*|{WORD}(?:\s|-)+)"
    rf"{UNIT}(?!\s+intervals?\b)"
    rf"|\b{MEASURE}\s+(?:\w+\s+){{0,3}}\d*\.\d+"
    rf"|(?<![\w.,])\d*\.\d+\s+{MEASURE}",
    re.IGNORECASE,
)
QUOTED = re.compile(r"\[[^][]*\]\{\.quoted\}")
CITATION = re.compile(r"@(?!(?:fig|tbl|eq|sec|thm|lem|cor|prp|def|exm)-)\w+")


def paragraphs(text: str) -> list[str]:
    """The prose of a chapter: without cells, but with their captions."""
    captions = re.findall(
        r"^#\| (?:fig-cap|fig-alt|tbl-cap|fig-subcap): (.*)$", text, re.MULTILINE
    )
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.split(r"\n\s*\n", text) + captions


def results(paragraph: str) -> list[str]:
    """The results in a paragraph that are neither computed nor quoted."""
    paragraph = re.sub(r"`\{python\}[^`]*`", "VALUE", paragraph)
    if CITATION.search(paragraph):
        paragraph = QUOTED.sub("QUOTED", paragraph)
    return [match[0] for match in RESULT.finditer(paragraph)]


@pytest.mark.parametrize("source", read_project(ROOT).sources)
def test_no_result_is_typed(source: str) -> None:
    found = [
        f"{result!r} in: {' '.join(paragraph.split())[:80]}"
        for paragraph in paragraphs((ROOT / source).read_text())
        for result in results(paragraph)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "The network gets 92.3% right.",
        "It gets 92.3 % right.",
        "It gets $92.3\\%$ of them.",
        "About ninety percent are right.",
        "It gains 0.4 percentage points.",
        "Training took 81 s on two cores.",
        "It takes 3.5 minutes.",
        "Training takes two minutes.",
        "A 15-minute training.",
        "Each call costs .3 ms.",
        "It is 8 times faster than packed sequences.",
        "This is three times slower.",
        "It reads 1,100 images/s here.",
        "It reads 52 reviews per second.",
        "The accuracy is 0.849 on the test set.",
        "It has an accuracy of 0.72.",
        "a loss of 0.43 after two epochs",
        "0.85 accuracy",
        "The slope is 1.98, nearly two.",
        "It gets [92.3%]{.quoted} right.",
        "`{python} x` of them, that is 90%.",
        "| Q3d | The epochs took 21.3 s. | @sec-a |",
        "See @tbl-results: [92.3%]{.quoted}",
    ],
)
def test_a_typed_result_is_found(text: str) -> None:
    assert results(text)


@pytest.mark.parametrize(
    "text",
    [
        "It gets `{python} accuracy` right in `{python} seconds` s.",
        "The 95% interval of Wilson. In brackets: 95% intervals.",
        "Others reach [92.3%]{.quoted} [@hassani2021escaping].",
        "The 60,000 training images of $28 \\times 28$ pixels, in 6 layers.",
        "Dropout is 0.25, the rate rises over the first tenth of the steps.",
        "An error of at most $10^{-12}$, in $T = 10$ steps.",
        "It grows 4 times as the length doubles.",
        "Chapter 5 says so; problem 2 has 3 points.",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert results(text) == []


def test_captions_are_read_and_cells_are_not() -> None:
    text = '```{python}\n#| fig-cap: "It took 3 s."\nx = "90%"\n```\n\nProse.\n'
    assert [found for p in paragraphs(text) for found in results(p)] == ["3 s"]
