"""The widgets of problem 5 show what ``hw2.sentiment`` computes, and the record."""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from browser import SCHEMES, WIDTHS, fits, opened, picture
from conftest import ROOT
from conftest import page as parsed
from hw2 import data, sentiment
from hw2.exhibits import sentiment_widget as widgets
from hw2.sentiment import Predictor, inspection, padding
from hw2.sentiment.tokens import pad
from recorded import run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "chapters/05-sentiment.html"
TOKENS, PADDING = "#fig-sentiment-occlusion", "#fig-sentiment-padding"
HARMFUL = (
    "A <script>document.title = 'bad'</script> film, `code`\n```\n& <b>&lt;</b> \"é 🎬"
)


@pytest.fixture(scope="module")
def predictors() -> dict[str, Predictor]:
    return {name: sentiment.load(name) for name in sentiment.RUNS}


@torch.no_grad()
def logit(predictor: Predictor, text: str) -> float:
    return float(predictor.model(*pad(predictor.tokens([text]))))


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def decimals(text: str) -> list[float]:
    return [number(found) for found in re.findall(r"[−+]?\d+\.\d+", text)]


def choose_models(page: "Page", models: tuple[str, str]) -> None:
    for label, name in zip(("First model", "Second model"), models, strict=True):
        page.get_by_label(label).select_option(name)


@pytest.mark.parametrize("group", range(len(widgets.GROUPS)))
def test_effects_and_logits_are_those_of_the_models(
    shown: "Page", predictors: Mapping[str, Predictor], group: int
) -> None:
    texts = list(widgets.GROUPS.values())[group]
    shown.get_by_label("Reviews").select_option(str(group))
    readout = shown.locator(f"{TOKENS} .readout")
    verdicts = shown.locator(f"{TOKENS} .verdict")
    effects = {
        name: [inspection.occlusion(of, text)[1] for text in texts]
        for name, of in predictors.items()
    }
    names = list(predictors)
    for models in zip(names, names[1:] + names[:1], strict=True):
        choose_models(shown, models)
        assert shown.locator(f"{TOKENS} .text").all_text_contents() == [
            text for text in texts for _ in models
        ]
        found = iter(verdicts.all_text_contents())
        for text, name in itertools.product(texts, models):
            line = next(found)
            p = predictors[name].predict_proba([text])[0]
            expected = [p, logit(predictors[name], text)]
            # A probability in bfloat16 depends on the reviews beside it.
            assert np.allclose(decimals(line), expected, atol=0.011), line
            assert line.startswith(name.removeprefix("sentiment-"))
            assert ("wrong" in line) == ((p > 0.5) != widgets.LABELS[text])
        # By keyboard through all tokens of the first column, from the first.
        shown.locator(f"{TOKENS} [data-at='0 0,0']").focus()
        for row in range(len(texts)):
            for each in zip(*(effects[name][row] for name in models), strict=True):
                said = readout.inner_text()
                assert f"in review {row + 1}:" in said
                assert np.allclose(decimals(said.split("review")[1]), each, atol=0.0051)
                signs = [
                    "positive" if effect > 0 else "negative"
                    for effect in each
                    if abs(effect) >= 0.005
                ]
                assert re.findall(r"speaks for (\w+)", said) == signs
                shown.keyboard.press("ArrowRight")
        assert readout.inner_text() == said  # the last token is the end


def test_colours_and_lines_are_by_sign_and_size(shown: "Page") -> None:
    spans = shown.locator(f"{TOKENS} .text [role=option]")
    largest = number(shown.locator(f"{TOKENS} .ends").inner_text().split("+")[1])
    strongest = 0.0
    for i in range(spans.count()):
        spans.nth(i).dispatch_event("pointerenter")
        column = int(str(spans.nth(i).get_attribute("data-at")).split()[0])
        said = shown.locator(f"{TOKENS} .readout").inner_text()
        effect = decimals(said.split("review")[1])[column]
        names = str(spans.nth(i).get_attribute("class")).split()
        if effect:  # else its sign is rounded away
            assert names[0] == ("up" if effect > 0 else "down")
        share = abs(effect) / largest
        style = str(spans.nth(i).get_attribute("style"))
        assert float(style.split(":")[1].strip(" ;")) == pytest.approx(share, abs=0.003)
        if abs(share - 0.1) > 0.003:
            assert ("slight" in names) == (share < 0.1)
        strongest = max(strongest, share)
    assert strongest == pytest.approx(1)


