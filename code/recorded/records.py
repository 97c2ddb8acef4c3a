"""Runs that take minutes are recorded, and a record is used only while it is true.

A record is a folder, which appears when all its files are on the disk:

- ``run.json``: the fingerprint (see ``provenance``), date, machine, seconds, versions,
  the metrics, and the scores;
- ``predictions.safetensors``, what the scores and the figures are computed from;
- ``weights.safetensors``, if the run trains a model;
- ``SHA256SUMS`` of all of these, which ``sha256sum --check`` reads, too.

A run without a record, or with a stale one, is made only where that is asked for
(``home.may_train``); elsewhere it is an error. A run that is stopped, by whatever, goes
on from its last checkpoint when it is asked for again on the same machine with the same
libraries.

A record is read as data, and nothing in it is run: ``run.json`` is JSON, and of the
tensors' files a program reads sizes and numbers. Who edits a file and its sum as well
is found out by the scores, which follow from the predictions; of the metrics and the
weights it is the version control that knows what they were.
"""

import datetime
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from recorded.checkpoint import Checkpoint, first_process, flush, naming
from recorded.home import home, may_train
from recorded.memory import shortage
from recorded.process import lacks_memory, undisturbed
from recorded.provenance import (
    Fingerprint,
    differences,
    edited_since_import,
    fingerprint,
)

if TYPE_CHECKING:
    import torch

Metrics = dict[str, Any]
Tensors = dict[str, "torch.Tensor"]


SUMS = "SHA256SUMS"
FILES = ("run.json", "predictions.safetensors")  # which every record has
WEIGHTS = "weights.safetensors"
# What run.json has, and how each is called where it is something else.
NUMBER = (int, float), "a number"
TEXT = (str,), "a text"
OBJECT = (dict,), "an object"
Fields = dict[str, tuple[tuple[type, ...], str]]
ABOUT: Fields = {
    "key": TEXT,
    "fingerprint": OBJECT,
    "hardware": TEXT,
    "versions": OBJECT,
    "date": TEXT,
    "seconds": NUMBER,
    "scores": OBJECT,
    "metrics": OBJECT,
}
FINGERPRINT: Fields = {
    "function": TEXT,
    "config": OBJECT,
    "data": OBJECT,
    "code": OBJECT,
}
SCORE: Fields = {"value": NUMBER, "tolerance": NUMBER}


class Score(NamedTuple):
    """A number that a run is judged by, and how far another machine may miss it."""

    value: float
    tolerance: float


Scores = dict[str, Score]


class Outcome(NamedTuple):
    """What a run gives: ``metrics`` are JSON values, the others tensors by name."""

    metrics: Metrics
    predictions: Tensors
    weights: Tensors


class StaleRecord(RuntimeError):
    """There is no record of a run, or only one of other options, data or code."""


class TamperedRecord(RuntimeError):
    """A record that is not what was written."""


Experiment = Callable[[Any, Checkpoint], Outcome]


def scored_by(score: Callable[[Tensors], Scores]) -> Callable[[Experiment], Experiment]:
    """Decorate a run's function with what computes its scores from its predictions."""

    def mark(experiment: Experiment) -> Experiment:
        experiment.score = score  # type: ignore[attr-defined]
        return experiment

    return mark


@dataclass(frozen=True)
class Run:
    """A run as it was recorded."""

    name: str
    fingerprint: Fingerprint
    date: str
    seconds: float
    hardware: str
    versions: dict[str, str]
    metrics: Metrics
    scores: Scores
    predictions: Tensors
    weights: Tensors
    digests: dict[str, str]  # SHA-256 of the record's files

    @property
    def config(self) -> dict[str, Any]:
        return self.fingerprint.config


