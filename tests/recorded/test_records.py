"""Records are whole or not at all, never stale, never edited; what stops goes on."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

import toy
from conftest import visible
from recorded import (
    Checkpoint,
    Experiment,
    Outcome,
    Run,
    StaleRecord,
    TamperedRecord,
    make,
    named,
    records,
    run,
    scored_by,
)
from recorded.checkpoint import INTERVAL
from toy import Config, count_up, made, without_weights


@pytest.fixture(autouse=True)
def folder(toy_records: Path) -> Path:
    return toy_records


# One call


def test_a_run_is_made_once(folder: Path) -> None:
    first, second = run("a", count_up, Config()), run("a", count_up, Config())
    assert made == [Config()]
    for got in (first, second):
        assert got.name == "a"
        assert got.config == {"size": 3, "seed": 0}
        assert got.metrics == {"epochs": [{"loss": 0.5}]}
        assert got.scores == {"sum": (15.0, 0.5)}
        expected = torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
        assert torch.equal(got.predictions["values"], expected)
        assert torch.equal(got.weights["w"], torch.ones(2, dtype=torch.half))
    assert (first.date, first.seconds) == (second.date, second.seconds)
    assert visible(folder) == ["a"]


def test_what_follows_a_run_is_the_same_whether_it_was_made_or_read() -> None:
    torch.set_flush_denormal(False)
    seen = []
    for _ in ("made", "read"):
        torch.manual_seed(1)
        run("a", toy.careless, Config())
        seen.append((torch.rand(3).tolist(), (torch.tensor(1e-38) * 0.1).item()))
    assert seen[0] == seen[1]
    assert seen[0][1] > 0  # a denormal number


def test_a_record_is_checked_by_sha256sum_too(folder: Path) -> None:
    run("a", count_up, Config())
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder / "a", capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 3


def test_a_run_without_weights_has_no_file_of_them(folder: Path) -> None:
    assert run("a", without_weights, Config()).weights == {}
    assert not (folder / "a" / "weights.safetensors").exists()


def test_a_changed_option_is_caught(
    capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    run("a", count_up, Config())
    assert run("a", count_up, Config(size=4)).scores["sum"].value == 28
    assert made == [Config(), Config(size=4)]
    assert "option size: 3 recorded, 4 now" in capfd.readouterr().err
    assert visible(folder) == ["a"]


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a b", "-a", "a_b"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name is"):
        run(name, count_up, Config())


# Never without being asked


@pytest.mark.parametrize("variable", [None, "", "stale", "never"])
@pytest.mark.parametrize("train", [None, True, False])
def test_a_script_has_to_ask(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, train: bool | None
) -> None:
    """By the argument or by the variable, of which either can forbid it."""
    monkeypatch.delenv("TOY_TRAIN")
    if variable is not None:
        monkeypatch.setenv("TOY_TRAIN", variable)
    if variable != "never" and (train or (variable == "stale" and train is None)):
        run("a", count_up, Config(), train)
        assert made == [Config()]
    else:
        with pytest.raises(StaleRecord, match=r"t is not made here; make record RUN=a"):
            run("a", count_up, Config(), train)
        assert made == []


def test_a_cell_of_a_notebook_asks(folder: Path, tmp_path: Path) -> None:
    """In a real kernel, as the two renderers start one; a script beside it does not."""
    lines = [
        *("import sys", "from pathlib import Path", "from recorded import run"),
        f"sys.path.append({str(Path(toy.__file__).parent)!r})",
        *("import toy", f"toy.RECORDS = Path({str(folder)!r})"),
        "print(run('a', toy.count_up, toy.Config()).name)",
    ]
    code = "\n".join(lines)
    environment = {k: v for k, v in os.environ.items() if k != "TOY_TRAIN"}
    script = [sys.executable, "-c", code]
    ended = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert "StaleRecord: run a can't be taken" in ended.stderr
    assert not folder.exists()
    cell = nbformat.v4.new_code_cell(code)
    client = NotebookClient(nbformat.v4.new_notebook(cells=[cell]))
    client.execute(env=environment)
    assert [out.text for out in cell.outputs if out.name == "stdout"] == ["a\n"]
    assert visible(folder) == ["a"]


def test_how_long_it_took_is_said_first(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def begin(*of: Any) -> Run:
        print("it begins", file=sys.stderr)
        return make(*of)

    monkeypatch.setattr(records, "make", begin)
    monkeypatch.setattr(records, "_hardware", lambda: "2 cores of a kind")
    monkeypatch.setattr(Checkpoint, "seconds", 4000.4)
    for size, said in (
        (3, "run a is made: it is not recorded; no record says how long it takes"),
        (
            4,
            "run a is made: option size: 3 recorded, 4 now; the recorded one took "
            "1:06:40 (hours:minutes:seconds), 2 cores of a kind",
        ),
    ):
        run("a", count_up, Config(size))
        assert capfd.readouterr().err.splitlines() == [said, "it begins"]


def test_what_is_named_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"a": Config()}
    monkeypatch.setenv("TOY_TRAIN", "stale")
    with pytest.raises(StaleRecord, match=r"make record RUN=a does"):
        named("a", runs, count_up)
    assert made == []
    recorded = run("a", count_up, Config())
    assert named("a", runs, count_up).digests == recorded.digests
    assert named(recorded, runs, count_up) is recorded
    with pytest.raises(ValueError, match=r"record is 'b', expected one of \['a'\]"):
        named("b", runs, count_up)
    assert made == [Config()]


def test_where_nothing_is_trained_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOY_TRAIN", "never")
    with pytest.raises(StaleRecord, match=r"it is not recorded.*make record RUN=a"):
        run("a", count_up, Config())
    monkeypatch.setenv("TOY_TRAIN", "stale")
    run("a", count_up, Config())
    monkeypatch.setenv("TOY_TRAIN", "never")
    run("a", count_up, Config())
    with pytest.raises(StaleRecord, match="option size: 3 recorded, 4 now"):
        run("a", count_up, Config(size=4))
    with pytest.raises(StaleRecord, match="count_up recorded, without_weights now"):
        run("a", without_weights, Config())
    assert made == [Config()]


def test_another_value_of_the_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOY_TRAIN", "no")
    with pytest.raises(ValueError, match="TOY_TRAIN is 'no', expected"):
        run("a", count_up, Config())


def test_code_that_was_edited_after_import_is_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "edited_since_import", lambda *_: ["hw2.vit"])
    with pytest.raises(RuntimeError, match=r"hw2\.vit changed on disk"):
        run("a", count_up, Config())
    assert made == []


# Whole or not at all


@pytest.mark.parametrize(
    "experiment, error", [(toy.fail, RuntimeError), (toy.unwritable, TypeError)]
)
def test_a_failed_run_leaves_no_record(
    folder: Path, experiment: Experiment, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run("a", experiment, Config())
    assert not (folder / "a").exists()


@pytest.mark.parametrize("step", ["write_bytes", "rename"])
def test_an_interrupted_write_leaves_the_old_record_or_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    run("a", count_up, Config())
    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full)
        with pytest.raises(OSError, match="no space"):
            run("a", count_up, Config(size=4))
        with pytest.raises(OSError, match="no space"):
            run("b", count_up, Config())
    assert not (folder / "b").exists()
    assert run("a", count_up, Config()).scores["sum"].value == 15
    assert run("a", count_up, Config(size=4)).scores["sum"].value == 28
    run("b", count_up, Config())
    assert visible(folder) == ["a", "b"]


def test_two_at_once_make_a_run_once(folder: Path) -> None:
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(folder / ".a.lock"):
            waiting = pool.submit(run, "a", count_up, Config())
            time.sleep(1)
            assert not waiting.done() and made == []
            make(folder / "a", count_up, Config())
        assert waiting.result().scores["sum"].value == 15
    assert made == [Config()]


# Tampered records


def rewrite(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file of a record, and its line in SHA256SUMS."""
    content = (folder / name).read_bytes()
    changed = change(content)
    assert changed != content
    (folder / name).write_bytes(changed)
    sums = (folder / "SHA256SUMS").read_text()
    old, new = records._sha256(content), records._sha256(changed)
    (folder / "SHA256SUMS").write_text(sums.replace(old, new))


