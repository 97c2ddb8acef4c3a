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
"""

import datetime
import hashlib
import json
import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock
from safetensors import SafetensorError

from recorded.checkpoint import Checkpoint, first_process, flush
from recorded.home import home, may_train
from recorded.process import undisturbed
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
    with FileLock(
        kept.records / f".{name}.lock"
    ):  # released even when a process is killed
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
    if not folder.exists():
        return None, ["it is not recorded"]
    recorded = read(folder)
    changes = differences(recorded.fingerprint, now)
    if changes:
        return None, changes
    scores = _scores(experiment, recorded.predictions)
    if scores.keys() != recorded.scores.keys():
        raise _tampered(
            folder, f"its scores are {sorted(recorded.scores)}, not {sorted(scores)}"
        )
    for name, score in scores.items():
        written = recorded.scores[name]
        if not all(
            math.isclose(*pair, rel_tol=1e-9)
            for pair in zip(written, score, strict=True)
        ):
            raise _tampered(
                folder, f"{name} is {written}, and {score} by its predictions"
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

    Raises ``RuntimeError`` where the code was edited after it was loaded, so that the
    fingerprint would not be that of what runs, and ``ValueError`` for a score that is
    not a finite number.
    """
    edited = edited_since_import(experiment, config)
    if edited:
        raise RuntimeError(
            f"{', '.join(edited)} changed on disk after being imported: restart Python"
        )
    now = fingerprint(experiment, config)
    about: dict[str, Any] = {
        "key": now.key,
        "fingerprint": now._asdict(),
        "hardware": _hardware(),
        "versions": _versions(home(experiment).versions),
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

    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    sums = files.pop("SHA256SUMS", b"").decode(errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (s.partition("  ") for s in sums)}
    if digests.keys() != files.keys() or "run.json" not in files:
        raise _tampered(
            folder, f"it has {sorted(files)} and SHA256SUMS of {sorted(digests)}"
        )
    for name, content in files.items():
        if _sha256(content) != digests[name]:
            raise _tampered(folder, f"{name} has another SHA-256")
    try:
        about = json.loads(files["run.json"])
        recorded = Fingerprint(**about.pop("fingerprint"))
        scores = about.pop("scores").items()
        key = about.pop("key")
        run = Run(
            name=folder.name,
            fingerprint=recorded,
            scores={name: Score(**score) for name, score in scores},
            predictions=load(files["predictions.safetensors"]),
            weights=load(files.get("weights.safetensors", save({}))),
            digests=digests,
            **about,
        )
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise _tampered(folder, f"it can't be read ({error!r})") from error
    if key != recorded.key:
        raise _tampered(folder, "the key is not that of its fingerprint")
    return run


def _scores(experiment: Experiment, predictions: Tensors) -> Scores:
    """What ``scored_by`` said is computed from a run's predictions."""
    scores: Scores = experiment.score(predictions)  # type: ignore[attr-defined]
    return scores


def _tampered(folder: Path, why: str) -> TamperedRecord:
    return TamperedRecord(
        f"{folder} is not as it was recorded: {why}. Get it back from git, or delete "
        "it to have it made again"
    )


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
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    processor = names[0] if names else os.uname().machine
    return f"{cores} {'core' if cores == 1 else 'cores'} of {processor}"
