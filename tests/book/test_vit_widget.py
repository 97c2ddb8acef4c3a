"""The network in the page of problem 4 computes what PyTorch does."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from browser import SCHEMES, WIDTHS, fits, opened, picture
from hw2 import vit
from hw2.data import FASHION_MNIST_CLASSES, fashion_mnist
from hw2.exhibits.vit_widget import SHOWN
from hw2.vit.experiments import moved
from hw2.vit.inspection import rollout

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

PAGE = "chapters/04-vision-transformer.html"
FRAME = "await new Promise(requestAnimationFrame);"


@pytest.fixture
def running(shown: "Page") -> "Page":
    start(shown)
    return shown


@pytest.fixture(scope="module")
def model() -> vit.ViT:
    found = vit.load("vit-small")
    assert isinstance(found, vit.ViT)
    return found


@pytest.fixture(scope="module")
def images() -> Tensor:
    return fashion_mnist("test")[0][:SHOWN]


def start(page: "Page") -> None:
    page.get_by_role("button", name=re.compile("Run the network")).click()
    page.locator("play-vit .run p").wait_for()


def widget(page: "Page", script: str) -> Any:
    """What a script gives for the element ``root``, when its next frame is drawn."""
    run = f"async (root) => {{ {FRAME} {script} }}"
    return page.locator("play-vit").evaluate(run)


def pixels(page: "Page") -> Tensor:
    found = widget(page, "return [...root.pixels];")
    return torch.tensor(found, dtype=torch.uint8).view(1, 1, 28, 28)


def logits(page: "Page") -> Tensor:
    return torch.tensor(widget(page, "return [...root.result.logits];"))


def choose(page: "Page", number: int) -> None:
    page.locator("play-vit .images input").nth(number).check()


def said(page: "Page", line: str = "verdict") -> str:
    widget(page, "")
    return page.locator(f"play-vit .{line}").inner_text()


def stage(page: "Page") -> "Locator":
    return page.locator("play-vit .stage canvas")


def middle(page: "Page", patch: int) -> tuple[float, float]:
    """Where on the page a patch of the image is."""
    stage(page).scroll_into_view_if_needed()
    box = stage(page).bounding_box()
    assert box
    row, column = divmod(patch, 7)
    side = box["width"] / 7
    return box["x"] + (column + 0.5) * side, box["y"] + (row + 0.5) * side


def test_all_logits_and_probabilities_are_those_of_pytorch(
    running: "Page", model: vit.ViT, images: Tensor
) -> None:
    found = widget(
        running,
        f"""const found = [];
        for (const input of root.querySelectorAll(".images input")) {{
          input.click(); {FRAME}
          found.push({{logits: [...root.result.logits], pixels: [...root.pixels],
            said: root.querySelector(".verdict").textContent,
            numbers: [...root.querySelectorAll(".number")].map((n) => n.textContent)}});
        }}
        return found;""",
    )
    read = torch.tensor([each["pixels"] for each in found], dtype=torch.uint8)
    assert read.equal(images.flatten(1))
    expected = vit.predict(model, images)
    ours = torch.tensor([each["logits"] for each in found])
    assert (ours - expected).abs().max() < 1e-3
    labels = fashion_mnist("test")[1]
    for each, row, label in zip(found, expected.softmax(dim=1), labels, strict=False):
        for text, p in zip(each["numbers"], row.tolist(), strict=True):
            number = float(re.sub(r"[^\d.]", "", text)) / 100
            assert abs(number - p) < 0.0011
        best = FASHION_MNIST_CLASSES[int(row.argmax())]
        ends = f"%; label: {FASHION_MNIST_CLASSES[label]}."
        assert each["said"].startswith(f"Predicted: {best}, ")
        assert each["said"].endswith(ends)


@pytest.mark.parametrize("number", [0, 17, 42])
def test_attention_and_rollout_are_those_of_pytorch(
    running: "Page", model: vit.ViT, images: Tensor, number: int
) -> None:
    choose(running, number)
    found = widget(running, "return root.result.attention.map((of) => [...of]);")
    image = vit.to_unit(images[number : number + 1])
    with torch.no_grad():
        x = model.embed(vit.patches(vit.standardise(image), 4)) + model.positions
        weights = []
        for block in model.blocks:
            assert isinstance(block, vit.Block)
            weights.append(block.attention.attend(block.norm1(x))[0][0])
            x = block(x)
    for ours, theirs in zip(found, weights, strict=True):
        assert np.allclose(ours, theirs.flatten(), atol=1e-4)
    ours = widget(running, "return [...root.result.rollout];")
    assert np.allclose(ours, rollout(model, image)[0], atol=1e-4)

    # What is shown of it: a layer, a head and a patch; the mean of all of them.
    running.get_by_label("Show").select_option("attention")
    running.get_by_label("Layer").fill("2")
    running.get_by_label("Head").select_option("3")
    running.mouse.click(*middle(running, 10))
    check_cells(running, weights[1][2][10])
    most = int(weights[1][2][10].argmax())
    assert f"Patch 10 (row 2, column 4) takes most from patch {most}," in said(
        running, "about"
    )
    running.get_by_label("Head").select_option("mean")
    running.get_by_label("Query").select_option("all")
    check_cells(running, weights[1].mean(dim=(0, 1)))
    running.get_by_label("Show").select_option("rollout")
    check_cells(running, rollout(model, image)[0])


def check_cells(page: "Page", values: Tensor) -> None:
    """The shades of the cells, and the ends of their scale in words."""
    script = """return [...root.querySelectorAll(".cell")]
      .map((cell) => Number(cell.getAttribute("opacity")));"""
    shades = np.array(widget(page, script))
    least, most = values.min(), values.max()
    assert np.allclose(shades, 0.9 * (values - least) / (most - least), atol=1e-3)
    ends = re.findall(r"([\d.]+)%", said(page, "about"))[-2:]
    # One digit after the point of a percentage; below 0.1% it is said to be that.
    assert np.allclose(np.array(ends, float) / 100, [least, most], atol=1.1e-3)


def test_shifts_are_those_of_the_tensors(
    running: "Page", model: vit.ViT, images: Tensor
) -> None:
    choose(running, 5)
    image = images[5:6]
    for way, down, right in (
        ("left", 0, -1),
        ("left", 0, -1),
        ("up", -1, 0),
        ("right", 0, 1),
        ("down", 1, 0),
        ("down", 1, 0),
    ):
        running.get_by_role("button", name=f"Move {way} by a pixel").click()
        image = moved(image, down, right)
        assert pixels(running).equal(image)
        assert torch.allclose(logits(running), vit.predict(model, image)[0], atol=1e-3)
    running.get_by_role("button", name="Reset").click()
    assert pixels(running).equal(images[5:6])


@pytest.mark.parametrize(("tool", "ink"), [("erase", 0), ("draw", 255)])
def test_what_the_mouse_draws_or_erases_changes_the_logits(
    running: "Page", model: vit.ViT, images: Tensor, tool: str, ink: int
) -> None:
    before = logits(running)
    running.get_by_label("Tool").select_option(tool)
    running.mouse.move(*middle(running, 22))
    running.mouse.down()
    running.mouse.move(*middle(running, 26))  # at once, so the way is filled in
    running.mouse.up()
    running.mouse.move(*middle(running, 40))  # not pressed
    after = pixels(running)
    changed = (after != images[:1])[0, 0]
    assert (after[0, 0][changed] == ink).all()
    row = after[0, 0, 14, 6:22]  # between the middles of patches 22 and 26
    assert (row == ink).all()
    assert changed.any() and not changed[:11].any() and not changed[17:].any()
    assert torch.allclose(logits(running), vit.predict(model, after)[0], atol=1e-3)
    assert (logits(running) - before).abs().max() > 0.01


def test_a_finger_draws_and_does_not_scroll(
    chromium: "Browser", pages: Path, images: Tensor
) -> None:
    with opened(chromium, pages / PAGE, width=320) as page:
        touch = "getComputedStyle(root.querySelector('.stage canvas')).touchAction"
        assert widget(page, f"return {touch};") == "auto"
        page.get_by_label("Tool").select_option("draw")
        assert widget(page, f"return {touch};") == "none"
        x, y = middle(page, 24)
        for kind in ("pointerdown", "pointerup"):
            stage(page).dispatch_event(
                kind,
                {"clientX": x, "clientY": y, "pointerType": "touch", "pointerId": 1},
            )
        changed = pixels(page) != images[:1]
        assert 1 <= changed.sum() <= 9 and changed[0, 0, 12:16, 12:16].any()
        page.get_by_label("Tool").select_option("choose")
        assert widget(page, f"return {touch};") == "auto"


def test_the_keyboard_is_enough(shown: "Page", model: vit.ViT, images: Tensor) -> None:
    keyboard = shown.keyboard
    shown.locator("play-vit .images input").first.focus()
    keyboard.press("ArrowRight")
    assert pixels(shown).equal(images[1:2])
    shown.get_by_role("button", name=re.compile("Run the network")).focus()
    keyboard.press("Enter")
    shown.locator("play-vit .run p").wait_for()
    focused = shown.evaluate("document.activeElement.tagName")
    assert focused == "SELECT"  # the button is gone
    shown.get_by_label("Tool").focus()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")  # erase
    stage(shown).focus()
    expected = images[1:2].clone()
    for key, row, column in (
        ("ArrowUp", 2, 3),
        ("ArrowLeft", 2, 2),
        ("ArrowDown", 3, 2),
        ("ArrowRight", 3, 3),
    ):
        keyboard.press(key)
        keyboard.press("Enter" if row == 2 else " ")
        expected[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
        assert f"(row {row + 1}, column {column + 1})" in said(shown, "about")
        assert pixels(shown).equal(expected)
    for _ in range(9):  # it stays within the image
        keyboard.press("ArrowRight")
    assert "(row 4, column 7)" in said(shown, "about")
    assert not expected.equal(images[1:2])
    assert torch.allclose(logits(shown), vit.predict(model, expected)[0], atol=1e-3)
    shown.get_by_role("button", name="Figure as printed").focus()
    keyboard.press("Enter")
    assert shown.locator("#fig-vit-rollout img").is_visible()
    assert not stage(shown).is_visible()


def test_nothing_is_loaded_before_it_is_asked_for(shown: "Page", pages: Path) -> None:
    scripts = "return [...document.scripts].map((s) => s.src).filter(Boolean);"
    assert not [name for name in widget(shown, scripts) if "vit-" in name]
    assert re.fullmatch("Label: .*\\.", said(shown))
    assert shown.get_by_label("Layer").is_disabled()
    shown.get_by_label("Show").select_option("attention")  # asks for it as well
    shown.locator("play-vit .run p").wait_for()
    assert said(shown).startswith("Predicted")
    assert shown.get_by_label("Layer").is_enabled()
    assert (pages / PAGE).stat().st_size < 1_000_000


def test_the_size_of_what_is_loaded_is_told(shown: "Page", pages: Path) -> None:
    loaded = sum(path.stat().st_size for path in pages.glob("widgets/vit-*.js"))
    text = shown.locator("play-vit .run").inner_text()
    told = re.fullmatch(r"Run the network in this page \(([\d.]+) MB\)", text)
    assert told and 0 <= float(told[1]) - loaded / 1e6 < 0.1


def test_the_network_runs_once_a_frame(running: "Page") -> None:
    running.get_by_label("Tool").select_option("draw")
    running.mouse.move(*middle(running, 24))
    running.mouse.down()
    frames = widget(
        running,
        """const canvas = root.querySelector(".stage canvas"), asked = [];
        const before = root.result, real = window.requestAnimationFrame;
        window.requestAnimationFrame = (then) => asked.push(then) && real(then);
        for (let x = 0; x < 50; x++)
          canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: 5 * x }));
        window.requestAnimationFrame = real;
        return asked.length + (root.result === before ? 0 : 100);""",
    )
    assert frames == 1


def test_weights_that_are_not_there_are_named(chromium: "Browser", pages: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.route("**/vit-weights.js", lambda route: route.abort())
    page.goto((pages / PAGE).as_uri())
    button = page.get_by_role("button", name=re.compile("Run the network"))
    button.click()
    page.wait_for_function(
        "document.querySelector('play-vit .verdict').textContent.includes('not')"
    )
    assert re.search("file:.*/widgets/vit-weights.js could not be loaded", said(page))
    page.unroute("**/vit-weights.js")
    button.click()  # it can be tried again
    page.locator("play-vit .run p").wait_for()
    context.close()


def test_an_image_takes_less_than_a_tenth_of_a_second(running: "Page") -> None:
    script = f"""const times = [];
      for (let k = 0; k < 12; k++) {{
        root.querySelectorAll(".images input")[k + 1].click(); {FRAME}
        times.push(root.time);
      }}
      return Math.min(...times);"""
    assert widget(running, script) < 100


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits(chromium: "Browser", pages: Path, scheme: str, width: int) -> None:
    with opened(chromium, pages / PAGE, scheme, width) as page:
        assert fits(page, "play-vit")
        picture(page, "#fig-vit-rollout", f"vit-before-{scheme}-{width}")
        start(page)
        assert fits(page, "play-vit")
        picture(page, "#fig-vit-rollout", f"vit-{scheme}-{width}")