def test_an_edited_file_is_refused(folder: Path) -> None:
    run("a", count_up, Config())
    for path in sorted((folder / "a").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"0", b"1", 1) + b" ")
        with pytest.raises(TamperedRecord, match="is not as it was recorded"):
            run("a", count_up, Config())
        path.unlink()
        with pytest.raises(TamperedRecord, match="SHA256SUMS"):
            run("a", count_up, Config())
        path.write_bytes(content)
    run("a", count_up, Config())
    (folder / "a" / "notes.txt").write_text("more")
    with pytest.raises(TamperedRecord, match=r"notes\.txt"):
        run("a", count_up, Config())
    assert len(made) == 1


def test_swapped_weights_are_refused(folder: Path) -> None:
    run("a", count_up, Config())
    run("b", count_up, Config(seed=1))
    other = records._packed({"w": torch.zeros(2, dtype=torch.half)})
    (folder / "a" / "weights.safetensors").write_bytes(other)
    with pytest.raises(TamperedRecord, match=r"weights\.safetensors has another"):
        run("a", count_up, Config())


@pytest.mark.parametrize(
    "name, change, why",
    [
        (
            "run.json",
            lambda c: c.replace(b"15.0", b"16.0"),
            r"sum is .*16\.0.*15\.0",
        ),
        (
            "run.json",
            lambda c: c.replace(b'"sum"', b'"mean"'),
            "scores are",
        ),
        ("run.json", lambda c: c.replace(b'"size": 3', b'"size": 4'), "the key is not"),
        (
            "predictions.safetensors",
            lambda _: records._packed({"values": torch.ones(6)}),
            r"sum is .*15\.0.*6\.0",
        ),
        (
            "predictions.safetensors",
            lambda _: records._packed({"values": torch.zeros(0, 3)}),
            r"sum is .*15\.0.*0\.0",
        ),
        ("predictions.safetensors", lambda c: c[:20], "it can't be read"),
        ("run.json", lambda c: c.replace(b'"date"', b'"day"'), "it can't be read"),
        ("run.json", lambda c: c.replace(b'"key"', b'"kay"'), "it can't be read"),
        ("run.json", lambda c: c.replace(b": 0.5}}", b": 9.5}}"), "tolerance=9.5"),
    ],
)
def test_edits_with_a_corrected_checksum_are_refused(
    folder: Path, name: str, change: Callable[[bytes], bytes], why: str
) -> None:
    run("a", count_up, Config())
    rewrite(folder / "a", name, change)
    with pytest.raises(TamperedRecord, match=why):
        run("a", count_up, Config())


