"""The widget of problem 3 shows what PyTorch counts, and what was recorded."""

import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from browser import SCHEMES, WIDTHS, fits, opened, picture
from hw2 import scaling
from hw2.exhibits.linear_attention import playable
from hw2.linear_attention import Attention, crossover, linear, quadratic
from recorded import Run, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "chapters/03-linear-attention.html"
LENGTHS = sorted({2**n for n in range(21)} | {3 * 2**n for n in range(19)})
FEATURES = [size for size in LENGTHS if size <= 256]
UNITS: dict[str, float] = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
UNITS_OF_TIME = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}
CORNERS = [(1, 1, 1), (1, 256, 256), (2**20, 1, 1), (2**20, 256, 256), (2, 2, 1)]


@pytest.fixture(scope="module")
def timed() -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW2_TRAIN", "never")
        config = scaling.RUNS["linear-attention"]
        return run("linear-attention", scaling.experiment, config)


def choose(page: "Page", T: int, d: int, d_v: int) -> None:
    for label, size in (("T", T), ("d", d), ("dᵥ", d_v)):
        slider = page.locator("play-linear").get_by_label(label, exact=True)
        slider.fill(str(LENGTHS.index(size)))


def sizes(seed: int, count: int) -> list[tuple[int, int, int]]:
    rng = random.Random(seed)
    return CORNERS + [
        (
            rng.choice(LENGTHS),
            rng.choice(FEATURES),
            rng.choice(FEATURES),
        )
        for _ in range(count)
    ]


def counted(attention: Attention, T: int, d: int, d_v: int) -> int:
    """What PyTorch counts for tensors of any size, which have shapes and no entries."""
    q, k, v = (torch.empty(T, columns, device="meta") for columns in (d, d, d_v))
    sums: Any = attention
    with FlopCounterMode(display=False) as counter:
        sums.__wrapped__(q, k, v)  # without the checks of the entries
    return int(counter.get_total_flops())


def cells(page: "Page", row: str) -> list[str]:
    """The quadratic, the linear and their ratio, without the formulas below them."""
    found: list[str] = page.locator("play-linear tr", has_text=row).evaluate(
        "row => [...row.querySelectorAll('td')].map(cell => cell.firstChild.data)"
    )
    return found


def whole(texts: list[str]) -> list[int]:
    return [int(text.replace(",", "")) for text in texts]


def amount(text: str, units: dict[str, float]) -> float:
    number, unit = text.split("\u00a0")
    return float(number.replace(",", "")) * units[unit]


def ratio(text: str) -> float:
    above = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    return float(text.replace(",", "").replace(" × 10", "e").translate(above))


def said(page: "Page") -> str:
    return page.locator("play-linear .decision").inner_text()


def test_counts_are_those_of_pytorch(shown: "Page") -> None:
    for T, d, d_v in sizes(0, 25):
        choose(shown, T, d, d_v)
        *shown_counts, times = cells(shown, "operations")
        slow, fast = (counted(own, T, d, d_v) for own in (quadratic, linear))
        assert whole(shown_counts) == [slow, fast], (T, d, d_v)
        assert ratio(times) == pytest.approx(slow / fast, rel=5e-3)
        *formed, _ = cells(shown, "grey matrix")
        assert whole(formed) == [T * T, d * d_v]
        *held, _ = cells(shown, "its memory")
        for text, numbers in zip(held, (T * T, d * d_v), strict=True):
            assert amount(text, UNITS) == pytest.approx(4 * numbers, rel=5e-3)
        if slow == fast:
            assert "both need the same number" in said(shown)
        else:
            names = ("quadratic", "linear") if slow > fast else ("linear", "quadratic")
            expected = f"{names[0]} needs (.*) times as many operations as {names[1]}"
            match = re.search(expected, said(shown))
            assert match, said(shown)
            assert ratio(match[1]) == pytest.approx(
                max(slow / fast, fast / slow), rel=5e-3
            )


