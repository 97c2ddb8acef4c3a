"""``python -m book.submission``: makes ``submission/``, the files to hand in.

``make submission`` runs it. The book is rendered from a clean copy of the last commit,
and all that is handed in is of that copy. Before anything is written it is checked, and
whatever is not ready is listed. Nothing is uploaded.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pypdf import PdfReader

from book import checks, variables
from portable.date import fix_date
from portable.folder import replace
from portable.project import read_project

NOTEBOOKS = ("04-vision-transformer.ipynb", "05-sentiment.ipynb")
# What a prediction needs, and an installation; each where the commit has it.
ZIPPED = ("code", "records", "pyproject.toml", "requirements.txt", "README.md")

Finding = tuple[str, list[str]]  # what was checked, and what is not ready


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m book.submission",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    root = parser.parse_args(arguments).folder.resolve()
    fix_date(root)  # the copy, which is no repository, is dated by the commit, too
    faults = []
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        out = Path(folder, "submission")
        out.mkdir()
        for what, found in prepare(root, Path(folder, "copy"), out):
            print(f"{'NOT READY' if found else 'ready':10} {what}", flush=True)
            faults += found
        if faults:
            print("Not ready, and so nothing is written:", file=sys.stderr)
            print("\n".join(f"- {fault}" for fault in faults), file=sys.stderr)
            return 1
        replace(out, root / "submission")
    print("\nTo upload, from submission/:")
    for path in sorted((root / "submission").iterdir()):
        print(f"  {path.name:28} {path.stat().st_size / 1e6:6.2f} MB")
    print("The pages of each question, for Gradescope, are in pages.txt.")
    return 0


def prepare(root: Path, copy: Path, out: Path) -> Iterator[Finding]:
    """Checks the project in ``root``, and gathers what is handed in in ``out``.

    ``copy`` is a folder, not there yet, for the copy of the last commit.
    """
    fields = checks.fields(root)
    yield "the fields of _variables.yml", fields
    changes = checks.uncommitted(root)
    yield "all is committed", changes
    commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
    if not commit:
        yield "a commit", ["there is no commit to hand in"]
        return
    _copy(root, commit, copy)
    old = checks.stale(copy)
    yield "the records", old
    archive = out / "code.zip"
    names = _git(root, "ls-tree", "--name-only", commit).splitlines()
    _git(
        *(root, "archive", "--format=zip", f"--output={archive}", commit, "--"),
        *(name for name in ZIPPED if name in names),
    )
    said, faults = checks.predict(archive)
    yield f"code.zip, unpacked, {said or 'predicts'}", faults
    if old or not _readable(copy):
        return  # the book could not be rendered, for a reason that is listed
    faults = render(copy)
    yield f"the book, rendered from commit {commit[:8]}", faults
    if not faults:
        yield from _check_book(copy, out)


def _check_book(copy: Path, out: Path) -> Iterator[Finding]:
    """Checks the book that was rendered in ``copy``, and puts its files in ``out``."""
    project = read_project(copy)
    book, pdf = project.output, project.output / project.pdf_name
    pages = PdfReader(pdf).pages
    count, paper = len(pages), pages[0].mediabox
    faults = checks.unanswered(book / "answers.json", count)
    yield f"answers and pages of {len(checks.QUESTIONS)} questions", faults
    if not faults:
        entries = json.loads((book / "answers.json").read_text(encoding="utf-8"))
        write_pages({entry["question"]: entry["pages"] for entry in entries}, out)
    yield "author and NetID in the PDF", checks.unnamed(pdf, copy)
    try:
        geometry = project.format("pdf").get("geometry")
        margins = checks.margins(geometry, float(paper.width), float(paper.height))
        faults = checks.overflowing(pdf, margins)
    except ValueError as error:
        faults = [f"_quarto.yml: {error}"]
    yield f"{count} pages without overflow", faults
    shutil.copy(pdf, out / "report.pdf")
    foreign = [str(copy), sys.prefix, f"{Path.home()}/"]
    for name in NOTEBOOKS:
        faults = checks.unfinished(book / "notebooks" / name, foreign)
        yield name, faults
        if not faults:
            shutil.copy(book / "notebooks" / name, out / name)
    yield "the size of the files", checks.too_large(out)


def write_pages(pages: dict[str, list[int]], out: Path) -> None:
    """Writes the first and last page of each question, for machines and for readers."""
    ordered = {question: pages[question] for question in checks.QUESTIONS}
    lines = [f"  {json.dumps(name)}: {json.dumps(ordered[name])}" for name in ordered]
    (out / "pages.json").write_text(
        "{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8"
    )
    rows = [
        f"{name:10}{first}" + (f"-{last}" if last > first else "")
        for name, (first, last) in ordered.items()
    ]
    (out / "pages.txt").write_text(
        "\n".join(["question  pages", *rows]) + "\n", encoding="utf-8"
    )


def render(copy: Path, *options: str) -> list[str]:
    """Renders the book in a copy as ``make report`` does, and says why it can't.

    ``options`` are those of ``python -m portable``.
    """
    command = [sys.executable, "-m", "portable", *options, str(copy)]
    done = subprocess.run(
        command,
        cwd=copy,
        env=checks.environment(copy),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    reason = (lines or done.stderr.splitlines()[-1:] or ["no reason given"])[0]
    reason = reason.removeprefix("error: ").replace(f"{copy}/", "")
    return [f"the book can't be rendered: {reason}"] if done.returncode else []


def _readable(copy: Path) -> bool:
    try:
        return bool(variables.read(copy))
    except ValueError:
        return False


def _copy(root: Path, commit: str, copy: Path) -> None:
    """Puts the files of a commit in the folder ``copy``, which is new."""
    copy.mkdir()
    archive = copy.with_suffix(".tar")
    _git(root, "archive", "--format=tar", f"--output={archive}", commit)
    shutil.unpack_archive(archive, copy)


def _git(root: Path, *arguments: str) -> str:
    """What git prints, nothing where it fails."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8").stdout


if __name__ == "__main__":
    sys.exit(main())