def test_models_and_tokens_by_keyboard(shown: "Page") -> None:
    first = shown.get_by_label("First model")
    second = shown.get_by_label("Second model")
    names = list(sentiment.RUNS)
    assert (first.input_value(), second.input_value()) == widgets.SHOWN
    first.focus()
    while first.input_value() != names[0]:
        shown.keyboard.press("ArrowUp")
    # The notebook's model was the second one: now the two have changed places.
    assert second.input_value() in names[1:]
    shown.keyboard.press("Tab")
    assert second.evaluate("element => element === document.activeElement")
    shown.keyboard.press("Tab")  # to the tokens: one of each column is on the way
    at = "document.activeElement.dataset.at"
    column, place = shown.evaluate(at).split()
    assert column == "0"
    row = int(place.split(",")[0])
    for press, expected in (
        ("Home", f"0 {row},0"),
        ("ArrowLeft", f"0 {row},0"),  # the first token of all
        ("ArrowDown", f"0 {row + 1},0"),
        ("ArrowUp", f"0 {row},0"),
        ("ArrowRight", f"0 {row},1"),
        ("End", f"0 {row},9"),
        ("ArrowRight", f"0 {row + 1},0"),
        ("ArrowLeft", f"0 {row},9"),
        ("Tab", f"1 {row},9"),
    ):
        shown.keyboard.press(press)
        assert shown.evaluate(at) == expected, press
    chosen = shown.locator(f"{TOKENS} [aria-selected=true]")
    assert chosen.all_text_contents() == [".", "."]
    assert shown.locator(f"{TOKENS} .readout").get_attribute("aria-live") == "polite"


def test_given_reviews_with_padding_are_as_recorded(
    shown: "Page", predictors: Mapping[str, Predictor]
) -> None:
    study = run("sentiment-padding", *sentiment.STUDIES["sentiment-padding"])
    read = study.predictions["given"].sigmoid().numpy()
    masked = [
        predictors["sentiment-notebook"].predict_proba([text])[0]
        for text in sentiment.GIVEN
    ]
    slider = shown.locator(f"{PADDING} input")
    assert slider.get_attribute("max") == str(len(padding.AMOUNTS) - 1)
    slider.focus()
    shown.keyboard.press("Home")
    for amount, row in zip(padding.AMOUNTS, read, strict=True):
        said = shown.locator(f"{PADDING} .play-said").inner_text()
        assert said.startswith(f"With {amount} tokens of padding")
        assert shown.locator(f"{PADDING} output").inner_text() == f"{amount} tokens"
        change = row - read[0]
        expected = [row[0], change[0], row[1], change[1], *masked]
        assert np.allclose(decimals(said), expected, atol=0.0053), said
        assert "whatever it is" in said
        shown.keyboard.press("ArrowRight")
    for i, kind in enumerate(("one", "two")):
        curve = shown.locator(f"{PADDING} polyline.{kind}:not(.masked)")
        points = str(curve.get_attribute("points")).split()
        x, y = np.array([point.split(",") for point in points], float).T
        for drawn, value in ((x, padding.AMOUNTS), (y, read[:, i])):
            line = np.polyfit(value, drawn, 1)
            assert np.allclose(np.polyval(line, value), drawn, atol=0.02)
        assert line[0] < 0  # upwards on the screen


def test_short_reviews_with_padding_are_as_recorded(shown: "Page") -> None:
    study = run("sentiment-padding", *sentiment.STUDIES["sentiment-padding"])
    logits = study.predictions["watched"]
    p = logits.sigmoid()
    shown.get_by_label("Shown").select_option("watched")
    slider = shown.locator(f"{PADDING} input")
    assert slider.get_attribute("max") == str(len(logits) - 1)
    slider.focus()
    shown.keyboard.press("Home")
    for row, probabilities in zip(logits, p, strict=True):
        said = shown.locator(f"{PADDING} .play-said").inner_text()
        moves = (probabilities - p[0]).abs()
        changed = int(((row > 0) != (logits[0] > 0)).sum())
        expected = [moves.mean(), moves.max()]
        assert np.allclose(decimals(said), expected, atol=0.0051), said
        assert f"of the {logits.shape[1]} reviews" in said
        assert said.endswith(f"the class of {changed} differs.")
        marks = shown.locator(f"{PADDING} svg path")
        middles = marks.evaluate_all(
            """marks => marks.map(mark => mark.getBBox()).map(
              box => [box.x + box.width / 2, box.y + box.height / 2])"""
        )
        for drawn, value in zip(
            np.array(middles).T, (p[0], probabilities), strict=True
        ):
            line = np.polyfit(value, drawn, 1)
            # A triangle is not in the middle of its box, by a part of its size.
            assert np.allclose(np.polyval(line, value), drawn, atol=0.5)
        assert shown.locator(f"{PADDING} svg path.two").count() == changed
        shown.keyboard.press("ArrowRight")
    # Back among the given reviews, the slider is where it was.
    shown.get_by_label("Shown").select_option("given")
    assert shown.locator(f"{PADDING} output").inner_text() == "496 tokens"


