"""Records are whole or not at all, never stale, never edited; what stops goes on."""

import errno
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nbformat
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbclient import NotebookClient

import toy
from conftest import visible
from recorded import (
    Checkpoint,
    DamagedCheckpoint,
    Experiment,
    Outcome,
    Run,
    StaleRecord,
    TamperedRecord,
    fingerprint,
    make,
    named,
    recorded_run,
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
        raise OSError(errno.ENOSPC, "no space left on device")

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


def with_sums(folder: Path) -> None:
    """Recompute the sums of a record, whatever its files are."""
    sums = [
        f"{records._sha256(path.read_bytes())}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))


def refusal(record: Path) -> str:
    """What is said of a record that is refused: a line that names its folder."""
    with pytest.raises(TamperedRecord) as raised:
        run(record.name, count_up, Config())
    line = str(raised.value)
    assert line.startswith(f"{record} is not as it was recorded: ")
    assert line.endswith("Get it back from git, or delete it to have it made again")
    assert line.isprintable()
    return line


@pytest.mark.fault(
    "records",
    provoked="A bit of a file of a record is flipped.",
    result="The record is refused by a line that names the file.",
    kept="The record, to be looked at or to be taken back from git.",
)
def test_an_edited_file_is_refused(folder: Path) -> None:
    run("a", count_up, Config())
    for path in sorted((folder / "a").iterdir()):
        content = path.read_bytes()
        for at in range(0, len(content), max(1, len(content) // 9)):
            path.write_bytes(
                content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            )
            line = refusal(folder / "a")
            assert path.name in line or path.name == "SHA256SUMS"
        path.write_bytes(content)
    run("a", count_up, Config())
    assert len(made) == 1


@pytest.mark.fault(
    "records",
    provoked="A file of a record is missing, or there is one too many.",
    result="The record is refused by a line that names the file.",
    kept="The record, to be looked at or to be taken back from git.",
)
@pytest.mark.parametrize("summed", [False, True])
def test_a_missing_or_another_file_is_refused(folder: Path, summed: bool) -> None:
    run("a", count_up, Config())
    record = folder / "a"
    sums = (record / "SHA256SUMS").read_bytes()
    for path in sorted(record.iterdir()):
        if summed and path.name in ("SHA256SUMS", "weights.safetensors"):
            continue  # sums are there then, and a run may have no weights
        content = path.read_bytes()
        path.unlink()
        if summed:
            with_sums(record)
        assert path.name in refusal(record)
        path.write_bytes(content)
        (record / "SHA256SUMS").write_bytes(sums)
    run("a", count_up, Config())
    (record / "notes.txt").write_text("more")
    if summed:
        with_sums(record)
    assert "'notes.txt'" in refusal(record)
    assert len(made) == 1


# What may stand in the place of a file of a record.
NO_PLAIN_FILES: dict[str, Callable[[Path, Path], None]] = {
    "a link to it": lambda path, to: path.symlink_to(to),
    "a link to nothing": lambda path, _: path.symlink_to("nowhere"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a device without end": lambda path, _: path.symlink_to("/dev/zero"),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
}


@pytest.mark.fault(
    "records",
    provoked="A link, a pipe or a folder stands in the place of a file of a record.",
    result="It is not opened, and the record is refused by a line that names it.",
    kept="The record, to be looked at or to be taken back from git.",
)
@pytest.mark.parametrize("kind", NO_PLAIN_FILES)
def test_only_plain_files_are_opened(folder: Path, tmp_path: Path, kind: str) -> None:
    run("a", count_up, Config())
    for name in ("run.json", "weights.safetensors", "SHA256SUMS"):
        path = folder / "a" / name
        path.rename(tmp_path / "moved")
        NO_PLAIN_FILES[kind](path, tmp_path / "moved")
        assert f"{name!r} is no plain file" in refusal(folder / "a")
        path.rmdir() if kind == "a folder" else path.unlink()
        (tmp_path / "moved").rename(path)
    run("a", count_up, Config())


@pytest.mark.fault(
    "records",
    provoked="The folder of a record is a file, or a link that leads nowhere.",
    result="The record is refused by a line that names it, and no run is made.",
    kept="What stands there.",
)
@pytest.mark.parametrize("kind", ["a file", "a link"])
def test_a_record_is_a_folder(folder: Path, kind: str) -> None:
    folder.mkdir()
    if kind == "a file":
        (folder / "a").write_text("a")
    else:
        (folder / "a").symlink_to(folder / "nowhere")
    assert "a can't be read: " in refusal(folder / "a")
    assert made == []


@dataclass
class Pickled:
    """What a pickle holds that makes a file as soon as it is loaded."""

    target: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.target), "w")


@pytest.mark.fault(
    "records",
    provoked="A pickle that runs code stands in the place of a file of a record.",
    result="The record is refused by a line that names the file, and nothing is run.",
    kept="The record, to be looked at or to be taken back from git.",
)
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_is_not_loaded(folder: Path, tmp_path: Path, form: str) -> None:
    run("a", count_up, Config())
    target = tmp_path / "run"
    if form == "torch":
        torch.save({"w": Pickled(target)}, tmp_path / "pickle")
    else:
        (tmp_path / "pickle").write_bytes(pickle.dumps(Pickled(target)))
    # It would be run by whoever loads it so.
    torch.load(tmp_path / "pickle", weights_only=False) if form == "torch" else (
        pickle.loads((tmp_path / "pickle").read_bytes())
    )
    assert target.exists()
    target.unlink()
    for name in ("run.json", "predictions.safetensors", "weights.safetensors"):
        content = (folder / "a" / name).read_bytes()
        shutil.copy(tmp_path / "pickle", folder / "a" / name)
        with_sums(folder / "a")
        assert f"{name} can't be read: " in refusal(folder / "a")
        (folder / "a" / name).write_bytes(content)
    shutil.copy(tmp_path / "pickle", folder / "a" / "weights.pkl")
    with_sums(folder / "a")
    assert "'weights.pkl' is no file of a record" in refusal(folder / "a")
    assert not target.exists()


@pytest.mark.fault(
    "records",
    provoked="The weights of a record are those of another one.",
    result="The record is refused by a line that names the file.",
    kept="The record, to be looked at or to be taken back from git.",
)
def test_swapped_weights_are_refused(folder: Path) -> None:
    run("a", count_up, Config())
    run("b", count_up, Config(seed=1))
    other = records._packed({"w": torch.zeros(2, dtype=torch.half)})
    (folder / "a" / "weights.safetensors").write_bytes(other)
    with pytest.raises(TamperedRecord, match=r"weights\.safetensors has another"):
        run("a", count_up, Config())


def tensors(**of: torch.Tensor) -> Callable[[bytes], bytes]:
    return lambda _: records._packed(of)


def with_header(header: bytes, length: int | None = None) -> Callable[[bytes], bytes]:
    """A file of tensors that begins so, and has no more."""
    size = len(header) if length is None else length
    return lambda _: size.to_bytes(8, "little") + header


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old.encode(), new.encode(), 1)


def with_seconds(number: float) -> Callable[[bytes], bytes]:
    return lambda c: json.dumps(json.loads(c) | {"seconds": number}).encode()


HUGE = b'{"values":{"dtype":"F32","shape":[2500000000],"data_offsets":[0,10000000000]}}'
# What is edited and how, with the sums recomputed, and what is said of it.
EDITS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    # another score
    ("run.json", replaced("15.0", "16.0"), r"run\.json sum is .*16\.0.*15\.0"),
    ("run.json", replaced(": 0.5}}", ": 9.5}}"), "tolerance=9.5"),
    ("run.json", replaced('"sum"', '"mean"'), r"scores in run\.json are"),
    ("run.json", replaced('"scores": {', '"scores": {}, "old": {'), "it has 'old'"),
    ("predictions.safetensors", tensors(values=torch.ones(6)), r"15\.0.*6\.0"),
    ("predictions.safetensors", tensors(values=torch.zeros(0, 3)), r"15\.0.*0\.0"),
    ("predictions.safetensors", tensors(value=torch.ones(6)), "no scores, KeyError"),
    ("predictions.safetensors", tensors(values=torch.tensor(math.nan)), "15.0.*nan"),
    # other options
    ("run.json", replaced('"size": 3', '"size": 4'), r"run\.json .*the key is not"),
    # no such record
    ("run.json", replaced('"date"', '"day"'), "it has no date"),
    ("run.json", replaced('"key"', '"kay"'), "it has no key"),
    ("run.json", replaced('{"value": 15.0', '{"val": 15.0'), "sum has no value"),
    ("run.json", replaced("{", '{"format": 2, '), "it has 'format', which this ver"),
    ("run.json", replaced('"seconds": ', '"seconds": NaN, "s": '), "NaN is no number"),
    ("run.json", with_seconds(1e300), "can't be read"),
    ("run.json", replaced('{"loss": 0.5}', '{"loss": 1e999}'), "1e999 is no number"),
    ("run.json", replaced('{"loss": 0.5}', '{"loss": -Infinity}'), "-Infinity is no"),
    ("run.json", replaced("15.0", '"15.0"'), "value is '15.0', expected a number"),
    ("run.json", replaced("15.0", "null"), "value is None, expected a number"),
    ("run.json", replaced("15.0", "1" + "0" * 400), "too large"),
    ("run.json", replaced("15.0", "1" + "0" * 9999), "can't be read"),
    ("run.json", replaced('"date": "', '"date": "<script>'), "isoformat"),
    ("run.json", lambda _: b"[1]", r"it is \[1\], expected an object"),
    ("run.json", lambda _: b"null", "it is None, expected an object"),
    ("run.json", lambda _: b"", r"run\.json can't be read"),
    ("run.json", lambda c: c[:99], r"run\.json can't be read"),
    ("run.json", lambda c: b"\xff" + c, r"run\.json can't be read"),
    ("run.json", lambda _: b"[" * 200_000, r"run\.json can't be read"),
    # no tensors
    ("predictions.safetensors", lambda c: c[:20], r"predictions.* can't be read"),
    ("predictions.safetensors", lambda _: b"", r"predictions.* can't be read"),
    ("weights.safetensors", with_header(HUGE), r"weights.* can't be read"),
    ("weights.safetensors", with_header(b"{}", 10**10), r"weights.* can't be read"),
    ("weights.safetensors", with_header(b"{" * 9999), r"weights.* can't be read"),
]


@pytest.mark.fault(
    "records",
    provoked="A file of a record is cut, emptied or edited, and its sum with it.",
    result="The record is refused by a line that names the file and what is wrong.",
    kept="The record, to be looked at or to be taken back from git.",
)
@pytest.mark.parametrize(
    "name, change, why", EDITS, ids=[f"{i}-{e[0]}" for i, e in enumerate(EDITS)]
)
def test_edits_with_a_corrected_checksum_are_refused(
    folder: Path, name: str, change: Callable[[bytes], bytes], why: str
) -> None:
    run("a", count_up, Config())
    rewrite(folder / "a", name, change)
    line = refusal(folder / "a")
    assert name in line and re.search(why, line), line


# What a bit or a value more or less does to a record, with its sums recomputed or not


def cut(content: bytes, at: int, length: int, new: bytes) -> bytes:
    """Other bytes in the place of some."""
    at %= len(content) + 1
    return content[:at] + new + content[at + length :]


def with_value(value: Any, path: list[int], new: Any) -> Any:
    """JSON with another value at a place, or None there; ``path`` leads to it."""
    if not path or not value or not isinstance(value, dict | list):
        return new
    copy = value.copy()
    where = path[0] % len(value)
    at = list(value)[where] if isinstance(value, dict) else where
    copy[at] = with_value(value[at], path[1:], new)
    return copy


def with_json(content: bytes, path: list[int], new: Any) -> bytes:
    """``run.json``, or the header of a file of tensors, with another value."""
    if content.startswith(b"{"):
        return json.dumps(with_value(json.loads(content), path, new)).encode()
    length = int.from_bytes(content[:8], "little")
    header = with_value(json.loads(content[8 : 8 + length]), path, new)
    packed = json.dumps(header).encode()
    return len(packed).to_bytes(8, "little") + packed + content[8 + length :]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda of: st.lists(of) | st.dictionaries(st.text(), of),
    max_leaves=9,
)
CONTENTS = ("run.json", "predictions.safetensors", "weights.safetensors")
MUTATIONS: st.SearchStrategy[Any] = st.one_of(
    st.tuples(
        st.sampled_from([*CONTENTS, "SHA256SUMS"]),
        st.builds(
            lambda at, length, new: lambda content: cut(content, at, length, new),
            st.integers(0, 10_000),
            st.integers(0, 99) | st.just(10_000),
            st.binary(max_size=20),
        ),
    ),
    st.tuples(
        st.sampled_from(CONTENTS),
        st.builds(
            lambda path, new: lambda content: with_json(content, path, new),
            st.lists(st.integers(0, 20), max_size=6),
            JSON | st.sampled_from([10**10, 2**63, 2**64, -1, [2**62, 4], "F4"]),
        ),
    ),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a record."""
    folder = tmp_path_factory.mktemp("sound") / "a"
    make(folder, count_up, Config())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def look_at(files: dict[str, bytes], record: Path) -> None:
    """Read a record of these files: it is refused by its name, or what it was."""
    record.mkdir(exist_ok=True)
    for name, content in files.items():
        (record / name).write_bytes(content)
    now = fingerprint(count_up, Config())
    try:
        read, changes = recorded_run(record, count_up, now)
    except TamperedRecord as error:
        line = str(error)
        assert any(name in line for name in files) and "\n" not in line
        return
    if read:
        assert (read.fingerprint, changes) == (now, [])
        (score,) = read.scores.values()
        assert score == pytest.approx((15.0, 0.5), rel=1e-9)
        assert read.predictions["values"].sum().item() == pytest.approx(15.0)
    else:
        assert changes  # it says of itself that it is of another run


@given(st.lists(MUTATIONS, min_size=1, max_size=2), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_record_is_what_it_was_or_is_refused(
    sound: dict[str, bytes], tmp_path: Path, mutations: list[Any], summed: bool
) -> None:
    files = dict(sound)
    for name, mutate in mutations:
        with suppress(ValueError):  # it is no JSON any more
            files[name] = mutate(files[name])
    if summed:
        sums = (f"{records._sha256(files[name])}  {name}\n" for name in CONTENTS)
        files["SHA256SUMS"] = "".join(sums).encode()
    look_at(files, tmp_path / "a")


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


CHECKPOINT = pytest.mark.fault(
    "records",
    provoked="A checkpoint is cut or empty, is a pickle that runs code, or holds "
    "something else.",
    result="Nothing is run, and a line names the file, which may be deleted.",
    kept="The checkpoint, and the record.",
)


@CHECKPOINT
def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    target, path = tmp_path / "run", tmp_path / "a.pt"
    torch.save({"state": Pickled(target), "spent": 0.0}, path)
    for content in (path.read_bytes(), pickle.dumps(Pickled(target))):
        path.write_bytes(content)
        with pytest.raises(DamagedCheckpoint) as raised:
            Checkpoint(tmp_path)
        line = str(raised.value)
        assert line.startswith(f"checkpoint {path} can't be read (")
        assert line.endswith("; delete it to begin again") and line.isprintable()
        assert "weights_only" not in line  # how to run it
    assert not target.exists()


@pytest.mark.fault(
    "process",
    provoked="What makes a record is stopped while it writes a checkpoint.",
    result="It goes on from the checkpoint before.",
    kept="The checkpoint before.",
)
def test_half_a_checkpoint_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails while the second one is written."""
    Checkpoint(tmp_path).save("a", {"step": 1})

    def half(content: Any, file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            Checkpoint(tmp_path).save("a", {"step": 2})
    assert Checkpoint(tmp_path).load("a") == {"step": 1}


@CHECKPOINT
@pytest.mark.parametrize("kind", ["damaged", "empty", "cut", "a list", "no state"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pt"
    Checkpoint(tmp_path).save("a", {"w": torch.ones(999)})
    if kind in ("a list", "no state"):
        torch.save([1] if kind == "a list" else {"spent": 1.0}, path)
    else:
        cut = path.read_bytes()[:-999]
        path.write_bytes({"damaged": b"damaged", "empty": b"", "cut": cut}[kind])
    with pytest.raises(DamagedCheckpoint, match=r"a\.pt can't be read .*; delete it"):
        Checkpoint(tmp_path)


def test_where_memory_lacks_a_checkpoint_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkpoint(tmp_path).save("a", {})

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="unable to mmap"):
        Checkpoint(tmp_path)


def test_the_hardware_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert records._hardware().startswith("3 cores of ")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert records._hardware().startswith("6 cores of ")


@pytest.mark.fault(
    "records",
    provoked="A checkpoint is of another machine, or of other versions of libraries.",
    result="It is not gone on from: the run begins anew.",
    kept="The checkpoint, for where it is from.",
)
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
    with pytest.raises(KeyboardInterrupt):
        run("a", stops, Config())
    assert found == [None, {"step": 1}, None, {"step": 1}]


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

FINITE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda of: st.lists(of) | st.dictionaries(st.text(), of),
)


@given(FINITE)
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
