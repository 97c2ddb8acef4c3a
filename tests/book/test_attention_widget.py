"""The widget of problem 2 shows what ``hw2.attention`` computes."""

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from browser import SCHEMES, WIDTHS, fits, opened, picture
from hw2.attention import (
    TOKENS,
    Array,
    base_tokens,
    error_bound,
    exact_errors,
    self_attention,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "chapters/02-attention.html"


def numbers(page: "Page", table: str) -> list[list[float]]:
    """The numbers of a table in all their digits; NaN where there is none."""
    rows: list[list[str]] = page.locator(
        f"play-attention .{table} tbody tr"
    ).evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('[data-value]')]"
        ".map(cell => cell.dataset.value))"
    )
    return [[float(value or "nan") for value in row] for row in rows]


def said(page: "Page") -> list[str]:
    return page.locator("play-attention .copies").inner_text().split("\n")


def set_to(page: "Page", beta: float, power: int = 0) -> float:
    """Moves the sliders to ``beta`` and to the scale 1 / sqrt(4^power), returned."""
    page.get_by_label("Norm β").fill(f"{beta:.2f}")
    page.get_by_label("Scale s").fill(str(5 - power))
    return 0.5**power


def choose(page: "Page", tokens: list[list[int]]) -> None:
    """Makes as many tokens, and gives them their base vectors."""
    boxes = page.locator("play-attention .tokens input")
    while (count := boxes.count() // 4) != len(tokens):
        sign = "+" if count < len(tokens) else "−"
        page.get_by_role("button", name=f"{sign} token").click()
    for i, token in enumerate(tokens, 1):
        for name, has in zip("abcd", token, strict=True):
            page.get_by_label(f"Token {i} has {name}").set_checked(bool(has))


def matches(tokens: Array) -> npt.NDArray[np.bool_]:
    """Which tokens are the best matches of each: those with the largest score."""
    scores = tokens @ tokens.T
    return np.asarray(scores == scores.max(axis=1, keepdims=True))


def precise_errors(tokens: Array, beta: float, scale: float) -> list[float]:
    """The distances of outputs to the mean of the best matches, from the definition."""
    with mpmath.workdps(120):
        X = mpmath.matrix(tokens.tolist())
        scores = mpmath.mpf(scale) * mpmath.mpf(beta) ** 2 * X * X.T
        errors = []
        for i, best in enumerate(matches(tokens).tolist()):
            powers = scores[i, :].apply(mpmath.exp)
            mean = mpmath.matrix([[*map(int, best)]]) / sum(best)
            difference = (powers / mpmath.fsum(powers) - mean) * X
            errors.append(float(beta * mpmath.norm(difference)))
    return errors


def test_the_assignment_is_computed_as_in_the_chapter(shown: "Page") -> None:
    rng = random.Random(0)
    for power in range(6):
        for beta in (0.05, rng.randint(1, 100) / 20, rng.randint(1, 100) / 20, 5.0):
            scale = set_to(shown, beta, power)
            weights, outputs = self_attention(base_tokens(beta), scale)
            assert np.allclose(numbers(shown, "weights"), weights, rtol=1e-12, atol=0)
            in_base = np.array(numbers(shown, "outputs")) * beta
            assert np.allclose(in_base, outputs, rtol=1e-12, atol=0)
            errors, bounds = np.transpose(numbers(shown, "errors"))
            exact = [float(error) for error in exact_errors(beta, scale)]
            assert np.allclose(errors, exact, rtol=1e-12, atol=0)
            assert np.allclose(bounds, error_bound(beta, scale), rtol=1e-10, atol=0)


def test_other_tokens_are_computed_and_bounded(shown: "Page") -> None:
    rng = random.Random(1)
    for _ in range(12):
        tokens = [rng.choices((0, 1), k=4) for _ in range(rng.randint(2, 4))]
        choose(shown, tokens)
        beta = rng.randint(1, 100) / 20
        scale = set_to(shown, beta, rng.randint(0, 5))
        X = np.array(tokens, dtype=float)
        weights, outputs = self_attention(beta * X, scale)
        assert np.allclose(numbers(shown, "weights"), weights, rtol=1e-12, atol=0)
        in_base = np.array(numbers(shown, "outputs")) * beta
        assert np.allclose(in_base, outputs, rtol=1e-12, atol=0)
        errors, bounds = np.transpose(numbers(shown, "errors"))
        exact = precise_errors(X, beta, scale)
        assert np.allclose(errors, exact, rtol=1e-10, atol=1e-100), tokens
        for i, best in enumerate(matches(X)):
            if best.sum() > 1:
                assert np.isnan(bounds[i])
                continue
            gaps = sorted(X[i] @ X[i] - X @ X[i])
            farthest = np.linalg.norm(X - X[i], axis=1).max()
            small = np.exp(-scale * beta**2 * gaps[1])
            expected = (len(X) - 1) * small * beta * farthest
            assert np.isclose(bounds[i], expected, rtol=1e-12, atol=0)
            assert errors[i] <= bounds[i] * (1 + 1e-12)


def test_the_numbers_are_written_as_they_are(shown: "Page") -> None:
    set_to(shown, 2.0)
    (first, *_), rest = self_attention(base_tokens(2.0))[0], exact_errors(2.0)
    cells = shown.locator("play-attention .weights tbody td").all_inner_texts()[:3]
    mantissa, exponent = f"{first[1]:.0e}".split("e-0")
    small = f"{mantissa}·10⁻{'⁰¹²³⁴'[int(exponent)]}"
    assert cells == [f"{first[0]:.3f}", small, f"{first[2]:.3f}"]
    cells = shown.locator("play-attention .errors tbody td").all_inner_texts()
    assert cells[:2] == ["x₁", f"{float(rest[0]):.3g}"]
    share = float(rest[1]) / 2
    assert said(shown)[1] == f"y₂ copies x₂ to within {share:.2g} of its norm."


def test_the_plot_shows_errors_where_they_are(shown: "Page") -> None:
    beta = 3.5
    set_to(shown, beta)
    expected = [float(error) for error in exact_errors(beta)]
    plot = shown.locator("play-attention .plot")
    told = plot.locator("desc").text_content() or ""
    assert re.search(
        rf"At β = 3.5 it is {float(f'{expected[0]:.2e}') * 1e5:.3g} × 10⁻⁵", told
    )
    # The marks of the axes, by their texts, give the scale.
    heights = {
        str(text.text_content()): float(text.get_attribute("y") or 0) - 5
        for text in plot.locator("text[text-anchor=end]").all()
    }
    decade = (heights["10⁻⁸"] - heights["1"]) / 8
    axis = plot.locator("line[stroke='var(--grey)']").first.get_attribute("y1")
    assert abs(heights["10⁻¹²"] - float(axis or 0)) < 1e-6
    rings = [
        float(ring.get_attribute("cy") or 0)
        for ring in plot.locator("circle[r='6']").all()
    ]
    for ring, error in zip(
        sorted(rings), sorted({*expected[:2]}, reverse=True), strict=True
    ):
        assert abs(heights["1"] - np.log10(error) * decade - ring) < 1e-6
    # Two lines, as two of three errors are equal, each with its dashed bound and dots.
    assert plot.locator(".line").count() == 2
    assert plot.locator(".line path[stroke-dasharray]").count() == 2
    assert plot.locator(".line circle[r='2.4']").count() == 2 * 20
    before = plot.locator(".line path").first.get_attribute("d")
    set_to(shown, beta, 1)
    assert plot.locator(".line path").first.get_attribute("d") != before


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (TOKENS, ["y₁ copies x₁", "y₂ copies x₂", "y₃ copies x₃"]),
        (  # the first is part of the third
            [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]],
            [
                "y₁ is the average of x₁ and x₃ to within .*: x₃ has all that x₁ has.",
                "y₂ copies x₂",
                "y₃ copies x₃",
            ],
        ),
        (  # one is zero
            [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]],
            [
                "y₁ is the average of x₁, x₂ and x₃ exactly: "
                "x₁ is zero and matches all tokens alike.",
                "y₂ copies x₂",
                "y₃ copies x₃",
            ],
        ),
        (
            [[1, 0, 0, 0], [1, 0, 0, 0]],
            ["y₁ copies x₁ exactly", "y₂ copies x₂ exactly"],
        ),
        (
            [[0, 0, 0, 0], [0, 0, 0, 0]],
            ["x₁ is zero, and so are all", "x₂ is zero, and so are all"],
        ),
        (
            [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]],
            [
                "y₁ is the average of x₁, x₂, x₃ and x₄ exactly: x₂, x₃ and x₄ have",
                "y₂ is the average of x₂ and x₄",
                "y₃ is the average of x₃ and x₄",
                "y₄ copies x₄",
            ],
        ),
    ],
)
def test_what_is_copied_where_is_told(
    shown: "Page", tokens: list[list[int]], expected: list[str]
) -> None:
    choose(shown, [list(token) for token in tokens])
    set_to(shown, 3.0)
    lines = said(shown)
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.match(pattern, line), line


