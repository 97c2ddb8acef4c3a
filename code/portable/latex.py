"""Sets a LaTeX document, as often as needed, and not at all where that was done."""

import base64
import errno
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from portable import RenderError, store
from portable.inputs import sha256
from recorded.provenance import digest

ENGINES = {"lualatex": "-lualatex", "xelatex": "-xelatex"}
# What LaTeX leaves for its next pass, and latexmk to see whether it needs one.
LEFT = (".aux", ".toc", ".out", ".fls", ".fdb_latexmk", ".log")

LACKING = re.compile(r"^! LaTeX Error: File `([\w.-]+)' not found", re.MULTILINE)
# A font by its file, or by its name.
NO_FONT = re.compile(
    r'^! (?:Font \S+=\[([\w-]+)|Package fontspec Error: The font "([^"]+)" cannot)',
    re.MULTILINE,
)
LATIN_MODERN = re.compile("(lm|latinmodern-)")
# Of what the documents of this renderer need: Debian's packages with what is in each,
# and the names in TeX Live of what is called otherwise there.
DEBIAN = {
    "lmodern": "lmodern",
    "texlive-latex-base": "amsmath amsthm bookmark calc geometry graphicx "
    "hyperref longtable",
    "texlive-latex-recommended": "booktabs caption etoolbox fancyvrb fontspec "
    "footnotehyper microtype scrlayer-scrpage scrreprt unicode-math xcolor",
    "texlive-latex-extra": "accsupp framed fvextra needspace tcolorbox upquote xurl",
    "texlive-luatex": "lualatex-math selnolig",
    "texlive-pictures": "tikz",
}
TEX_LIVE = {
    "amsthm": "amscls",
    "calc": "tools",
    "graphicx": "graphics",
    "lmodern": "lm",
    "longtable": "tools",
    "scrlayer-scrpage": "koma-script",
    "scrreprt": "koma-script",
    "tikz": "pgf",
}


def typeset(root: Path, folder: Path, name: str, engine: str, fresh: bool) -> bytes:
    """The PDF of the document ``name`` in ``folder``, with what else it reads there.

    It is kept in the book's folder ``root`` for the same files, date and LaTeX, unless
    ``fresh`` says that it be set again. Raises ``RenderError`` where LaTeX fails, lacks
    a character or leaves a reference open.
    """
    sums = {
        str(path.relative_to(folder)): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    key = digest([sums, engine, os.environ.get("SOURCE_DATE_EPOCH")])
    kept = None if fresh else _kept(root, f"{name}.pdf", key)
    if kept and kept["installed"] == _states(kept["installed"]):
        return base64.b64decode(kept["pdf"])
    # With what an earlier version of the document has left, fewer passes are needed.
    left = None if fresh else _kept(root, f"{name}.aux", engine)
    for ending, content in (left or {}).items():
        (folder / f"{name}{ending}").write_text(content, encoding="utf-8")
    _run(folder, name, engine)
    pdf = (folder / f"{name}.pdf").read_bytes()
    read = re.findall(r"^INPUT (/.*)$", _read(folder / f"{name}.fls"), re.MULTILINE)
    made = {"pdf": base64.b64encode(pdf).decode(), "installed": _states(read)}
    files = {ending: folder / f"{name}{ending}" for ending in LEFT}
    left = {ending: _read(path) for ending, path in files.items() if path.exists()}
    for entry, at, content in (("pdf", key, made), ("aux", engine, left)):
        try:
            store.write(root, f"{name}.{entry}", at, content)
        except OSError as error:
            print(f"{name}.{entry} is not kept: {error}", flush=True)
    return pdf


def _kept(root: Path, name: str, key: str) -> Any:
    try:
        return store.read(root, name, key)
    except store.Damaged as error:
        print(f"{error}: it is made again", flush=True)


def _states(paths: list[str] | dict[str, Any]) -> dict[str, list[int] | None]:
    """Size and time of files of LaTeX, which are many, in place of their content."""
    found: dict[str, list[int] | None] = {}
    for path in paths:
        state = Path(path).stat() if Path(path).exists() else None
        found[path] = [state.st_size, state.st_mtime_ns] if state else None
    return found


def _run(folder: Path, name: str, engine: str) -> None:
    if not shutil.which("latexmk"):
        raise RenderError("latexmk is not installed; it comes with TeX Live")
    command = ["latexmk", ENGINES[engine], "-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [*command, f"{name}.tex"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )
    # LaTeX does not notice where it can't write what it leaves for its next pass.
    full = os.strerror(errno.ENOSPC)
    if full in done.stdout or not shutil.disk_usage(folder).free:
        raise RenderError(f"LaTeX: {full}: {folder}")
    log = folder / f"{name}.log"
    text = _read(log) if log.exists() else done.stdout
    problems = re.findall(r"^! .*", text, re.MULTILINE)
    problems += re.findall(r"^Missing character: .*", text, re.MULTILINE)
    problems += re.findall(r"^LaTeX Warning: .*undefined.*", text, re.MULTILINE)
    problems += [_remedy(file) for file in LACKING.findall(text)]
    problems += [_remedy_of_font(file or name) for file, name in NO_FONT.findall(text)]
    if done.returncode or problems:
        raise RenderError(
            f"LaTeX: {'; '.join(problems) or done.stdout[-500:] or done.returncode}"
        )


def _remedy(file: str) -> str:
    """How to get a file that LaTeX lacks."""
    stem = Path(file).stem
    found = [package for package, has in DEBIAN.items() if stem in has.split()]
    if not found:
        return f"tlmgr search --global --file /{file} says which package has it"
    tex_live = TEX_LIVE.get(stem, stem)
    return f"it is in {found[0]} of Debian, and {tex_live} of TeX Live (tlmgr install)"


def _remedy_of_font(font: str) -> str:
    if not LATIN_MODERN.match(font):
        return f"the font {font} is to be installed, or another one to be chosen"
    return (
        f"the font {font} is in fonts-lmodern of Debian, and lm or lm-math of TeX Live"
    )


def _read(path: Path) -> str:
    return path.read_text(errors="replace", encoding="utf-8")
