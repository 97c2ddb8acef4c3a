"""No result is typed by hand: results in the prose are values of expressions.

A figure from elsewhere is marked, as in ``[92.3%]{.quoted}``, in a paragraph that cites
where it is from. What counts as a result: a percentage, a time, a rate, a comparison of
speeds or sizes, a count out of a total, and any decimal fraction but those that the
assignment gives. A level, as of a 95% interval, is none.
"""

import re

import pytest

from conftest import ROOT
from portable.project import read_project

NUMBER = r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
WORD = (
    r"(?:half an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"fifteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?|"
    r"a hundred|several)"
)
UNIT = (
    r"(?:%|percent\b|per cent\b|percentage points?\b|points (?:better|worse)\b|"
    r"(?:ms|µs|sec|min|seconds?|milliseconds?|microseconds?|minutes?|hours?|days?)\b|"
    r"(?:[kMG]i?B|FLOPs?)\b|\w+\s?/\s?s\b|\w+ (?:per|a) second\b|"
    r"(?:times\s+|x\s*|×\s*|-?fold\s+)?(?:as\s+(?:fast|slow|cheap|long)|faster|slower|"
    r"cheaper|longer|quicker)\b)"
)
LEVEL = r"(?!\s+(?:confidence\s+)?intervals?\b)"
RESULT = re.compile(
    rf"(?<![\w.,])(?:{NUMBER}[-\s~]*|{WORD}[-\s]+){UNIT}{LEVEL}"
    rf"|(?<![\w.,]){NUMBER}[\s~]*s\b|\ban?\s+(?:minute|hour|day)\b"
    rf"|(?<![\w.,]){NUMBER}\s+(?:out\s+)?of\s+(?:the\s+)?{NUMBER}"
    r"|\b(?:two|three)[-\s](?:thirds|quarters)|\b(?:twice|half)\s+as\b"
    rf"|\bfactor\s+of\s+{NUMBER}|\b{NUMBER}\s+errors\b"
    r"|(?<![\w.,])\d*\.\d+(?!\w|\.\d)"
    r"|`\{python\}\s*f?[\"'][^`{]*`",
    re.IGNORECASE,
)
# What the assignment gives: points of a question, the dropout; and Python's version.
GIVEN = re.compile(r"\b[abc] (?:0\.5|2)\b|dropout 0\.25|\b3\.1[12]\b")
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
    paragraph = re.sub(r"`\{python\}\s+(?!f?[\"'][^`{]*`)[^`]*`", "VALUE", paragraph)
    paragraph = GIVEN.sub("GIVEN", re.sub(r"[$*\\]", "", paragraph))
    if CITATION.search(paragraph):
        paragraph = QUOTED.sub("QUOTED", paragraph)
    return [match[0].strip() for match in RESULT.finditer(paragraph)]


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
        "About eighty-five percent are right.",
        "It gains 0.4 percentage points.",
        "It is 3 points better.",
        "Training took 81 s on two cores.",
        "Training took 81~s.",
        "It takes 3.5 minutes.",
        "Training takes two minutes.",
        "It took a minute.",
        "A 15-minute training.",
        "Each call costs .3 ms.",
        "It is 8 times faster than packed sequences.",
        "It is 8x faster, or 8× as fast.",
        "This is three times slower, or several times slower.",
        "It is twice as fast.",
        "It is faster by a factor of 8.",
        "It reads 1,100 images/s here.",
        "It reads 52 reviews per second.",
        "It needs 5 GB.",
        "849 of 1,000 test reviews are right.",
        "It calls 9 out of 10 right.",
        "Two thirds are right.",
        "It makes 151 errors.",
        "The accuracy is 0.849 on the test set.",
        "It has an accuracy of **0.72**.",
        "It reaches $0.85$.",
        "The slopes are 1.98 and 1.02.",
        "a loss of 0.43 after two epochs",
        "0.72 (95% interval 0.69 to 0.75)",
        "It gets [92.3%]{.quoted} right.",
        "`{python} x` of them, that is 90%.",
        'It gets `{python} "92.3%"` right.',
        "| Q3d | The epochs took 21 s. | @sec-a |",
        "See @tbl-results: [92.3%]{.quoted}",
    ],
)
def test_a_typed_result_is_found(text: str) -> None:
    assert results(text)


@pytest.mark.parametrize(
    "text",
    [
        "It gets `{python} accuracy` right in `{python} seconds` s.",
        "It gets `{python} f'{share:.1%}'` right.",
        "The 95% interval of Wilson. In brackets: 95% confidence intervals.",
        "Others reach [92.3%]{.quoted} [@hassani2021escaping].",
        "The 60,000 training images of $28 \\times 28$ pixels, in 6 layers.",
        "With dropout 0.25 the rate rises over the first tenth of the steps.",
        "An error of at most $10^{-12}$, in $T = 10$ steps, at $\\beta = 3$.",
        "It grows 4 times as the length doubles.",
        "Chapter 5 says so; problem 2 has 3 points.",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert results(text) == []


def test_captions_are_read_and_cells_are_not() -> None:
    text = '```{python}\n#| fig-cap: "It took 3 s."\nx = "90%"\n```\n\nProse.\n'
    assert [found for p in paragraphs(text) for found in results(p)] == ["3 s"]