def test_another_score_is_another_run_and_no_forgery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("a", count_up, Config())
    with monkeypatch.context() as patch:
        patch.setenv("TOY_TRAIN", "never")
        with pytest.raises(StaleRecord, match="count_up recorded, scored_"):
            run("a", toy.scored_otherwise, Config())
    assert run("a", toy.scored_otherwise, Config()).scores["mean"].value == 1


def test_a_score_has_to_be_a_number(folder: Path) -> None:
    with pytest.raises(ValueError, match="score x is nan, expected a finite number"):
        run("a", toy.without_number, Config())
    assert not (folder / "a").exists()


# Checkpoints


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c")
    assert checkpoint.load("a") is None
    state = {"step": 3, "rows": [(0.5, 1.0)], "w": {"x": [torch.arange(3)]}, "s": "t"}
    checkpoint.save("a", state)
    time.sleep(0.05)
    checkpoint.save("b", {})
    again = Checkpoint(tmp_path / "c")
    got = again.load("a")
    assert got and repr(got) == repr(state)
    assert again.seconds >= 0.05  # the time before the interruption counts
    assert again.load("b") == {} and again.load("c") is None


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"state": Path("x"), "spent": 0.0}, tmp_path / "a.pt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        Checkpoint(tmp_path)


def test_half_a_checkpoint_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails while the second one is written."""
    Checkpoint(tmp_path).save("a", {"step": 1})

    def half(content: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            Checkpoint(tmp_path).save("a", {"step": 2})
    assert Checkpoint(tmp_path).load("a") == {"step": 1}


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=r"a\.pt can't be read .*; delete it"):
        Checkpoint(tmp_path)


def test_the_hardware_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert records._hardware().startswith("3 cores of ")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert records._hardware().startswith("6 cores of ")


@pytest.mark.parametrize("what", ["_hardware", "_versions"])
def test_a_checkpoint_of_another_machine_is_not_gone_on_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    @scored_by(toy.score)
    def stops(config: Config, checkpoint: Checkpoint) -> Outcome:
        found.append(checkpoint.load("a"))
        checkpoint.save("a", {"step": 1})
        raise KeyboardInterrupt

    found: list[Any] = []
    stops.__module__, stops.__qualname__ = "toy", "count_up"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run("a", stops, Config())
    with monkeypatch.context() as patch:
        patch.setattr(records, what, lambda *_: "another")
        with pytest.raises(KeyboardInterrupt):
            run("a", stops, Config())
    assert found == [None, {"step": 1}, None]


def test_a_checkpoint_is_due_after_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    checkpoint = Checkpoint(tmp_path)
    for _ in range(2):
        now[0] += INTERVAL - 1
        assert not checkpoint.due()
        now[0] += 1
        assert checkpoint.due()
        checkpoint.save("a", {})


# What a person reads of it

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda of: st.lists(of) | st.dictionaries(st.text(), of),
)


@given(JSON)
def test_what_is_written_reads_as_it_was(value: Any) -> None:
    assert json.loads(records._written(value)) == value


def test_only_what_is_short_stands_in_one_line() -> None:
    short, long = {"a": [1, 2], "b": None}, {"x" * 60: 1, "y" * 60: [2]}
    assert records._written({"short": short, "long": [long]}).splitlines() == [
        "{",
        ' "short": {"a": [1, 2], "b": null},',
        ' "long": [',
        "  {",
        f'   "{"x" * 60}": 1,',
        f'   "{"y" * 60}": [2]',
        "  }",
        " ]",
        "}",
    ]
