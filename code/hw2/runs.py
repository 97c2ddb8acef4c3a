"""Every run of the report: its experiment and its options, by name."""

from typing import Any

from hw2 import peers, scaling, sentiment, vit
from recorded import Experiment

RUNS: dict[str, tuple[Experiment, Any]] = {
    name: (experiment, config)
    for experiment, runs in (
        (scaling.experiment, scaling.RUNS),
        (vit.experiment, vit.RUNS),
        (vit.ablate, vit.STUDIES),
        (peers.experiment, peers.RUNS),
        (sentiment.experiment, sentiment.RUNS),
    )
    for name, config in runs.items()
} | sentiment.STUDIES

# For whoever has an accelerator.
LARGE: dict[str, tuple[Experiment, Any]] = {
    name: (experiment, config)
    for experiment, runs in (
        (vit.experiment, vit.LARGE),
        (sentiment.experiment_bert_base, sentiment.LARGE),
    )
    for name, config in runs.items()
}