def test_counts_with_no_entries_are_those_with_entries() -> None:
    for attention in (quadratic, linear):
        for T, d in ((1, 1), (12, 3), (100, 64)):
            assert counted(attention, T, d, d) == scaling.operations(attention, T, d)


def test_linear_needs_fewer_from_where_it_is_said(shown: "Page") -> None:
    for _, d, d_v in sizes(1, 10):
        choose(shown, 12, d, d_v)
        T = 1
        while counted(linear, T, d, d_v) >= counted(quadratic, T, d, d_v):
            T += 1
        assert f"Linear needs fewer from T = {T} on" in said(shown)
        star = f"{crossover(d, d_v):.3f}".rstrip("0").rstrip(".")
        assert said(shown).endswith(f"equal at T* = {star}.")
        labels = shown.locator("play-linear svg text").all_text_contents()
        assert f"T* = {star}" in labels and "T = 12" in labels
    shown.get_by_label("Chart of").select_option("seconds")
    labels = shown.locator("play-linear svg text").all_text_contents()
    assert f"T* = {crossover(64, 64):.3f} by operations" in labels


def test_formulas_are_those_of_the_chapter(shown: "Page") -> None:
    formulas = shown.locator("play-linear td small").all_text_contents()
    assert formulas[:2] == ["2T²(d + dᵥ + 1)", "4T d(dᵥ + 1)"]
    assert formulas[2:4] == ["T²", "d dᵥ"]


def test_matrices_are_drawn_to_one_scale(shown: "Page") -> None:
    for T, d, d_v in sizes(2, 25):
        choose(shown, T, d, d_v)
        boxes: list[list[float]] = shown.locator("play-linear rect").evaluate_all(
            """boxes => boxes.map(box => ["height", "width", "x"].map(
                 name => Number(box.getAttribute(name))))"""
        )
        shapes = [(T, d), (d, T), (T, d_v), (T, T), (T, d_v), (T, d_v)]
        shapes += [(T, d), (d, T), (T, d_v), (T, d), (d, d_v), (T, d_v)]
        largest = max(max(height, width) for height, width, _ in boxes)
        scale = largest / max(T, d, d_v)
        for (height, width, x), shape in zip(boxes, shapes, strict=True):
            expected = [max(size * scale, 5) for size in shape]
            assert [height, width] == pytest.approx(expected)
            assert x >= 0 and x + width <= 640
        note = shown.locator("play-linear .scale").inner_text()
        for letter, size in (("T", T), ("d", d), ("dᵥ", d_v)):
            match = re.search(rf"(?<!\S){letter} (\S+|\S+ × \S+) times", note)
            assert bool(match) == (size * scale < 5 * (1 - 1e-9)), note
            if match:
                assert ratio(match[1]) == pytest.approx(5 / size / scale, rel=5e-3)


@pytest.mark.parametrize("what", ["seconds", "bytes"])
def test_recorded_values_are_those_of_the_record(
    shown: "Page", timed: Run, what: str
) -> None:
    shown.get_by_label("Chart of").select_option(what)
    for name in scaling.METHODS:
        label = "softmax, fused" if name == "softmax" else name
        points = shown.locator(f'play-linear [data-line="{label}"] circle')
        costs: list[float] = points.evaluate_all(
            "all => all.map(point => Number(point.dataset.cost))"
        )
        heights: list[float] = points.evaluate_all(
            "all => all.map(point => Number(point.getAttribute('cy')))"
        )
        measured = timed.predictions
        expected = (
            scaling.fastest(measured, name)
            if what == "seconds"
            else measured[f"{name}_bytes"]
        )
        assert costs == expected.tolist()
        # As far apart as their logarithms are.
        logs = expected.double().log10()
        steps = torch.tensor(heights, dtype=torch.float64).diff() / logs.diff()
        assert torch.allclose(steps, steps.mean()), name


