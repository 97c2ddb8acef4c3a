"""What has to be true of what is handed in: a check returns a line for each fault."""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2
from pypdf import PdfReader

from book import variables
from book.places import key

# In the order in which Gradescope asks for their pages.
QUESTIONS = (
    *("1", "2a", "2b", "2c", "3", "4"),
    *("Q1a", "Q1b", "Q2a", "Q2b", "Q2c", "Q3a", "Q3b", "Q3c", "Q3d", "Q4a", "Q4b"),
)
LIMIT = 100_000_000  # bytes that Gradescope takes
# What is run on the code alone; the book itself imports no hw2.
PREDICTION = """\
from pathlib import Path
import hw2
from hw2 import data, vit
home = Path(hw2.__file__).resolve()
if not home.is_relative_to(Path.cwd().resolve()):
    raise SystemExit(f"hw2 was imported from {home}")
images, labels = data.fashion_mnist("test")
classes = vit.load("vit-small")(vit.to_unit(images[:5])).argmax(dim=1)
print("predicts", classes.tolist(), "for test images of", labels[:5].tolist())
"""
SIDES = 5.0  # points that rules and the ground of code may stand out to the sides
STRIP = 6.0  # points without ink between the text and the head or foot of a page
EDGE = 5 * 72 / 25.4  # points, 5 mm, that printers leave white
BEYOND = 100.0  # points around the paper where ink is looked for, too
SCALE = 2.0  # pixels of a point
# The margins that an option of LaTeX's geometry gives.
GIVES = {
    **{side: (side,) for side in ("left", "right", "top", "bottom")},
    "margin": ("left", "right", "top", "bottom"),
    **dict.fromkeys(("hmargin", "textwidth"), ("left", "right")),
    **dict.fromkeys(("vmargin", "textheight"), ("top", "bottom")),
}
UNITS = {"mm": 72 / 25.4, "cm": 72 / 2.54, "in": 72.0, "pt": 72 / 72.27, "bp": 1.0}


def fields(root: Path) -> list[str]:
    """Of the student's fields: those that are wrong, empty, or still the template's."""
    try:
        return variables.placeholders(variables.read(root))
    except ValueError as error:
        return [str(error)]


