"""The hyperparameters of problem 4, and all of its runs."""

from dataclasses import dataclass, replace

from hw2.study import Study


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The epochs are passes over the training images."""

    epochs: int = 40
    batch: int = 128
    optimiser: str = "muon"  # or "adamw", for all parameters
    matrix_lr: float = 0.02  # learning rate of Muon
    lr: float = 3e-3  # learning rate of AdamW
    weight_decay: float = 0.05
    schedule: str = "linear"  # or "cosine": how the learning rates fall
    warm_up: float = 0.1  # the fraction of the steps in which they rise
    flip: bool = True  # show each image from either side in turn
    shift: int = 0  # move each image by up to so many pixels
    erase: int = 0  # blank a square of so many pixels a side
    smoothing: float = 0.0  # of the labels
    drop: float = 0.0  # leave out this fraction of each image's tokens ...
    drop_until: float = 0.7  # ... until this fraction of the steps is done
    bf16: bool = True  # multiply matrices in bfloat16


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
    positions: bool = True  # add a learned vector for each position
    held_out: int = 5000  # of the training images
    seeds: int = 3  # 0, 1, ...: one training run each


SMALL = Config(epochs=64, shift=1, drop=0.4)
DENSE = replace(
    SMALL, network="dense", layers=3, width=512, optimiser="adamw", lr=1e-3, drop=0.0
)
RUNS = {
    "vit-small": SMALL,
    "dense": DENSE,
    "dense-smoothed": replace(DENSE, smoothing=0.1),
    "dense-plain": replace(DENSE, flip=False, shift=0),
}
# For an accelerator.
LARGE = {
    "vit-large": Config(
        width=256, mlp=512, epochs=300, batch=256, shift=2, erase=8, smoothing=0.1
    )
}
STUDIES = {
    "vit-ablation": Study(
        Config(epochs=3, drop=0.4),
        {
            "nothing": {},
            "AdamW for all, learning rate 0.001": {"optimiser": "adamw", "lr": 1e-3},
            "AdamW for all, learning rate 0.002": {"optimiser": "adamw", "lr": 2e-3},
            "AdamW for all, learning rate 0.004": {"optimiser": "adamw", "lr": 4e-3},
            "no position vectors": {"positions": False},
            "no flips": {"flip": False},
            "all patches from the start": {"drop": 0.0},
        },
    )
}
