"""A chapter is executed once for each state of what it depends on; none is stale.

The cells of this book write a line to a file outside of it when they run.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from portable import RenderError, store
from portable.book import render
from portable.chapter import read_chapter
from portable.execute import _Client
from portable.executed import executed

QUARTO_YML = """\
project: {type: book, output-dir: _book, execute-dir: project}
book: {title: Kept, output-file: kept, chapters: [index.qmd, other.qmd]}
format:
  html: {html-math-method: mathml, fig-format: svg}
  pdf: {fig-format: pdf, fig-pos: "!htb", documentclass: scrreprt}
"""
INDEX = """\
# One {.unnumbered}

Some prose.

```{python}
#| label: tbl-one
#| tbl-cap: "A caption"
import os
from pathlib import Path
from IPython.display import Markdown
import helper
with open(os.environ["LOG"], "a") as log:
    log.write("index\\n")
factor = helper.triple(1)
read = Path("data.txt").read_text().strip()
names = sorted(path.name for path in Path("folder").glob("*.txt"))
Markdown(f"| a |\\n|:--|\\n| {factor} {read} {names} |")
```

It is `{python} factor * 2`.
"""
OTHER = """\
# Two

```{python}
import os
with open(os.environ["LOG"], "a") as log:
    log.write("other\\n")
import helper
print(helper.OTHER)
```
"""
HELPER = '''\
"""A module."""

FACTOR = 3
OTHER = "other"


def triple(x):
    """Three times x."""
    return FACTOR * x


def unused():
    return 1
'''


Texts = list[tuple[str, str]]  # source and outputs of each cell


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two chapters and a module, whose chapters are kept."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "folder").mkdir(parents=True)
    (folder / "_quarto.yml").write_text(QUARTO_YML)
    (folder / "index.qmd").write_text(INDEX)
    (folder / "other.qmd").write_text(OTHER)
    (folder / "helper.py").write_text(HELPER)
    (folder / "data.txt").write_text("data\n")
    (folder / "folder" / "a.txt").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOG", os.devnull)
        execute(folder)
    return folder


@pytest.fixture
def root(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that book for each test, with what is kept of it."""
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return Path(shutil.copytree(kept, tmp_path / "book"))


def execute(root: Path, fresh: bool = False) -> Texts:
    chapters = {name: read_chapter(root, name) for name in ("index.qmd", "other.qmd")}
    notebooks = executed(root, chapters, fresh)
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    return [(cell.source, json.dumps(cell.get("outputs"))) for cell in cells]


def ran(root: Path, fresh: bool = False) -> str:
    """Which chapters are executed to have both."""
    log = root.parent / "log"
    log.write_text("")
    execute(root, fresh)
    return " ".join(sorted(log.read_text().split()))


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert text.count(old) == 1
        (root / name).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "executed"),
    [
        (lambda root: None, ""),
        (edit("index.qmd", "Some prose", "Other words"), ""),
        (edit("index.qmd", "A caption", "Another caption"), ""),
        (edit("index.qmd", "#| label", "#| echo: false\n#| label"), ""),
        (edit("helper.py", "Three times x.", "The triple."), ""),
        (edit("helper.py", "return 1", "return 2"), ""),
        (edit("helper.py", "FACTOR = 3", "FACTOR = 3  # times"), ""),
        (edit("index.qmd", "factor * 2", "factor * 20"), "index"),
        (edit("index.qmd", "triple(1)", "triple(2)"), "index"),
        (edit("helper.py", "FACTOR = 3", "FACTOR = 4"), "index"),
        (edit("helper.py", 'OTHER = "other"', 'OTHER = "another"'), "other"),
        (edit("data.txt", "data", "changed"), "index"),
        (lambda root: (root / "data.txt").touch(), ""),
        (lambda root: (root / "folder" / "b.txt").write_text(""), "index"),
        (lambda root: (root / "folder" / ".b").write_text(""), ""),
        (lambda root: (root / "unread.txt").write_text(""), ""),
    ],
)
def test_what_depends_on_a_change_is_executed(
    root: Path, change: Callable[[Path], object], executed: str
) -> None:
    assert ran(root) == ""
    change(root)
    assert ran(root) == executed
    assert ran(root) == ""