def run(
    name: str, experiment: Experiment, config: Any, train: bool | None = None
) -> Run:
    """The run of ``experiment`` with ``config``: from its record, else made now.

    ``config`` is a dataclass of JSON values. With ``train`` the run is made where its
    record is stale or missing, and without it, where it is None, only in a Jupyter
    kernel, which is what executes a chapter, or where the environment asks for it: the
    variable ``HW2_TRAIN``, for a package ``hw2``, is ``stale``. The value ``never``
    forbids it, whatever ``train`` is. How long the recorded run took is said first.

    Raises ``TamperedRecord`` for a record that is not as it was written,
    ``StaleRecord`` where the run would have to be made and that is not asked for,
    ``ValueError`` for a ``name`` or a value of the variable that is none of those
    expected, and where the package of ``experiment`` has no ``RECORDS``.
    """
    kept = home(experiment)
    if not kept.records:
        raise ValueError(f"{experiment.__module__} is of a package without RECORDS")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"name is {name!r}, expected small letters, digits, hyphens")
    train = may_train(kept.variable, train)
    now = fingerprint(experiment, config)
    folder = kept.records / name
    recorded, changes = recorded_run(folder, experiment, now)
    if recorded:
        return recorded
    if not train:
        forbidden = os.environ.get(kept.variable) == "never"
        it = f"{kept.variable} is never, so it" if forbidden else "It"
        raise StaleRecord(
            f"run {name} can't be taken from its record: {'; '.join(changes)}. "
            f"{it} is not made here; {kept.command.format(name)} does"
        )
    print(_announcement(folder, changes), file=sys.stderr, flush=True)
    if not first_process():
        return make(folder, experiment, config)
    kept.records.mkdir(exist_ok=True)
    lock = FileLock(kept.records / f".{name}.lock")
    try:
        locked = lock.acquire(timeout=0)
    except Timeout:
        print(f"another process makes run {name}: waiting for it", file=sys.stderr)
        locked = lock.acquire()
    with locked:  # released even when a process is killed
        # Another process may have made it meanwhile.
        recorded, _ = recorded_run(folder, experiment, now)
        return recorded or make(folder, experiment, config)


def _announcement(folder: Path, changes: list[str]) -> str:
    """What is made and why, and how long it took when it was recorded."""
    if folder.exists():
        old = read(folder)
        spent = datetime.timedelta(seconds=round(old.seconds))
        time = f"the recorded one took {spent} (hours:minutes:seconds), {old.hardware}"
    else:
        time = "no record says how long it takes"
    return f"run {folder.name} is made: {'; '.join(changes)}; {time}"


def recorded_run(
    folder: Path, experiment: Experiment, now: Fingerprint
) -> tuple[Run | None, list[str]]:
    """The run as it is recorded in a folder, or why that can't be taken for it now.

    Raises ``TamperedRecord`` where the record is not as it was written.
    """
    if not os.path.lexists(folder):  # a link that leads nowhere is a damaged record
        return None, ["it is not recorded"]
    recorded = read(folder)
    changes = differences(recorded.fingerprint, now)
    if changes:
        return None, changes
    try:
        scores = _scores(experiment, recorded.predictions)
    except Exception as error:  # the code is that which wrote it: other tensors
        if lacks_memory(error):
            raise
        why = f"{type(error).__name__}: {error}"
        raise _tampered(folder, f"{FILES[1]} gives no scores, {_line(why)}") from error
    if scores.keys() != recorded.scores.keys():
        raise _tampered(
            folder,
            f"the scores in {FILES[0]} are {sorted(recorded.scores)}, not "
            f"{sorted(scores)}",
        )
    for name, score in scores.items():
        written = recorded.scores[name]
        if not all(
            math.isclose(*pair, rel_tol=1e-9)
            for pair in zip(written, score, strict=True)
        ):
            raise _tampered(
                folder,
                f"in {FILES[0]} {name} is {written}, and {score} by {FILES[1]}",
            )
    return recorded, []


def named(record: str | Run, runs: dict[str, Any], experiment: Experiment) -> Run:
    """The run of a name, out of configurations by name; a run is given as it is.

    None is made. Raises ``ValueError`` for a name that is not known, ``StaleRecord``
    where the record is stale or missing.
    """
    if isinstance(record, Run):
        return record
    if record not in runs:
        raise ValueError(f"record is {record!r}, expected one of {sorted(runs)}")
    return run(record, experiment, runs[record], train=False)


