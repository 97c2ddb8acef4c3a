"""What a chapter is fed, met by the command that renders it."""

import json
import shutil
from pathlib import Path

import pytest

from conftest import ROOT, digests
from small_book import QUARTO_YML, record, rendering

CELL = """
```{python}
import sys
from pathlib import Path
sys.path.append(FOLDER)
import recorded, toy
toy.RECORDS = Path("records").resolve()
print(recorded.run("a", toy.in_steps, toy.Config()).scores)
```
"""


@pytest.fixture
def root(rendered: Path, tmp_path: Path) -> Path:
    """A copy of a book that was rendered."""
    return Path(shutil.copytree(rendered, tmp_path / "book"))


@pytest.mark.fault(
    "records",
    provoked="A cell of a chapter reads a record that is damaged.",
    result="The rendering ends; the chapter, its line and the file of the record are "
    "named.",
    kept="The previous book.",
)
@pytest.mark.slow
def test_a_cell_reads_a_damaged_record(root: Path) -> None:
    done = record(root / "records")
    assert done.returncode == 0, done.stderr
    cell = CELL.replace("FOLDER", repr(str(ROOT / "tests")))
    with open(root / "other.qmd", "a", encoding="utf-8") as file:
        file.write(cell)
    run = root / "records/a/run.json"
    known = digests(root / "_book")
    whole = run.read_bytes()
    run.write_bytes(whole[:-9])
    done = rendering(root)
    assert done.returncode == 1
    assert "other.qmd" in done.stderr and "run.json" in done.stderr, done.stderr
    assert digests(root / "_book") == known
    run.write_bytes(whole)
    done = rendering(root)
    assert done.returncode == 0, done.stderr


@pytest.mark.fault(
    "injection",
    provoked="`_quarto.yml` or the options of a cell ask YAML to build an object, "
    "which runs a command.",
    result="Nothing is built or run, and the file is named.",
    kept="The previous book.",
)
@pytest.mark.slow
@pytest.mark.parametrize("where", ["_quarto.yml", "index.qmd"])
def test_yaml_builds_no_object(root: Path, where: str) -> None:
    made = root / "made"
    call = f"!!python/object/apply:os.system [{json.dumps(f'touch {made}')}]"
    known = digests(root / "_book")
    text = (
        QUARTO_YML.replace("title: Büchlein", f"title: {call}")
        if where == "_quarto.yml"
        else f"# Über\n\n```{{python}}\n#| fig-cap: {call}\n1 + 1\n```\n"
    )
    (root / where).write_text(text, encoding="utf-8")
    done = rendering(root)
    assert done.returncode == 1 and where in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not made.exists()
    assert digests(root / "_book") == known
