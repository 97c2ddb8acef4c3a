"""The options of problem 4, and all of its runs."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The epochs are passes over the training images."""

    epochs: int = 40
    batch: int = 128
    optimiser: str = "muon"  # or "adamw", for all parameters
    matrix_lr: float = 0.02  # of Muon
    lr: float = 3e-3  # of AdamW
    weight_decay: float = 0.05
    schedule: str = "linear"  # or "cosine": how the rates fall
    warm_up: float = 0.1  # the part of the steps in which they rise
    flip: bool = True  # show each image from either side in turn
    shift: int = 0  # move each image by up to so many pixels
    erase: int = 0  # blank a square of so many pixels a side
    smoothing: float = 0.0  # of the labels
    drop: float = 0.0  # leave out this part of each image's tokens ...
    whole: float = 0.7  # ... until this part of the steps is done
    bf16: bool = True  # multiply numbers of 16 bits


@dataclass(frozen=True)
class Config(Recipe):
    """What a run depends on. The problem sets patch, layers and heads.

    A dense network has ``layers`` hidden layers of ``width`` units, and no other size.
    """

    network: str = "vit"  # or "dense"
    patch: int = 4
    layers: int = 6
    heads: int = 4
    width: int = 64
    mlp: int = 128
    held_out: int = 5000  # of the training images
    seeds: int = 3  # 0, 1, ...: one training each


@dataclass(frozen=True)
class Ablation:
    """One recipe, and what is changed in it, one thing at a time."""

    recipe: Config
    changes: dict[str, dict[str, Any]]  # options by the name of the change
    seeds: int = 3


RUNS = {
    "vit-small": Config(shift=1, drop=0.4),
    "vit-medium": Config(width=128, mlp=256, shift=1, erase=8, drop=0.4, seeds=1),
    "vit-fast": Config(epochs=5, drop=0.4),
    "vit-plain": Config(
        optimiser="adamw", lr=1.5e-3, schedule="cosine", bf16=False, epochs=15
    ),
    "dense": Config(
        network="dense",
        layers=3,
        width=512,
        optimiser="adamw",
        lr=1e-3,
        shift=1,
        smoothing=0.1,
    ),
}
# For an accelerator.
LARGE = {
    "vit-large": Config(
        width=256, mlp=512, epochs=300, batch=256, shift=2, erase=8, smoothing=0.1
    )
}
ABLATIONS = {
    "vit-ablation": Ablation(
        recipe=replace(RUNS["vit-fast"], epochs=4),
        changes={
            "nothing": {},
            "AdamW for all": {"optimiser": "adamw"},
            "twice the rates": {"matrix_lr": 0.04, "lr": 6e-3},
            "rates fall as a cosine": {"schedule": "cosine"},
            "no flips": {"flip": False},
            "shifts by 1 pixel": {"shift": 1},
            "squares of 8 pixels erased": {"erase": 8},
            "labels smoothed": {"smoothing": 0.1},
            "all patches from the start": {"drop": 0.0},
            "products in 32 bits": {"bf16": False},
        },
    )
}
