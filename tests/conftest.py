"""What several test files share.

PyTorch and transformers are imported where they are used: it takes many seconds.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from portable.book import render

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from hw2.sentiment import Predictor
    from recorded import Run

# Compiling takes half a minute, for networks that train in a second.
os.environ["TORCH_COMPILE_DISABLE"] = "1"
# Threads that have nothing to do leave the cores to the tests beside.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# The tests that run make say what they expect of it where no other make has run them.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", type=Path, help="where what was provoked is written")


def pytest_configure(config: pytest.Config) -> None:
    import faults

    target = config.getoption("--faults")
    if target and not hasattr(config, "workerinput"):  # which one test process has
        config.pluginmanager.register(faults.Recorder(ROOT / "tests", target))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side run files, or folders whose files share what takes long to make."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            shared = path.parent.name in ("book", "sentiment")
            return str(path.parent if shared else path)

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    """Training has a processor take denormal numbers for 0; the next test does not."""
    from recorded import undisturbed

    with undisturbed():
        yield


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book by ``portable``; what it shows of trainings has to be recorded."""
    output = tmp_path_factory.mktemp("book") / "_book"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW2_TRAIN", "never")
        render(ROOT, output=output, fresh=True)
    return output


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of ``small_book`` by ``portable``, to be copied, not changed."""
    from small_book import rendering, written

    root = written(tmp_path_factory.mktemp("rendered") / "book")
    done = rendering(root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("quarto"):
        pytest.skip("quarto is not on the PATH")
    return copied(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def log(clone: Path) -> str:
    """What ``make report`` runs says, where it finds Quarto."""
    done = subprocess.run(
        [sys.executable, "-m", "portable", "--renderer", "quarto", clone],
        env=os.environ
        | {"HW2_TRAIN": "never", "PYTHONPATH": str(clone / "code")}
        | {"PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def by_quarto(clone: Path, log: str) -> Path:
    """Quarto's book."""
    return clone / "_book"


@pytest.fixture(
    scope="session",
    params=["given"] if "HW2_PAGES" in os.environ else ["portable", "quarto"],
)
def pages(request: pytest.FixtureRequest) -> Path:
    """The HTML book by either renderer, or else the one in the folder HW2_PAGES."""
    if request.param == "given":
        return Path(os.environ["HW2_PAGES"]).resolve()
    kind = {"portable": "book", "quarto": "by_quarto"}[request.param]
    return Path(request.getfixturevalue(kind))


@pytest.fixture(scope="module")
def chromium(pages: Path) -> "Iterator[Browser]":
    """Not for all modules together: where it is open, asyncio can't be started."""
    import browser

    if not browser.CHROMIUM:
        pytest.skip("Chromium is not installed")
    with browser.browser() as found:
        yield found


@pytest.fixture
def shown(
    request: pytest.FixtureRequest, chromium: "Browser", pages: Path
) -> "Iterator[Page]":
    """The page of the book that a test file names as PAGE, in the browser."""
    import browser

    with browser.opened(chromium, pages / request.module.PAGE) as page:
        yield page


def git(folder: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def copied(root: Path) -> Path:
    """A repository in ``root`` with the files of this one, and nothing else."""
    root.mkdir(exist_ok=True)
    git(root, "init", "--quiet")
    names = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.splitlines()):
        if (ROOT / name).exists():  # it may be deleted and not committed
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    git(root, "add", "--all")
    return root


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, by its path within it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def toy_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, not there yet, where the runs of the package ``toy`` are recorded.

    They are made as they are asked for.
    """
    import toy

    toy.made.clear()
    monkeypatch.setattr(toy, "RECORDS", tmp_path / "records")
    monkeypatch.setenv("TOY_TRAIN", "stale")
    return tmp_path / "records"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    import small_sentiment

    with small_sentiment.one_thread():
        yield


@pytest.fixture(scope="session")
def sentiment_runs(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Run]":
    """A run of problem 5 on the sample of each kind."""
    import hw2
    from hw2 import data, sentiment
    from recorded import make
    from small_sentiment import OTHERS, SMALL, halves, one_thread

    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(data, "imdb", halves)
        patch.setattr(hw2, "RECORDS", folder)
        return {
            name: make(folder / name, sentiment.experiment, config)
            for name, config in ({"gru": SMALL} | OTHERS).items()
        }


@pytest.fixture(scope="session")
def predictor(sentiment_runs: "dict[str, Run]") -> "Predictor":
    """The model of problem 5 that was trained on the sample."""
    from hw2 import sentiment

    return sentiment.load(sentiment_runs["gru"])


def visible(folder: Path) -> list[str]:
    """The records in a folder, and what is left of unfinished runs."""
    found = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    return sorted(found + [p.name for p in folder.glob(".unfinished/*")])


def page(path: Path) -> BeautifulSoup:
    """An HTML page, parsed."""
    return BeautifulSoup(path.read_text(), "html.parser")


def words(text: str) -> str:
    """``text`` with one space for every run of white space, and none around it."""
    return re.sub(r"\s+", " ", text).strip()


def pdf_text(reader: PdfReader) -> str:
    return words(" ".join(sheet.extract_text() for sheet in reader.pages))


def bookmarks(reader: PdfReader) -> list[str]:
    """The titles of a PDF's bookmarks of every level, in order."""

    def titles(items: list[Any]) -> Iterator[str]:
        for item in items:
            if isinstance(item, list):
                yield from titles(item)
            else:
                yield words(str(item.title))

    return list(titles(reader.outline))


