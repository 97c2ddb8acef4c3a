"""The widget of problem 1 shows what ``hw2.recurrence`` computes."""

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from browser import SCHEMES, WIDTHS, fits, opened, picture
from hw2.recurrence import run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "chapters/01-recurrence.html"


def numbers(page: "Page", selector: str) -> list[float]:
    texts = page.locator(f"play-recurrence {selector}").all_text_contents()
    return [float(text.replace("−", "-").replace("+", "")) for text in texts]


def type_in(page: "Page", inputs: list[int]) -> None:
    """Makes the sequence as long as ``inputs``, and types them."""
    fields = page.locator("play-recurrence .fields input")
    while (count := fields.count()) != len(inputs):
        sign = "+" if count < len(inputs) else "−"
        page.get_by_role("button", name=f"{sign} input").click()
    for t, value in enumerate(inputs):
        fields.nth(t).fill(str(value))


@pytest.mark.parametrize("weight", ["-1", "1", "0", "0.5"])
def test_states_parts_and_outputs_are_those_of_the_network(
    shown: "Page", weight: str
) -> None:
    rng = random.Random(int(float(weight) * 2))
    shown.get_by_label("Recurrent weight").select_option(weight)
    w_rec = float(weight) if "." in weight else int(weight)
    for largest in (9, 9, 999_999):
        inputs = [rng.randint(-largest, largest) for _ in range(rng.randint(1, 8))]
        type_in(shown, inputs)
        hidden, outputs = run(inputs, w_rec=w_rec)
        assert numbers(shown, ".state") == hidden.tolist()
        assert np.allclose(numbers(shown, ".output"), outputs, atol=1e-3)
        parts = [
            part
            for k, alone in enumerate(np.diag(inputs))
            for part in run(alone, w_rec=w_rec)[0][k:]
        ]
        assert numbers(shown, ".part") == parts


def test_the_decision_is_told(shown: "Page") -> None:
    said = shown.locator("play-recurrence .decision")
    for inputs, expected in (
        ([3, 1, 4, 1, 5, 9], "E − O = 11 − 12 = −1: h₆ = −1.*below ½, class 0"),
        ([3, 1, 4, 1, 5, 11], "E − O = 13 − 12 = 1: h₆ = 1.*above ½, class 1"),
        ([-3, -3], "E − O = −3 − .−3. = 0.*exactly ½, a tie"),
        ([1, 2, 3], "t = 3 is odd.*O − E = 4 − 2 = 2.*class 1"),
    ):
        type_in(shown, inputs)
        assert re.search(expected, said.inner_text()), said.inner_text()
    tie = shown.get_by_role("button", name="Make it a tie")
    tie.click()
    assert "a tie" in said.inner_text()
    shown.get_by_label("Recurrent weight").select_option("0.5")
    type_in(shown, [1, 0, 0])
    tie.click()
    assert said.inner_text() == "For a tie the last input would have to be −0.25."
    assert numbers(shown, ".state") == [1, 0.5, 0.25]


def test_what_is_no_whole_number_is_refused(shown: "Page") -> None:
    field = shown.get_by_label("Input x 2")
    said = shown.locator("play-recurrence .decision")
    for wrong in ("1.5", "", "1234567"):
        field.fill(wrong)
        assert f"x₂ is “{wrong}”, expected a whole number" in said.inner_text()
        assert field.get_attribute("aria-invalid") == "true"
    shown.get_by_label("Step t").press("ArrowLeft")
    assert "x₂ is “1234567”" in said.inner_text()  # as long as the field holds it
    assert "The drawing still has 1." in said.inner_text()
    field.fill("2")
    assert "h₅" in said.inner_text() and field.get_attribute("aria-invalid") == "false"


def test_the_keyboard_is_enough(shown: "Page") -> None:
    said = shown.locator("play-recurrence .decision")
    shown.get_by_label("Step t").focus()
    shown.keyboard.press("ArrowLeft")
    assert "t = 5 is odd" in said.inner_text()
    shown.keyboard.press("Tab")
    shown.keyboard.press("ArrowDown")  # the next weight, 1
    assert "The sum of the inputs so far" in said.inner_text()
    shown.get_by_label("Input x 1").focus()
    shown.keyboard.press("ArrowUp")
    assert numbers(shown, ".state")[0] == 4
    swap = shown.get_by_role("button", name="Figure as printed")
    swap.focus()
    shown.keyboard.press("Enter")
    assert shown.locator("#fig-unrolled img").is_visible() and not said.is_visible()
    shown.keyboard.press("Enter")
    assert said.is_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits(chromium: "Browser", pages: Path, scheme: str, width: int) -> None:
    with opened(chromium, pages / PAGE, scheme, width) as page:
        assert fits(page, "play-recurrence")
        picture(page, "#fig-unrolled", f"recurrence-{scheme}-{width}")