def test_what_is_no_copy_is_not_told_to_be_one(shown: "Page") -> None:
    set_to(shown, 0.7)
    shares = [
        float(error) / np.linalg.norm(token)
        for error, token in zip(exact_errors(0.7), base_tokens(0.7), strict=True)
    ]
    for i, (line, share) in enumerate(zip(said(shown), shares, strict=True)):
        x, y = f"x{'₁₂₃'[i]}", f"y{'₁₂₃'[i]}"
        where = f"{share:.2g} of the norm of {x} away from {x}"
        assert line == f"{y} is no copy yet: it is {where}."
    set_to(shown, 0.0)
    assert said(shown) == [
        "With β = 0 all vectors are zero, and there is nothing to copy."
    ]
    assert np.allclose(numbers(shown, "weights"), 1 / 3, rtol=1e-15, atol=0)


def test_the_bound_is_that_of_the_theorem_or_of_the_lemma(shown: "Page") -> None:
    link = shown.locator("play-attention .key a")
    assert link.get_attribute("href") == "#thm-copy"
    again = shown.get_by_role("button", name="Tokens of the assignment")
    assert again.is_disabled()
    shown.get_by_label("Token 1 has a").check()
    assert link.get_attribute("href") == "#lem-selection"
    for name in ("thm-copy", "lem-selection"):
        assert shown.locator(f"#{name}").count() == 1
    again.click()
    assert link.get_attribute("href") == "#thm-copy" and again.is_disabled()
    assert not shown.get_by_label("Token 1 has a").is_checked()


