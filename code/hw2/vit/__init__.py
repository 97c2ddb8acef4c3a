"""Problem 4: a Vision Transformer on FashionMNIST, beside a dense network.

``config`` has the options and the runs, ``model`` the networks, ``training`` how they
are trained, ``experiments`` what a run does, and ``inspection`` looks into a network.
"""

from hw2.study import of_change
from hw2.vit.config import LARGE, RUNS, STUDIES, Config, Recipe
from hw2.vit.experiments import ablate, experiment, load
from hw2.vit.model import Attention, Block, Dense, ViT, patches, standardise
from hw2.vit.training import fit, predict, to_unit

__all__ = [
    "LARGE",
    "RUNS",
    "STUDIES",
    "Attention",
    "Block",
    "Config",
    "Dense",
    "Recipe",
    "ViT",
    "ablate",
    "experiment",
    "fit",
    "load",
    "of_change",
    "patches",
    "predict",
    "standardise",
    "to_unit",
]