def uncommitted(root: Path) -> list[str]:
    """The changes to files of the project, or new files, that no commit has."""
    command = ["git", "-c", "core.quotePath=false", "-C", str(root), "status"]
    command += ["--porcelain", "--untracked-files=all"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        return [f"git status failed: {_last(done.stderr)}"]
    kinds = {"??": "is new and not committed"}
    return [
        f"{line[3:]} {kinds.get(line[:2], 'has changes that are not committed')}"
        for line in done.stdout.splitlines()
    ]


def stale(root: Path) -> list[str]:
    """The records in ``root`` that are missing, edited, or not of its code."""
    done = _python(root, ["-m", "hw2", "check"])
    if not done.returncode:
        return []
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return lines or [f"the records can't be checked: {_last(done.stderr)}"]


def unanswered(answers: Path, pages: int) -> list[str]:
    """The questions without an answer in answers.json, or without a place in the PDF.

    ``pages`` are those of the PDF.
    """
    if not answers.exists():
        return ["the rendered book has no answers.json"]
    entries = {
        entry["question"]: entry
        for entry in json.loads(answers.read_text(encoding="utf-8"))
    }
    found = []
    for question in QUESTIONS:
        entry: dict[str, Any] = entries.pop(question, {})
        if not str(entry.get("answer") or "").strip():
            found.append(f"question {question} has no answer in answers.json")
            continue
        first, last = entry.get("pages") or (0, 0)
        if not 1 <= first <= last <= pages:
            found.append(f"question {question} has no place in the PDF")
    return found + [f"the assignment has no question {other}" for other in entries]


def unnamed(pdf: Path, root: Path) -> list[str]:
    """Of author and NetID, as they are written, what the first three pages lack."""
    sheets = PdfReader(pdf).pages[:3]
    text = key(" ".join(sheet.extract_text() for sheet in sheets))
    given = variables.read(root)
    return [
        f"the first pages of the PDF do not have the {what} {value!r}"
        for what, value in (("author", given.author), ("NetID", given.netid))
        if key(value) not in text
    ]


def margins(geometry: Any, width: float, height: float) -> dict[str, float]:
    """The margins of a page, by side, of LaTeX's options of ``geometry``; in points.

    Only those that the options give, directly or by the size of the text; the page is
    ``width`` and ``height`` points large. Raises ``ValueError`` for another unit or
    a ratio that is none.
    """
    options = geometry if isinstance(geometry, list) else [geometry or ""]
    parts = (option.partition("=") for option in ",".join(map(str, options)).split(","))
    given = {name.strip(): value.strip() for name, _, value in parts}
    ratio = given.get("vmarginratio", "2:3")
    if not re.fullmatch(r"\d+:\d+", ratio):
        raise ValueError(f"geometry has 'vmarginratio={ratio}', expected as in 2:3")
    above, below = map(int, ratio.split(":"))
    found: dict[str, float] = {}
    for name, value in given.items():
        if name not in GIVES:
            continue
        number = re.fullmatch(r"([\d.]+)\s*(\w\w)", value)
        if not number or number[2] not in UNITS:
            raise ValueError(
                f"geometry has '{name}={value}', expected as in {name}=25mm"
            )
        length = float(number[1]) * UNITS[number[2]]
        if name == "textwidth":
            length = (width - length) / 2
        found |= dict.fromkeys(GIVES[name], length)
        if name == "textheight":
            rest = (height - length) / (above + below)
            found |= {"top": above * rest, "bottom": below * rest}
    return found


def overflowing(pdf: Path, margin: dict[str, float]) -> list[str]:
    """The pages on which something is drawn outside the text and its head and foot.

    Read from the ink of the pages, also beyond the paper. Beside the text there is
    none. Above and below there may be a head and a foot, at a distance from the text.
    ``margin`` in points, by side; where a side has none, the edge of the paper counts.
    """
    found = []
    for number, ink in enumerate(_ink(pdf), 1):
        if not ink.any():
            found.append(f"page {number} of the PDF is blank")
        across, down = (np.asarray(ink.any(axis=axis)) for axis in (0, 1))
        sides = {
            "left": across,
            "right": across[::-1],
            "top": down,
            "bottom": down[::-1],
        }
        for side, lines in sides.items():
            distance = np.flatnonzero(lines) / SCALE - BEYOND  # from the paper's edge
            text = margin.get(side, EDGE) - SIDES
            outside = distance < (text if side in ("left", "right") else EDGE)
            if side in ("top", "bottom") and side in margin:
                outside |= (distance >= text - STRIP) & (distance < text)
            if outside.any():
                reach = (text + SIDES - distance[outside].min()) / UNITS["mm"]
                found.append(
                    f"page {number} of the PDF: what is drawn reaches {reach:.0f} mm "
                    f"beyond the text at the {side}"
                )
    return found


def unfinished(notebook: Path, foreign: list[str]) -> list[str]:
    """What is wrong with an executed notebook.

    A cell that did not run, or failed; an image that is in another file; one of the
    texts ``foreign``, such as a folder of this machine.
    """
    name = notebook.name
    if not notebook.exists():
        return [f"{name} is missing"]
    text = notebook.read_text(encoding="utf-8")
    found = [f"{name} names {word} of this machine" for word in foreign if word in text]
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and source.strip():
            if cell.get("execution_count") is None:
                found.append(f"{name}: cell {number} did not run")
            if any(output["output_type"] == "error" for output in cell["outputs"]):
                found.append(f"{name}: cell {number} failed")
        elif cell["cell_type"] == "markdown":
            images = re.findall(
                r"!\[[^]]*\]\((?!https?:|data:|attachment:)([^)]+)", source
            )
            found += [f"{name}: cell {number} needs the file {file}" for file in images]
    return found


def predict(archive: Path) -> tuple[str, list[str]]:
    """What the code in a zip archive says of five images, unpacked and run by itself.

    With it the line that says why it could not.
    """
    with tempfile.TemporaryDirectory(prefix="unpacked-") as folder:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        done = _python(Path(folder), ["-c", PREDICTION])
    if done.returncode:
        return "", [f"{archive.name}, unpacked: {_last(done.stderr)}"]
    return done.stdout.strip(), []


def too_large(folder: Path) -> list[str]:
    """Whether the files in a folder are more than Gradescope takes."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    megabytes = f"{size / 1e6:.0f} MB, Gradescope takes {LIMIT / 1e6:.0f} MB"
    return [f"the files together have {megabytes}"] if size > LIMIT else []


def environment(root: Path) -> dict[str, str]:
    """The environment in which the code of a copy runs: it trains nothing."""
    return {
        **os.environ,
        "PYTHONPATH": str(root / "code"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HW2_TRAIN": "never",
    }


def _python(root: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=root, env=environment(root), capture_output=True, encoding="utf-8"
    )


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def _ink(pdf: Path) -> list[npt.NDArray[np.bool_]]:
    """Where each page has ink, (rows, columns) of ``SCALE`` pixels a point.

    Around the paper is a border of ``BEYOND`` points.
    """
    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            left, bottom, right, top = page.get_mediabox()
            box = (left - BEYOND, bottom - BEYOND, right + BEYOND, top + BEYOND)
            page.set_mediabox(*box)
            page.set_cropbox(*box)
        larger = io.BytesIO()
        document.save(larger)  # a page that is open keeps its size
    with pypdfium2.PdfDocument(larger.getvalue()) as document:
        images = [page.render(scale=SCALE, grayscale=True) for page in document]
        return [np.less(np.asarray(image.to_pil()), 250) for image in images]
