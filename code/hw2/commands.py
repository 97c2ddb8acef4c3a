"""``python -m hw2 record [NAME ...]``: make the records that are stale or missing.

``python -m hw2 check [NAME ...]``: say which are stale, missing or edited; make none.

``python -m hw2 reproduce [NAME ...]``: make every run again, from scratch, and compare
it with its record, which has to be there. Without names, all runs of the report; those
that need an accelerator only where there is one. ``accelerate launch -m hw2 record
NAME`` makes a run on several processes or accelerators.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import torch

import hw2
import recorded
from hw2 import summary
from hw2.data import MissingData
from hw2.files import line
from hw2.runs import LARGE, RUNS
from recorded import (
    DamagedCheckpoint,
    Experiment,
    Run,
    StaleRecord,
    TamperedRecord,
    Tensors,
    fingerprint,
    lacks_memory,
)

DIFFERS = "DIFFERS"
GOES_ON = "record goes on from its last checkpoint"
# Errors whose text says what to do: a record, a checkpoint or data that can't be used,
# a full disk. Data that are not the published ones are a ValueError.
SAID = (
    *(StaleRecord, TamperedRecord, DamagedCheckpoint, MissingData),
    *(ValueError, OSError),
)
COLUMNS = "{:18} {:16} {:>10} {:>10} {:>10} {:>10}  {}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hw2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["record", "check", "reproduce"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args(arguments)
    known = everything()
    for name in given.names:
        if name not in known:
            parser.error(f"there is no run {name!r}; there are {', '.join(known)}")
    if os.environ.get("WORLD_SIZE", "1") != "1" and len(given.names) != 1:
        parser.error("several processes make one run together: give its name")
    large = given.command != "check" and torch.accelerator.is_available()
    names = given.names or list(known if large else RUNS)
    try:
        commands = {"record": record, "check": check, "reproduce": reproduce}
        return commands[given.command](names)
    except Exception as error:
        if _was_stopped(error):
            raise KeyboardInterrupt from None
        if lacks_memory(error):
            said = f"there is not enough memory ({line(error)}); {GOES_ON}"
        elif isinstance(error, SAID):
            said = str(error)
        else:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 1


def _was_stopped(error: BaseException | None) -> bool:
    """Whether an error came while Ctrl-C was ending what was begun, as a lock."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def everything() -> dict[str, tuple[Experiment, Any]]:
    return RUNS | LARGE


def record(names: list[str]) -> int:
    """Make what is stale or missing, say what each record gives, renew the tables."""
    for name in names:
        run = recorded.run(name, *everything()[name], train=True)
        scores = ", ".join(f"{what} {s.value:.4f}" for what, s in run.scores.items())
        print(f"{name}: {run.date}, {run.seconds:.0f} s, {run.hardware}; {scores}")
    summary.update(hw2.RECORDS)
    return 0


def check(names: list[str]) -> int:
    """Print a line for each record that is not that of its run now; 1 if there is one.

    It needs neither the data nor the pretrained weights.
    """
    lines = []
    for name in names:
        experiment, config = everything()[name]
        now = fingerprint(experiment, config)
        try:
            _, changes = recorded.recorded_run(hw2.RECORDS / name, experiment, now)
        except TamperedRecord as error:
            lines.append(f"record {str(error).removeprefix(f'{hw2.RECORDS}/')}")
        else:
            lines += (
                [f"record {name} is stale: {'; '.join(changes)}"] if changes else []
            )
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


def reproduce(names: list[str]) -> int:
    """Make each run again and print how far it is from its record; 1 if too far."""
    head = ("run", "score", "recorded", "reproduced", "difference", "tolerance")
    lines = [COLUMNS.format(*head, "verdict")]
    known = [_recorded(name) for name in names]  # all, before the first is made
    scratch = hw2.RECORDS / ".reproduced"
    for stored in (scratch, hw2.RECORDS / ".states"):
        shutil.rmtree(stored, ignore_errors=True)
    for run in known:
        made = recorded.make(scratch / run.name, *everything()[run.name])
        lines += [COLUMNS.format(*row) for row in compare(run, made)]
    shutil.rmtree(scratch)
    print("\n".join(lines))
    return 1 if any(line.endswith(DIFFERS) for line in lines) else 0


def _recorded(name: str) -> Run:
    experiment, config = everything()[name]
    now = fingerprint(experiment, config)
    run, changes = recorded.recorded_run(hw2.RECORDS / name, experiment, now)
    if not run:
        raise StaleRecord(
            f"run {name} can't be compared with its record: {'; '.join(changes)}. "
            f"Make it first: make record RUN={name}"
        )
    return run


def compare(recorded: Run, made: Run) -> Iterator[tuple[str, ...]]:
    """A row for each score: how far it is from the recorded one, and whether too far.

    It is ``identical`` where score, weights and predictions are, to the last bit. Times
    are left out of that.
    """
    same = _same(recorded.weights, made.weights) and _same(
        recorded.predictions, made.predictions
    )
    for what, score in recorded.scores.items():
        difference = made.scores[what].value - score.value
        close = abs(difference) <= score.tolerance
        exactly = same and difference == 0
        verdict = "identical" if exactly else "agrees" if close else DIFFERS
        numbers = (score.value, made.scores[what].value)
        yield (
            *(recorded.name, what, *(f"{number:.4f}" for number in numbers)),
            *(f"{difference:+.4f}", f"{score.tolerance:.4f}", verdict),
        )


def _same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name])
        for name, tensor in one.items()
        if not name.endswith("seconds")
    )
