"""A package as ``recorded`` knows it: what it says of itself, and runs of no time."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from recorded import Checkpoint, Outcome, Score, Scores, Tensors, scored_by

RECORDS: Path | None = None  # until the fixture ``toy_records`` has a folder
COMMAND = "make record RUN={}"


@dataclass(frozen=True)
class Config:
    size: int = 3
    seed: int = 0


made: list[Config] = []
machine = {"off": 0.0}  # what another machine adds to each number


def score(predictions: Tensors) -> Scores:
    return {"sum": Score(predictions["values"].sum().item(), 0.5)}


@scored_by(score)
def count_up(config: Config, checkpoint: Checkpoint) -> Outcome:
    made.append(config)
    # A transposed view is not contiguous.
    values = torch.arange(2.0 * config.size).view(2, -1).T + machine["off"]
    weights = {"w": torch.ones(2, dtype=torch.half)}
    return Outcome({"epochs": [{"loss": 0.5}]}, {"values": values}, weights)


@scored_by(score)
def without_weights(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({}, {"values": torch.ones(1)}, {})


@scored_by(score)
def fail(config: Config, checkpoint: Checkpoint) -> Outcome:
    raise RuntimeError("half way")


@scored_by(score)
def unwritable(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({"bad": object()}, {"values": torch.ones(1)}, {})


@scored_by(score)
def in_steps(config: Config, checkpoint: Checkpoint) -> Outcome:
    """With a checkpoint after each step, which is larger than the one before."""
    state = checkpoint.load("steps") or {"step": 0}
    for step in range(state["step"], 10):
        time.sleep(0.02)
        kept = {"step": step + 1, "w": torch.ones(2000 * (step + 1))}
        checkpoint.save("steps", kept)
    return Outcome({}, {"values": torch.ones(30000)}, {})


@scored_by(score)
def on_images(config: Config, checkpoint: Checkpoint) -> Outcome:
    from hw2 import data

    images, labels = data.fashion_mnist("test")
    others, _ = data.fashion_mnist("train")
    values = images.float() - others.float()
    return Outcome({}, {"values": values, "labels": labels}, {})


@scored_by(lambda predictions: {"mean": Score(predictions["other"].mean().item(), 1)})
def scored_otherwise(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({}, {"other": torch.ones(2)}, {})


@scored_by(lambda predictions: {"x": Score(float("nan"), 1)})
def without_number(config: Config, checkpoint: Checkpoint) -> Outcome:
    return Outcome({}, {"x": torch.ones(1)}, {})


@scored_by(score)
def careless(config: Config, checkpoint: Checkpoint) -> Outcome:
    torch.manual_seed(config.seed)
    torch.set_flush_denormal(True)
    return Outcome({}, {"values": torch.rand(1)}, {})