def make(folder: Path, experiment: Experiment, config: Any) -> Run:
    """Make a run, from its last checkpoint if it has one, and put its record there.

    Where several processes make it together (``accelerate launch``), the first records
    it and the others end here. PyTorch is left as it was (``process.undisturbed``).
    Where less memory is free than the package says that the run needs, it is said.

    Raises ``RuntimeError`` where the code was edited after it was loaded, so that the
    fingerprint would not be that of what runs, and ``ValueError`` for a score that is
    not a finite number.
    """
    edited = edited_since_import(experiment, config)
    if edited:
        raise RuntimeError(
            f"{', '.join(edited)} changed on disk after being imported: restart Python"
        )
    kept = home(experiment)
    lacks = shortage(folder.name, kept.memory.get(folder.name, 0))
    if lacks:
        print(lacks, file=sys.stderr, flush=True)
    now = fingerprint(experiment, config)
    about: dict[str, Any] = {
        "key": now.key,
        "fingerprint": now._asdict(),
        "hardware": _hardware(),
        "versions": _versions(kept.versions),
    }
    # What another machine or library had begun would not end as if it had gone on.
    unfinished = folder.parent / ".unfinished" / folder.name
    checkpoint = Checkpoint(unfinished / _sha256(json.dumps(about).encode())[:16])
    with undisturbed():
        outcome = experiment(config, checkpoint)
    if not first_process():
        sys.exit(0)
    scores = _scores(experiment, outcome.predictions)
    for name, score in scores.items():
        if not math.isfinite(score.value):
            raise ValueError(f"score {name} is {score.value}, expected a finite number")
    about |= {
        "date": datetime.date.today().isoformat(),
        "seconds": round(checkpoint.seconds, 1),
        "scores": {name: score._asdict() for name, score in scores.items()},
        "metrics": outcome.metrics,
    }
    files = {
        "run.json": f"{_written(about)}\n".encode(),
        "predictions.safetensors": _packed(outcome.predictions),
    }
    if outcome.weights:
        files["weights.safetensors"] = _packed(outcome.weights)
    sums = [f"{_sha256(content)}  {name}\n" for name, content in files.items()]
    _put(folder, files | {"SHA256SUMS": "".join(sums).encode()}, unfinished)
    shutil.rmtree(unfinished)
    return read(folder)


