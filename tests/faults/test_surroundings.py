"""Machines that are set up otherwise: locale, home, folders, clocks, LaTeX, Quarto."""

import os
import re
import shutil
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import ROOT, digests
from portable import RenderError
from portable.date import fix_date
from portable.latex import DEBIAN
from portable.quarto import find_quarto, render_with_quarto
from small_book import (
    error,
    rendering,
    script,
    variables,
    with_makefile,
    without_quarto,
    written,
)


@pytest.fixture
def root(rendered: Path, tmp_path: Path) -> Path:
    """A copy of a book that was rendered, of which the chapters are to be executed."""
    root = Path(shutil.copytree(rendered, tmp_path / "book"))
    for source in ("index.qmd", "other.qmd"):
        shutil.rmtree(root / ".portable" / source)
    return root


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WITHOUT_SHARED_MEMORY = ("unshare", "--mount", "sh", "-c", 'umount -l /dev/shm && "$@"')


@pytest.mark.fault(
    "environment",
    provoked="The book is rendered in another locale, time zone or home, on one core, "
    "without shared memory, beside another environment, or with other rights of files.",
    result="It is the same book to the last bit, and nothing is said on stderr.",
    kept="Everything.",
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "given"),
    [
        ((), {"LC_ALL": "C"}),
        ((), {"LC_ALL": "POSIX", "LANG": "C"}),
        ((), ASCII),
        ((), {"TZ": "Pacific/Kiritimati"}),
        ((), {"HOME": "/proc/nowhere"}),
        (("env", "-u", "HOME"), {}),
        ((), {"PYTHONPATH": f"{ROOT / 'code'}:/proc/nowhere:relative"}),
        ((), {"VIRTUAL_ENV": "/proc/nowhere", "CONDA_PREFIX": "/proc/nowhere"}),
        ((), {"CI": "true", "TERM": "dumb"}),
        (("taskset", "-c", "0"), {}),
        (("sh", "-c", 'umask 077; "$@"', "sh"), {}),
        ((*WITHOUT_SHARED_MEMORY, "sh"), {}),
    ],
)
def test_the_book_is_the_same(
    rendered: Path, root: Path, before: tuple[str, ...], given: dict[str, str]
) -> None:
    if before and subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip(f"this machine refuses {before[0]}")
    done = rendering(root, before=before, **given)
    assert (done.returncode, done.stderr) == (0, "")
    assert digests(root / "_book") == digests(rendered / "_book")