def test_a_review_is_text_whatever_it_holds(
    chromium: "Browser", predictors: Mapping[str, Predictor], tmp_path: Path
) -> None:
    block = str(
        widgets.playable_tokens(
            predictors, {}, {"of no good": (HARMFUL,)}, {HARMFUL: 1}
        ).data
    )
    inside = block.removeprefix("```{=html}\n").removesuffix("\n```")
    # The block and the script end where they should.
    assert inside.count("</script>") == 1 and "`" not in inside
    scripts = "".join(
        f'<script src="{(ROOT / "code/book/widgets" / file).as_uri()}" defer></script>'
        for file in ("kit.js", "sentiment.js")
    )
    (tmp_path / "page.html").write_text(
        f'<meta charset="utf-8"><title>good</title>{scripts}'
        f'<div id="fig-sentiment-occlusion"><img alt=""></div>{inside}'
    )
    with opened(chromium, tmp_path / "page.html") as page:
        texts = page.locator("play-sentiment .text")
        assert texts.all_text_contents() == [HARMFUL, HARMFUL]
        assert texts.locator("b, script").count() == 0
        assert page.title() == "good"
        last = page.locator("play-sentiment [role=option]").last
        last.dispatch_event("pointerenter")
        assert page.locator("play-sentiment .readout").inner_text().startswith("“🎬”")


def test_a_text_that_is_not_read_to_its_end_is_refused(
    predictors: Mapping[str, Predictor],
) -> None:
    text = "good " * 600
    with pytest.raises(ValueError, match=r"has 600 tokens, of which 510 are read"):
        widgets.playable_tokens(predictors, {}, {"long": (text,)}, {text: 1})


def test_the_shortest_reviews_are_the_shortest() -> None:
    try:
        texts, labels = data.imdb("test")
    except data.MissingData as missing:
        pytest.skip(str(missing))
    for label in (0, 1):
        of = [text for text, own in zip(texts, labels, strict=True) if own == label]
        shown = [text for text, own in widgets.SHORTEST.items() if own == label]
        assert shown == sorted(of, key=len)[: len(shown)]


def test_the_element_holds_numbers(pages: Path) -> None:
    scripts = parsed(pages / PAGE).select("play-sentiment script")
    tokens, padded = (json.loads(script.text) for script in scripts)
    assert list(tokens["models"]) == list(sentiment.RUNS)
    for of in tokens["models"].values():
        for review, said in zip(tokens["reviews"], of, strict=True):
            assert len(said["effects"]) == len(review["pieces"]) // 2
            assert all(isinstance(effect, float) for effect in said["effects"])
    flat: Any = np.array(padded["masked"])
    assert np.ptp(flat, axis=0).max() < 1e-3


def contrast(page: "Page") -> float:
    """The smallest contrast of the text with its colour, of all tokens."""
    found = page.locator(f"{TOKENS} .text [role=option]").evaluate_all(
        """spans => spans.map(span => [getComputedStyle(span).color,
          getComputedStyle(span).backgroundColor,
          getComputedStyle(span.closest('.play')).backgroundColor])"""
    )

    def rgba(text: str) -> Any:
        values = [float(v) for v in re.findall(r"[\d.]+(?:e-\d+)?", text)]
        scale = 1 if text.startswith("color(") else 255
        return np.array([v / scale for v in values[:3]]), ([*values, 1.0])[3]

    def luminance(colour: Any) -> float:
        linear = np.where(
            colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    ratios = []
    for text, over, back in found:
        (front, alpha), (behind, _) = rgba(over), rgba(back)
        both = luminance(alpha * front + (1 - alpha) * behind), luminance(rgba(text)[0])
        ratios.append((max(both) + 0.05) / (min(both) + 0.05))
    return min(ratios)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits(chromium: "Browser", pages: Path, scheme: str, width: int) -> None:
    with opened(chromium, pages / PAGE, scheme, width) as page:
        for group in range(len(widgets.GROUPS)):
            page.get_by_label("Reviews").select_option(str(group))
            assert fits(page, f"{TOKENS} play-sentiment")
            assert contrast(page) >= 4.5
            picture(page, TOKENS, f"sentiment-{group}-{scheme}-{width}")
        for view in ("given", "watched"):
            page.get_by_label("Shown").select_option(view)
            assert fits(page, f"{PADDING} play-sentiment")
            picture(page, PADDING, f"sentiment-{view}-{scheme}-{width}")
