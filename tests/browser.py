"""A real browser for the pages of the book: Chromium, driven by Playwright.

Pages are opened from the disk, as by a double-click.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # as in the Makefile
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
SCHEMES = ("light", "dark")
WIDTHS = (320, 768, 1280)  # pixels: a phone, a tablet, a desk
SCREENSHOTS = Path(__file__).parent / "screenshots"


@contextmanager
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@contextmanager
def opened(
    browser: "Browser", path: Path, scheme: str = "light", width: int = 1280
) -> Iterator["Page"]:
    """A page of the book. What it asks of another machine, or an error, fails."""
    wrong: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("file:", "data:", "blob:"))
            else wrong.append(f"asks for {asked.url}")
        ),
    )
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda line: (
            wrong.append(line.text)
            # Quarto's own modules, which a browser does not load from the disk.
            if line.type == "error" and not re.search("site_libs|ERR_FAILED", line.text)
            else None
        ),
    )
    page.goto(path.as_uri())
    try:
        yield page
    finally:
        context.close()
    assert wrong == [], f"{path.name}: {wrong}"


def picture(page: "Page", selector: str, name: str) -> None:
    """Keeps a screenshot of an element, to be looked at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.locator(selector).screenshot(path=SCREENSHOTS / f"{name}.png")


def fits(page: "Page", selector: str) -> bool:
    """Whether an element is within its page, and the page does not scroll aside."""
    return bool(
        page.locator(selector).evaluate(
            """element => {
              const box = element.getBoundingClientRect(), wide = innerWidth + 1;
              const whole = document.documentElement.scrollWidth;
              return box.left >= -1 && box.right <= wide && whole <= wide;
            }"""
        )
    )
