"""The options of problem 5, and all of its runs."""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Config:
    """What a run depends on; as it stands, the notebook's, with a smaller encoder.

    The head reads the states of the encoder's layer ``layer``. A head ``upper`` is
    made of the layers above it.
    """

    layer: int = 6
    max_tokens: int = 512  # [CLS] and [SEP] included
    both_ends: bool = False  # of a longer review, not only its beginning
    head: str = "gru"  # or "cnn", or "upper"
    hidden: int = 256  # units of each GRU, or channels of each convolution
    layers: int = 2  # of the GRU
    rank: int = 0  # of the updates of the upper layers
    dropout: float = 0.25
    lr: float = 1e-3
    warm_up: float = 0.0  # the part of the steps in which the rate rises
    fall: bool = False  # linearly to zero, over the other steps
    batch: int = 128
    epochs: int = 2
    seeds: int = 1  # 0, 1, ...: one training each
    train_size: int = 17_500
    valid_size: int = 7_500
    test_size: int = 25_000

    def __post_init__(self) -> None:
        if not 2 < self.max_tokens <= 512:
            raise ValueError(f"max_tokens is {self.max_tokens}, expected 3 to 512")
        if self.head not in ("gru", "cnn", "upper"):
            raise ValueError(f"head is {self.head!r}, expected 'gru', 'cnn' or 'upper'")
        for name in ("train_size", "valid_size", "test_size"):
            size = getattr(self, name)
            if size < 2 or size % 2:
                raise ValueError(f"{name} is {size}, expected an even number above 0")
        for name in ("layer", "batch", "epochs", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if (self.head == "upper") != (self.rank > 0):
            raise ValueError(
                f"rank is {self.rank}, expected 1 or more for upper layers, else 0"
            )


RUNS = {
    "sentiment-notebook": Config(),
    "sentiment-frozen": Config(
        layer=3,
        both_ends=True,
        head="cnn",
        hidden=256,
        warm_up=0.1,
        fall=True,
        batch=64,
        epochs=4,
        seeds=3,
    ),
    "sentiment-finetuned": Config(
        layer=2,
        both_ends=True,
        head="upper",
        hidden=128,
        rank=16,
        lr=2e-3,
        warm_up=0.1,
        fall=True,
        batch=32,
        epochs=3,
    ),
}
# For whoever has the Hub and an accelerator.
LARGE = {"sentiment-bert-base": Config(layer=12)}


# The studies


@dataclass(frozen=True)
class Survey:
    """The reviews that are looked at, by the sizes of their subsets."""

    subsets: Config = field(default_factory=Config)


@dataclass(frozen=True)
class Tfidf:
    """Logistic regression on weighted counts of words and pairs of words."""

    subsets: Config = field(default_factory=Config)
    strengths: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)  # tried, of C


@dataclass(frozen=True)
class Padding:
    """The notebook's head, trained in both ways on the same reviews."""

    recipe: Config
    short: int = 128  # tokens of the reviews whose verdicts are watched, at most
    watched: int = 150


@dataclass(frozen=True)
class Search:
    """One recipe, and what is changed in it, one thing at a time."""

    recipe: Config
    changes: dict[str, dict[str, Any]]  # options by the name of the change


@dataclass(frozen=True)
class Climb:
    """A recipe, and ideas to better it, of which each starts from the best so far."""

    recipe: Config
    ideas: dict[str, dict[str, Any]]  # options by the name of the idea
    gain: float = 0.002  # of validation accuracy: with this, an idea is taken over
    patience: int = 3  # so many ideas in a row without that gain, and it stops


@dataclass(frozen=True)
class Speed:
    """What is timed."""

    reviews: int = 512  # of the training half, drawn once
    max_tokens: int = 256  # for encoding; sentence-transformers' own limit
    epoch_reviews: int = 512  # several batches, whose reviews can be of like length
    epoch_tokens: int = 512  # for an epoch; the notebook's limit
    step_reviews: int = 64  # the first of those, for a step of training
    rounds: int = 2  # of all ways in turn: a machine can be slow for seconds
    batch: int = 128


# What the searches for the recipe of ``sentiment-frozen`` begin with.
FIRST = Config(
    layer=3,
    both_ends=True,
    head="cnn",
    hidden=128,
    warm_up=0.1,
    fall=True,
    batch=64,
    epochs=4,
)
SURVEY = Survey()
TFIDF = Tfidf()
PADDING = Padding(
    Config(
        max_tokens=256,
        batch=32,
        epochs=3,
        seeds=3,
        train_size=1_500,
        valid_size=750,
        test_size=1_500,
    )
)
SEARCH = Search(
    replace(FIRST, train_size=1_500, valid_size=2_000, test_size=2),
    {
        "nothing": {},
        "the last layer, 6": {"layer": 6},
        "layer 2": {"layer": 2},
        "a GRU of 256": {"head": "gru", "hidden": 256},
        "dropout 0.5": {"dropout": 0.5},
        "twice the channels": {"hidden": 256},
    },
)
CLIMB = Climb(
    FIRST,
    {
        "twice the channels, 256": {"hidden": 256},
        "twice the epochs, 8": {"epochs": 8},
        "layer 4": {"layer": 4},
        "dropout 0.5": {"dropout": 0.5},
        "twice the rate, 0.002": {"lr": 2e-3},
        "batches of 32": {"batch": 32},
    },
)
SPEED = Speed()