@pytest.mark.fault(
    "environment",
    provoked="A user has Python, IPython and Matplotlib do something at their start.",
    result="The figures are the same.",
    kept="Everything.",
)
@pytest.mark.slow
def test_what_a_user_has_set_up_changes_no_figure(
    rendered: Path, root: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    startup = home / "profile_default" / "startup" / "all.py"
    startup.parent.mkdir(parents=True)
    thick = "import matplotlib; matplotlib.rcParams['lines.linewidth'] = 20\n"
    startup.write_text(thick)
    (home / "matplotlibrc").write_text("axes.linewidth: 20\n")
    done = rendering(
        root,
        IPYTHONDIR=str(home),
        MPLCONFIGDIR=str(home),
        PYTHONSTARTUP=str(startup),
    )
    assert (done.returncode, done.stderr) == (0, "")
    figure = "figures/other-fig-a-1.svg"
    assert (root / "_book" / figure).read_bytes() == (
        rendered / "_book" / figure
    ).read_bytes()


STRANGE = "Ein Büchlein (é) #1 %d $x ~ 'a'"


@pytest.mark.fault(
    "environment",
    provoked="Folders of the book, of temporary files and of the home have names with "
    "spaces, accents and signs, or very long ones.",
    result="The book is made.",
    kept="Everything.",
)
@pytest.mark.slow
@pytest.mark.parametrize("name", [STRANGE, "x" * 100])
def test_strange_folders(tmp_path: Path, name: str) -> None:
    root = written(tmp_path / name / "book")
    folders = {of: tmp_path / name / of for of in ("TMPDIR", "HOME")}
    for folder in folders.values():
        folder.mkdir()
    done = rendering(root, TMPDIR=str(folders["TMPDIR"]), HOME=str(folders["HOME"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "_book" / "small.pdf").exists()
    assert not list(folders["TMPDIR"].iterdir())


@pytest.mark.fault(
    "environment",
    provoked="`make report` is run in a folder with spaces and accents in its name, "
    "with sources from the future.",
    result="The book is made.",
    kept="Everything.",
)
@pytest.mark.slow
def test_make_in_a_strange_folder(rendered: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(rendered, tmp_path / "Ein Büchlein (é)"))
    with_makefile(root)
    future = time.time() + 86400
    os.utime(root / "index.qmd", (future, future))
    done = subprocess.run(
        ["make", "report", "-o", "latex"],
        cwd=root,
        env=variables({"PATH": without_quarto()}),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "rendered with portable" in done.stdout
    assert "\r" not in done.stdout and "\x1b" not in done.stdout


BARS = """
import sys, time
from contextlib import suppress
from hw2 import __main__

now, time.time = 0.0, lambda: now
sys.argv[1:] = ["--help"]
with suppress(SystemExit):
    __main__.main()
from torchvision.datasets.utils import tqdm
from hw2.training import advance, progress

for bar in (progress(3000, "a training"), tqdm(total=3000)):
    for _ in range(3000):
        now += 0.1
        advance(bar, loss=1.0)
    bar.close()
"""


@pytest.mark.fault(
    "environment",
    provoked="A training, or a download, writes to a file instead of a terminal.",
    result="Its bar is drawn once a minute there, not once a second.",
    kept="Everything.",
)
@pytest.mark.slow
def test_a_file_is_not_littered_with_bars() -> None:
    drawn = {}
    for kind in ("file", "terminal"):
        ours, theirs = os.pipe() if kind == "file" else os.openpty()
        if kind == "terminal":
            termios.tcsetwinsize(theirs, (25, 80))
        command = [sys.executable, "-c", BARS]
        with subprocess.Popen(
            command, env=variables({}), stdout=subprocess.DEVNULL, stderr=theirs
        ) as process:
            os.close(theirs)
            said = b""
            with suppress(OSError):  # how a terminal ends
                while part := os.read(ours, 1 << 16):
                    said += part
        os.close(ours)
        assert process.returncode == 0 and b"100%" in said
        drawn[kind] = said.count(b"| ") // 2  # of each bar
    # In the five minutes that the script has pass.
    assert drawn["file"] < 10 and 200 < drawn["terminal"] < 400, drawn


# What is missing, or refuses


@pytest.mark.fault(
    "environment",
    provoked="The Python that `make` is told to take is none that the book runs on.",
    result="A line says which one is needed, and how to name it.",
    kept="No environment is made.",
)
@pytest.mark.parametrize(
    "text", ['case "$*" in *ensurepip*) ;; *) exit 1;; esac', "exit 127"]
)
def test_another_python(tmp_path: Path, text: str) -> None:
    python = script(tmp_path / "python3.9", text)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "requirements.txt"):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["make", ".venv/ready", "-o", "latex", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and not (tmp_path / ".venv").exists()
    assert done.stdout == (
        f"Python 3.11 or 3.12 is needed; {python} is another one. Say make PYTHON=...\n"
    )


@pytest.mark.fault(
    "environment",
    provoked="There is no LaTeX.",
    result="A line says what is missing.",
    kept="The previous book.",
)
@pytest.mark.slow
def test_no_latex(rendered: Path, root: Path) -> None:
    done = rendering(root, "--fresh", PATH="/proc/nowhere")
    assert error(done).startswith("error: latexmk is not installed; ")
    assert digests(root / "_book") == digests(rendered / "_book")


@pytest.mark.fault(
    "environment",
    provoked="LaTeX lacks a package that the book uses.",
    result="A line names it, and what to install.",
    kept="The previous book.",
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("fvextra", "it is in texlive-latex-extra of Debian, and fvextra of TeX Live"),
        ("amsthm", "it is in texlive-latex-base of Debian, and amscls of TeX Live"),
        ("no-such-one", "tlmgr search --global --file /no-such-one.sty says which"),
    ],
)
def test_latex_lacks_a_package(
    rendered: Path, root: Path, tmp_path: Path, file: str, remedy: str
) -> None:
    text = f"! LaTeX Error: File `{file}.sty' not found."
    script(tmp_path / "bin/latexmk", f"cat > small.log <<'END'\n{text}\nEND\nexit 12")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    line = error(rendering(root, "--fresh", PATH=path))
    assert f"{file}.sty' not found" in line and remedy in line
    assert digests(root / "_book") == digests(rendered / "_book")


@pytest.mark.fault(
    "environment",
    provoked="LaTeX lacks a font that the book uses.",
    result="A line names it, and what to install.",
    kept="The previous book.",
)
@pytest.mark.slow
def test_latex_lacks_its_fonts(rendered: Path, root: Path, tmp_path: Path) -> None:
    """LaTeX as it is, but for the folders in which it finds fonts."""
    line = error(
        rendering(
            *(root, "--fresh"),
            OPENTYPEFONTS=str(tmp_path),
            TEXMFDEBIAN=str(tmp_path),
            TEXMFVAR=str(tmp_path / "kept"),
            TEXMFCACHE=str(tmp_path / "kept"),
            HOME=str(tmp_path),
        )
    )
    assert "lmroman10-regular is in fonts-lmodern of Debian" in line, line
    assert digests(root / "_book") == digests(rendered / "_book")


@pytest.mark.fault(
    "environment",
    provoked="The preamble of the book asks for a font that is not installed.",
    result="A line names it.",
    kept="The previous book.",
)
@pytest.mark.slow
def test_another_font_is_missing(rendered: Path, root: Path) -> None:
    options = (root / "_quarto.yml").read_text(encoding="utf-8")
    asking = options.replace("pdf: {", "pdf: {include-in-header: a.tex, ")
    (root / "_quarto.yml").write_text(asking, encoding="utf-8")
    (root / "a.tex").write_text("\\setmainfont{NoSuchFont}\n")
    line = error(rendering(root))
    assert "the font NoSuchFont is to be installed" in line, line
    assert digests(root / "_book") == digests(rendered / "_book")


@pytest.mark.fault(
    "environment",
    provoked="Quarto is run by itself, with a Python that lacks what the book needs.",
    result="A line says which Python that is, what it lacks, and what to do.",
    kept="The previous book.",
)
def test_quartos_python_lacks_packages(tmp_path: Path) -> None:
    """By the script that Quarto runs first, as it runs it."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "code/book/executed.py"],
        cwd=ROOT,
        env={"QUARTO_PROJECT_INPUT_FILES": "index.qmd"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {sys.executable}, which Quarto runs, lacks portable; say make "
        "report, or set QUARTO_PYTHON to a Python with what this book needs\n"
    )


def test_each_package_of_the_preambles_is_known() -> None:
    packages = " ".join(DEBIAN.values()).split()
    for preamble in ("code/portable/header.tex", "code/book/preamble.tex"):
        text = (ROOT / preamble).read_text(encoding="utf-8")
        used = re.findall(r"\\usepackage(?:\[.*?\])?\{(.*?)\}", text)
        assert used and set(",".join(used).split(",")) <= set(packages)


@pytest.mark.fault(
    "environment",
    provoked="There is no git, no repository, or one that git refuses to read.",
    result="The book is dated by 1970; a line says so where git refuses.",
    kept="Everything.",
)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 128", ""),
        (
            "echo \"fatal: detected dubious ownership in repository at '/x'\" >&2; "
            "exit 128",
            "git: detected dubious ownership in repository at '/x': "
            "the book is dated by 1970\n",
        ),
        (None, ""),
    ],
)
def test_git_does_not_say_the_date(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    said: str,
) -> None:
    if text:
        script(tmp_path / "git", text)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    fix_date(tmp_path)
    assert os.environ["SOURCE_DATE_EPOCH"] == "0"
    assert capsys.readouterr().out == said


@pytest.mark.fault(
    "environment",
    provoked="The date that the environment gives is none.",
    result="A line says what it is, and what is expected.",
    kept="The previous book.",
)
@pytest.mark.parametrize("value", ["tomorrow", "-1", "1e9", " 1"])
def test_a_date_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(RenderError, match=f"EPOCH is {value!r}, expected seconds"):
        fix_date(tmp_path)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    return tmp_path


@pytest.mark.fault(
    "environment",
    provoked="Quarto warns of something after which the book is whole.",
    result="The warning is shown, and the book is made.",
    kept="Everything.",
)
def test_quarto_warns(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script(path / "quarto", "echo 'WARN: a new version is there' >&2; echo '\x1b[33mä'")
    render_with_quarto(path)
    assert "a new version" in capfd.readouterr().out


@pytest.mark.fault(
    "environment",
    provoked="Quarto warns of something that is missing on the page, or crashes.",
    result="A line says what it warns of, or that it crashed.",
    kept="The sources and what was executed.",
)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo 'WARN: Unable to resolve crossref @fig-x'", "crossref @fig-x"),
        ("echo '[WARNING] Citeproc: citation x not found'", "citation x not found"),
        ("echo '[WARNING] Could not fetch resource a.png'", r"resource a\.png"),
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "exit status -11"),
    ],
)
def test_quarto_fails(path: Path, text: str, message: str) -> None:
    script(path / "quarto", text)
    with pytest.raises(RenderError, match=f"quarto render: .*{message}"):
        render_with_quarto(path)


@pytest.mark.fault(
    "environment",
    provoked="The quarto that is found can't be run, or says no version.",
    result="A line says that it is broken, and what to do.",
    kept="The previous book.",
)
@pytest.mark.parametrize("text", ["exit 1", "echo", "exec /proc/nowhere", None])
def test_quarto_is_broken(path: Path, text: str | None) -> None:
    script(path / "quarto", text or "")
    if not text:
        (path / "quarto").write_bytes(b"\x7fELF nothing")
    with pytest.raises(RenderError, match=r"quarto is broken, expected .* or newer"):
        find_quarto()