def test_the_nearest_recorded_length_is_in_the_table(shown: "Page", timed: Run) -> None:
    measured = timed.predictions
    for T, nearest in ((1, 128), (192, 256), (384, 512), (4096, 4096), (2**20, 2**17)):
        choose(shown, T, 3, 4)
        for row, units, what in (
            ("recorded time", UNITS_OF_TIME, "seconds"),
            ("recorded memory", UNITS, "bytes"),
        ):
            found = cells(shown, row)
            label = shown.locator("play-linear tr", has_text=row).inner_text()
            assert f"T = {nearest:,}, d = dᵥ = {timed.config['d']}" in label
            for name, text in zip(("quadratic", "linear"), found, strict=False):
                tokens = measured[f"{name}_tokens"].tolist()
                if nearest not in tokens:
                    assert text == "not recorded" and found[2] == "–"
                    continue
                values = (
                    scaling.fastest(measured, name)
                    if what == "seconds"
                    else measured[f"{name}_bytes"]
                )
                value = float(values[tokens.index(nearest)])
                assert amount(text, units) == pytest.approx(value, rel=5e-3)


def test_the_keyboard_is_enough(shown: "Page") -> None:
    widget = shown.locator("play-linear")
    widget.get_by_label("T", exact=True).focus()
    shown.keyboard.press("ArrowRight")
    assert "With T = 16, d = 3 and dᵥ = 4" in said(shown)
    shown.keyboard.press("End")
    assert "With T = 1,048,576" in said(shown)
    shown.keyboard.press("Home")
    shown.keyboard.press("Tab")
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Tab")
    shown.keyboard.press("ArrowLeft")
    assert "With T = 1, d = 4 and dᵥ = 3" in said(shown)
    shown.get_by_label("Chart of").focus()
    shown.keyboard.press("ArrowDown")
    title = widget.locator("svg").last.locator("> title").text_content()
    assert title == "size of the grey matrix against the number of tokens"
    swap = widget.get_by_role("button", name="Figure as printed")
    swap.focus()
    shown.keyboard.press("Enter")
    assert shown.locator("#fig-bracketings img").is_visible()
    shown.keyboard.press("Enter")
    assert widget.locator(".decision").is_visible()


def test_the_first_state_is_that_of_the_caption(shown: "Page") -> None:
    caption = shown.locator("#fig-bracketings figcaption").inner_text()
    assert "With T = 12, d = 3 and dᵥ = 4" in said(shown)
    for size in ("12", "3", "4"):
        assert size in caption


def test_a_size_that_no_slider_has_is_refused(timed: Run) -> None:
    assert '"sizes":{"T":12,"d":3,"v":4}' in playable(timed, 12, 3, 4).data
    for T, d, d_v, message in (
        (5, 3, 4, r"T must be 2\^n or 3 \* 2\^n and at most 1048576, got 5"),
        (12, 512, 4, "d must be .* at most 256, got 512"),
        (12, 3, 0, "d_v must be .* got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            playable(timed, T, d, d_v)


def test_data_are_small(timed: Run) -> None:
    text = re.findall(r"json\">(.*)</script>", playable(timed, 12, 3, 4).data)[0]
    data = json.loads(text)
    assert data["steps"]["T"] == LENGTHS and data["steps"]["d"] == FEATURES
    assert len(text) < 8_000


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits(chromium: "Browser", pages: Path, scheme: str, width: int) -> None:
    with opened(chromium, pages / PAGE, scheme, width) as page:
        heights = set()
        for T, d, d_v in [(12, 3, 4), *CORNERS]:
            choose(page, T, d, d_v)
            assert fits(page, "play-linear"), (T, d, d_v)
            box = page.locator("play-linear").bounding_box()
            assert box
            heights.add(box["height"])
        assert len(heights) == 1, f"it moves while a slider does: {heights}"
        controls = page.locator("play-linear .play-controls")
        assert controls.evaluate("all => all.scrollWidth <= all.clientWidth")
        choose(page, 1024, 64, 64)
        page.get_by_label("Chart of").select_option("seconds")
        picture(page, "#fig-bracketings", f"linear-{scheme}-{width}")