def test_what_is_kept_is_what_execution_gives(root: Path) -> None:
    edit("index.qmd", "Some prose", "Other words")(root)
    known = execute(root)
    assert "Other words" in known[0][0] and "It is 6." in known[2][0]
    assert ran(root, fresh=True) == "index other" and execute(root) == known


def test_a_way_back_costs_nothing(root: Path) -> None:
    edit("helper.py", "FACTOR = 3", "FACTOR = 4")(root)
    assert ran(root) == "index" and "It is 8." in execute(root)[2][0]
    edit("helper.py", "FACTOR = 4", "FACTOR = 3")(root)
    assert ran(root) == "" and "It is 6." in execute(root)[2][0]


@pytest.mark.parametrize(
    ("variable", "executed"),
    [
        ("OMP_NUM_THREADS", "index other"),
        ("PYTHONHASHSEED", "index other"),
        ("LC_ALL", "index other"),
        ("HW2_TRAIN", ""),
        ("SOURCE_DATE_EPOCH", ""),
    ],
)
def test_variables_that_matter(
    root: Path, monkeypatch: pytest.MonkeyPatch, variable: str, executed: str
) -> None:
    monkeypatch.setenv(variable, "C" if variable == "LC_ALL" else "1")
    assert ran(root) == executed


def test_an_installed_package_matters(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root.parent / "packages"
    (folder / "other-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    ran(root)
    (folder / "other-1.0.dist-info").rename(folder / "other-1.1.dist-info")
    assert ran(root) == "index other"


def test_a_module_whose_source_is_shown_counts_by_its_text(root: Path) -> None:
    edit(
        "other.qmd", "print(helper.OTHER)", "import inspect; inspect.getsource(helper)"
    )(root)
    ran(root)
    edit("helper.py", "Three times x.", "The triple.")(root)
    assert ran(root) == "other"


def test_what_can_not_be_followed_is_not_kept(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("helper.py", "FACTOR = 3", "FACTOR = 3\nprint()")(root)
    ran(root)
    assert "not kept: helper, line 4, does something when" in capsys.readouterr().out
    assert ran(root) == "index other"


def test_what_acts_when_it_is_imported_is_not_kept(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although nothing of it is named."""
    (root / "acting.py").write_text("import os\n\nos.environ['ACTED'] = 'yes'\n")
    edit("helper.py", "FACTOR = 3", "import acting\n\nFACTOR = 3")(root)
    assert ran(root) == "index other"
    assert "not kept: acting, line 3, does something when" in capsys.readouterr().out


def test_code_that_changes_meanwhile_is_not_kept(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = "Path('helper.py').write_text(Path('helper.py').read_text() + 'A = 1\\n')"
    edit("index.qmd", "factor = helper", f"{cell}\nfactor = helper")(root)
    edit("index.qmd", "triple(1)", "triple(1) + len(dir(helper)) * 0")(root)
    ran(root)
    assert "index.qmd" in capsys.readouterr().out
    assert "index" in ran(root)


def entries(root: Path, source: str) -> list[Path]:
    return sorted((root / ".portable" / source).iterdir())


@pytest.mark.fault(
    "data",
    provoked="What is kept of an executed chapter is cut, emptied, edited or that of "
    "another one.",
    result="The chapter is executed again, and a line says why.",
    kept="The other chapters.",
)
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b"data", b"Data")),
        lambda path: path.write_bytes(
            entries(path.parents[2], "other.qmd")[0].read_bytes()
        ),
    ],
)
def test_a_damaged_entry_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    shown = execute(root)
    (entry,) = entries(root, "index.qmd")
    damage(entry)
    assert ran(root) == "index"
    said = f".portable/index.qmd/{entry.name} is not"
    assert said in capsys.readouterr().out
    assert ran(root) == "" and execute(root) == shown


def test_entries_that_are_long_out_of_use_are_removed(tmp_path: Path) -> None:
    for number in range(store.KEPT + 3):
        store.write(tmp_path, "a", f"key{number}", number)
        assert store.read(tmp_path, "a", "key0") == 0
    store.write(tmp_path, "a-b", "key0", "another")
    assert len(entries(tmp_path, "a")) == store.KEPT
    assert store.read(tmp_path, "a", "key1") is None


def test_a_folder_that_can_not_be_written_to_stops_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / ".portable")
    (root / ".portable").write_text("no folder")
    assert ran(root) == "index other"
    assert "not kept: " in capsys.readouterr().out
    assert ran(root) == "index other"


def test_two_renderings_at_once_do_not_disturb_each_other(root: Path) -> None:
    shutil.rmtree(root / ".portable")
    outputs = [root.parent / name for name in ("a", "b", "c")]
    code = (
        "import sys; from pathlib import Path; from portable.book import render;"
        "render(Path(sys.argv[1]), ['html'], Path(sys.argv[2]))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, root, output])
        for output in outputs
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    pages = {(output / "index.html").read_text() for output in outputs}
    assert len(pages) == 1 and ran(root) == ""
    assert len(entries(root, "index.qmd")) == 1


def test_a_failure_keeps_what_was_done_and_not_itself(root: Path) -> None:
    edit("other.qmd", "print(helper.OTHER)", "print(helper.OTHER); 1 / 0")(root)
    with pytest.raises(RenderError, match="ZeroDivisionError"):
        ran(root)
    assert len(entries(root, "other.qmd")) == 1  # of the state before
    with pytest.raises(RenderError, match="ZeroDivisionError"):
        ran(root)


def test_what_is_printed_in_parts_is_one_output(root: Path) -> None:
    parts = "print('a', end='', flush=True); import time; time.sleep(0.5); print('b')"
    edit("other.qmd", "print(helper.OTHER)", parts)(root)
    (output,) = json.loads(execute(root)[-1][1])
    assert output["text"] == "ab\n"


def test_the_chapters_are_told_in_order(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("index.qmd", "import os", "import os, time; time.sleep(2)")(root)
    ran(root, fresh=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" s")[0].split()[:2] for line in lines] == [
        ["[1/2]", "index.qmd"],
        ["[2/2]", "other.qmd"],
    ]
    ran(root)
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] index.qmd as kept",
        "[2/2] other.qmd as kept",
    ]


def test_latex_is_run_for_what_it_has_not_set(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = root.parent / "passes"
    (root.parent / "bin").mkdir()
    script = root.parent / "bin" / "lualatex"
    found = subprocess.run(["which", "lualatex"], capture_output=True, text=True)
    script.write_text(
        f'#!/bin/sh\necho >> {passes}\nexec {found.stdout.strip()} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")

    def set_anew(fresh: bool = False) -> tuple[int, bytes]:
        passes.write_text("")
        render(root, ["pdf"], fresh=fresh)
        return passes.read_text().count("\n"), (root / "_book/kept.pdf").read_bytes()

    cold, first = set_anew()
    assert cold > 1 and set_anew() == (0, first)
    edit("index.qmd", "Some prose", "Other words")(root)
    warm, second = set_anew()
    assert 0 < warm < cold and second != first
    assert set_anew(fresh=True) == (cold, second)
    edit("index.qmd", "Other words", "Some prose")(root)
    assert set_anew() == (0, first)
    for entry in entries(root, "kept.pdf") + entries(root, "kept.aux"):
        entry.write_bytes(entry.read_bytes()[:-1])
    assert set_anew() == (cold, first)


def test_a_kernel_that_was_stopped_is_not_missed() -> None:
    """What looks for it each second may do so once more than it is there."""
    client = _Client(nbformat.v4.new_notebook())
    client.kc = None
    asyncio.run(client._async_poll_kernel_alive())
