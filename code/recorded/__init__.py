"""Runs that are recorded, and whose records can't go stale.

A run is a function of a configuration, a dataclass of JSON values, that trains or
measures something and takes long::

    @scored_by(score)
    def experiment(config: Config, checkpoint: Checkpoint) -> Outcome: ...

    run("name", experiment, Config(epochs=3))

``run`` takes it from its record as long as its options, its data and what its code does
(``provenance``) are those of the record. Where they are not, a chapter makes it anew,
and a script raises ``StaleRecord`` unless it asks with ``train=True``. The package that
defines the function says in its ``__init__.py`` where its records are, and what else is
to be known of it (``home``). A run that was stopped goes on from its last
``checkpoint``.
"""

from recorded.checkpoint import Checkpoint, DamagedCheckpoint, flush
from recorded.process import lacks_memory, undisturbed
from recorded.provenance import (
    Fingerprint,
    differences,
    edited_since_import,
    fingerprint,
    incidental,
)
from recorded.records import (
    Experiment,
    Metrics,
    Outcome,
    Run,
    Score,
    Scores,
    StaleRecord,
    TamperedRecord,
    Tensors,
    make,
    named,
    read,
    recorded_run,
    run,
    scored_by,
)

__all__ = [
    "Checkpoint",
    "DamagedCheckpoint",
    "Experiment",
    "Fingerprint",
    "Metrics",
    "Outcome",
    "Run",
    "Score",
    "Scores",
    "StaleRecord",
    "TamperedRecord",
    "Tensors",
    "differences",
    "edited_since_import",
    "fingerprint",
    "flush",
    "incidental",
    "lacks_memory",
    "make",
    "named",
    "read",
    "recorded_run",
    "run",
    "scored_by",
    "undisturbed",
]