def pictures(sheet: Any) -> list[Any]:
    """What a page of a PDF draws as a unit: forms (vectors) and images (pixels)."""
    items = sheet["/Resources"].get_object().get("/XObject", {})
    return [item.get_object() for item in items.values()]


def fonts(reader: PdfReader) -> dict[str, bool]:
    """A PDF's fonts by name, and whether each is embedded."""
    found: dict[str, bool] = {}

    def visit(resources: Any) -> None:
        resources = resources.get_object() if resources else {}
        for font in resources.get("/Font", {}).values():
            font = font.get_object()
            base = font.get("/DescendantFonts", [font])[0].get_object()
            descriptor = base.get("/FontDescriptor", {})
            descriptor = descriptor.get_object() if descriptor else {}
            embedded = font["/Subtype"] == "/Type3" or any(
                key.startswith("/FontFile") for key in descriptor
            )
            found[str(font.get("/BaseFont", "Type3"))] = embedded
        for item in resources.get("/XObject", {}).values():
            item = item.get_object()
            if item["/Subtype"] == "/Form":
                visit(item.get("/Resources"))

    for sheet in reader.pages:
        visit(sheet.get("/Resources"))
    return found


def open_links(reader: PdfReader) -> tuple[int, list[str]]:
    """How many links a PDF has within itself, and those that lead nowhere."""
    names = set(reader.named_destinations)
    count, lost = 0, []
    for sheet in reader.pages:
        for annotation in sheet.get("/Annots", []):
            annotation = annotation.get_object()
            action = annotation.get("/A", {})
            action = action.get_object() if action else {}
            name = action.get("/D") if action.get("/S") == "/GoTo" else None
            if isinstance(name, str):
                count += 1
                if name not in names:
                    lost.append(name)
    return count, lost


def lost_links(folder: Path) -> list[str]:
    """The links, images, scripts and styles of HTML pages that lead to nothing here."""
    pages = {path.resolve(): page(path) for path in folder.rglob("*.html")}
    lost = []
    for path, soup in pages.items():
        for tag in soup.find_all(["a", "img", "script", "link"]):
            target = tag.get("href") or tag.get("src")
            if not target or str(target).startswith(("http://", "https://")):
                continue
            name, _, anchor = str(target).partition("#")
            other = (path.parent / name).resolve() if name else path
            if not other.exists() or (anchor and not pages[other].find(id=anchor)):
                lost.append(f"{path.name}: {target}")
    return lost


def remote_requests(folder: Path) -> list[str]:
    """What HTML pages, styles and scripts would ask another machine for."""
    found = []
    for path in folder.rglob("*.html"):
        for tag in page(path).find_all(True):
            loads = tag.name in ("script", "img", "link", "iframe", "source", "use")
            for key in ("src", "href", "data", "srcset", "xlink:href"):
                value = str(tag.get(key, ""))
                if loads and re.match(r"(https?:)?//", value):
                    found.append(f"{path.name}: {value}")
            style = str(tag.get("style", "")) + (
                tag.text if tag.name == "style" else ""
            )
            found += re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*", style)
    for path in [*folder.rglob("*.css"), *folder.rglob("*.js")]:
        found += re.findall(
            r"(?:url\(|@import|fetch\(|import\()\s*['\"]?(?:https?:)?//[^)]*",
            path.read_text(),
        )
    return found