def test_the_keyboard_is_enough(shown: "Page") -> None:
    shown.get_by_label("Norm β").focus()
    shown.keyboard.press("ArrowRight")
    expected = self_attention(base_tokens(2.05))[0]
    assert np.allclose(numbers(shown, "weights"), expected, rtol=1e-12, atol=0)
    shown.keyboard.press("Tab")
    shown.keyboard.press("ArrowLeft")  # the next smaller scale, 1/2
    expected = self_attention(base_tokens(2.05), 0.5)[0]
    assert np.allclose(numbers(shown, "weights"), expected, rtol=1e-12, atol=0)
    shown.keyboard.press("Tab")
    shown.keyboard.press("Tab")
    shown.keyboard.press("Enter")  # one more token, without a base vector
    assert len(numbers(shown, "weights")) == 4
    box = shown.get_by_label("Token 4 has a")
    box.focus()
    shown.keyboard.press("Space")
    assert box.is_checked()
    assert box.evaluate("box => box === document.activeElement")
    assert "x₄ has all that x₂ has" not in said(shown)[1] and "copy" in said(shown)[1]
    swap = shown.locator("play-attention").get_by_role(
        "button", name="Figure as printed"
    )
    swap.focus()
    shown.keyboard.press("Enter")
    assert shown.locator("#fig-errors img").is_visible() and not box.is_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits(chromium: "Browser", pages: Path, scheme: str, width: int) -> None:
    with opened(chromium, pages / PAGE, scheme, width) as page:
        assert fits(page, "play-attention")
        picture(page, "#fig-errors", f"attention-{scheme}-{width}")
        choose(page, [[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 1]])
        assert fits(page, "play-attention")
        picture(page, "#fig-errors", f"attention-ties-{scheme}-{width}")