def read(folder: Path) -> Run:
    """The run in a folder. Raises ``TamperedRecord`` if it is not as it was written.

    Every file is compared with its SHA-256, and the key with the fingerprint.
    """
    from safetensors.torch import load, save

    files = _contents(folder)
    for name in (SUMS, *FILES):
        if name not in files:
            raise _tampered(folder, f"{name} is missing")
    sums = files.pop(SUMS).decode(errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (s.partition("  ") for s in sums)}
    for name in sorted(files.keys() | digests):
        if name not in files:
            raise _tampered(folder, f"{SUMS} has {name!r:.60}, which is not there")
        if name not in digests:
            raise _tampered(folder, f"{name!r} is not in {SUMS}")
        if name not in (*FILES, WEIGHTS):
            raise _tampered(folder, f"{name!r} is no file of a record")
        if _sha256(files[name]) != digests[name]:
            raise _tampered(folder, f"{name} has another SHA-256")
    name = FILES[0]
    try:
        about = _about(files[name])
        recorded = Fingerprint(**about.pop("fingerprint"))
        if about.pop("key") != recorded.key:
            raise ValueError("the key is not that of its fingerprint")
        tensors = {}
        for name in (FILES[1], WEIGHTS):
            tensors[name] = load(files.get(name, save({})))
    except (ValueError, OverflowError, RecursionError, SafetensorError) as error:
        raise _unreadable(folder, name, error) from error
    return Run(
        name=folder.name,
        fingerprint=recorded,
        predictions=tensors[FILES[1]],
        weights=tensors[WEIGHTS],
        digests=digests,
        **about,
    )


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a record by their names.

    Only plain files are opened: a pipe would be waited for, a device has no end, and
    what a link leads to is not in the record. Raises ``TamperedRecord`` where there is
    anything else, or a file that can't be read.
    """
    contents = {}
    try:
        for path in sorted(folder.iterdir()):
            if not stat.S_ISREG(path.lstat().st_mode):
                raise _tampered(folder, f"{path.name!r} is no plain file")
            contents[path.name] = path.read_bytes()
    except OSError as error:
        name = Path(error.filename or folder).name
        raise _unreadable(folder, name, error) from error
    return contents


def _about(content: bytes) -> dict[str, Any]:
    """What ``run.json`` says, its scores as such. Raises ``ValueError`` where it is no
    JSON, or has not the fields of a record, each of its kind, ``OverflowError`` where
    a number is too large."""

    def finite(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise ValueError(f"{text:.20} is no number that a record has")
        return number

    about = json.loads(content, parse_float=finite, parse_constant=finite)
    _has(about, ABOUT, "it")
    _has(about["fingerprint"], FINGERPRINT, "fingerprint")
    datetime.date.fromisoformat(about["date"])
    datetime.timedelta(seconds=about["seconds"])
    for name, of in about["scores"].items():
        _has(of, SCORE, f"score {name}")
        numbers = (float(of[part]) for part in Score._fields)
        about["scores"][name] = Score(*numbers)
    return dict(about)


def _has(value: Any, fields: Fields, what: str) -> None:
    """Raises ``ValueError`` unless a value of JSON has these fields, and no others."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {value!r:.60}, expected an object")
    for name in fields.keys() - value.keys():
        raise ValueError(f"{what} has no {name}")
    for name in value.keys() - fields.keys():
        raise ValueError(
            f"{what} has {name!r:.60}, which this version of the code does not know"
        )
    for name, (kinds, called) in fields.items():
        if type(value[name]) not in kinds:
            raise ValueError(f"{name} is {value[name]!r:.60}, expected {called}")


def _scores(experiment: Experiment, predictions: Tensors) -> Scores:
    """What ``scored_by`` said is computed from a run's predictions."""
    scores: Scores = experiment.score(predictions)  # type: ignore[attr-defined]
    return scores


def _tampered(folder: Path, why: str) -> TamperedRecord:
    return TamperedRecord(
        f"{folder} is not as it was recorded: {why}. Get it back from git, or delete "
        "it to have it made again"
    )


def _unreadable(folder: Path, name: str, error: Exception) -> TamperedRecord:
    return _tampered(folder, f"{name} can't be read: {_line(str(error))}")


def _line(text: str) -> str:
    return f"{' '.join(text.split()):.200}"


def _written(value: Any, margin: str = "") -> str:
    """JSON, of which each object and each list that is short stands in one line."""
    line = json.dumps(value)
    if len(margin + line) < 110 or not isinstance(value, dict | list):
        return line
    inner = margin + " "
    if isinstance(value, list):
        items = [_written(item, inner) for item in value]
    else:
        items = [
            f"{json.dumps(name)}: {_written(item, inner)}"
            for name, item in value.items()
        ]
    first, last = "{}" if isinstance(value, dict) else "[]"
    body = f",\n{inner}".join(items)
    return f"{first}\n{inner}{body}\n{margin}{last}"


def _packed(tensors: Tensors) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _put(folder: Path, files: dict[str, bytes], beside: Path) -> None:
    """Replace a folder by one with these files, at once."""
    draft, old = beside / "draft", beside / "old"
    for path in (draft, old):
        shutil.rmtree(path, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, content in files.items():
        with naming(draft / name):
            (draft / name).write_bytes(content)
            flush(draft / name)
    flush(draft)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    flush(folder.parent)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {"python": platform.python_version()} | {p: version(p) for p in packages}


def _hardware() -> str:
    """The accelerators, or the cores that torch uses, by the name that they have.

    Those of all processes that were launched together.
    """
    import torch

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        return f"{processes} x {torch.cuda.get_device_name()}"
    cores = processes * torch.get_num_threads()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    processor = names[0] if names else os.uname().machine
    return f"{cores} {'core' if cores == 1 else 'cores'} of {processor}"
