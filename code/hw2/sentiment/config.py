"""The hyperparameters of problem 5, and all of its runs."""

from dataclasses import dataclass, field, replace

from hw2.study import Study


@dataclass(frozen=True)
class Config:
    """What a run depends on; as it stands, the notebook's, with a smaller encoder.

    The encoder's layers up to ``layer`` are used, and the head reads what the last of
    these gives. With a ``rank``, which is for the head ``cnn``, each of them but the
    first ``frozen`` ones is trained, by updates of that rank; else the encoder stays as
    it is.
    """

    layer: int = 6
    rank: int = 0
    frozen: int = 0
    max_tokens: int = 512  # [CLS] and [SEP] included
    both_ends: bool = False  # of a longer review, not only its beginning
    head: str = "gru"  # or "cnn"
    hidden: int = 256  # units of each GRU, or channels of each convolution
    layers: int = 2  # of the GRU
    dropout: float = 0.25  # of the head
    lr: float = 1e-3
    warm_up: float = 0.0  # the fraction of the steps in which the learning rate rises
    decay: bool = False  # of the learning rate to 0, linearly, over the other steps
    by_length: bool = True  # train on batches of reviews of about equal length
    batch: int = 128
    epochs: int = 2
    agreement: float = 0.0  # weight of the divergence of two passes (R-Drop)
    averaging: float = 0.0  # decay of the mean of the weights over the steps, if any
    seeds: int = 1  # 0, 1, ...: one training run each
    train_size: int = 17_500
    valid_size: int = 7_500
    test_size: int = 25_000

    def __post_init__(self) -> None:
        if not 2 < self.max_tokens <= 512:
            raise ValueError(f"max_tokens is {self.max_tokens}, expected 3 to 512")
        if self.head not in ("gru", "cnn"):
            raise ValueError(f"head is {self.head!r}, expected 'gru' or 'cnn'")
        for name in ("train_size", "valid_size", "test_size"):
            size = getattr(self, name)
            if size < 2 or size % 2:
                raise ValueError(f"{name} is {size}, expected an even number above 0")
        for name in ("layer", "batch", "epochs", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.rank < 0 or not 0 <= self.frozen < self.layer:
            raise ValueError(
                f"rank is {self.rank} and frozen is {self.frozen}, expected 0 or more, "
                f"and frozen below {self.layer}, the layers that are used"
            )
        if not 0 <= self.averaging < 1 or self.agreement < 0:
            raise ValueError(
                f"averaging is {self.averaging} and agreement is {self.agreement}, "
                "expected 0 or more, and averaging below 1"
            )


NOTEBOOK = Config(seeds=3)
FROZEN = Config(
    layer=3,
    both_ends=True,
    head="cnn",
    hidden=256,
    warm_up=0.1,
    decay=True,
    batch=64,
    epochs=4,
    seeds=3,
)
FINETUNED = Config(
    rank=64,
    both_ends=True,
    head="cnn",
    hidden=128,
    warm_up=0.1,
    decay=True,
    batch=32,
    epochs=3,
    agreement=1.0,
    averaging=0.997,
    seeds=3,
)
RUNS = {
    "sentiment-notebook": NOTEBOOK,
    "sentiment-frozen": FROZEN,
    "sentiment-finetuned": FINETUNED,
}
# For whoever has the Hub and an accelerator.
LARGE = {"sentiment-bert-base": replace(NOTEBOOK, layer=12)}


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
    """The notebook's recipe, with the padding masked and with the padding read."""

    recipe: Config
    short: int = 128  # tokens, at most, of the reviews that are padded more and more
    watched: int = 150  # the number of these reviews


@dataclass(frozen=True)
class Speed:
    """What is timed."""

    reviews: int = 512  # of the training half, drawn once
    max_tokens: int = 256  # for encoding; sentence-transformers' own limit
    epoch_reviews: int = 512  # several batches, whose reviews can be of like length
    epoch_tokens: int = 512  # for an epoch; the notebook's limit
    step_reviews: int = 64  # the first of those, for a step of training
    rounds: int = 3  # of all ways in turn: a machine can be slow for seconds
    batch: int = 128


SURVEY = Survey()
TFIDF = Tfidf()
# Fewer reviews than the notebook reads, in smaller batches: about as many steps.
PADDING = Padding(
    replace(
        NOTEBOOK,
        by_length=False,
        batch=32,
        train_size=5_000,
        valid_size=1_000,
        test_size=2_000,
    )
)
# From the notebook's recipe, the first cell, to others of the same table of two by two.
GAP = Study(
    NOTEBOOK,
    {
        "layer 6, convolution": {"head": "cnn"},
        "layer 3, GRU": {"layer": 3},
        "layer 3, convolution": {"layer": 3, "head": "cnn"},
    },
)
SEARCHES = {
    "sentiment-search": Study(
        replace(FROZEN, train_size=5_000, valid_size=5_000),
        {
            "nothing": {},
            "the last layer, 6": {"layer": 6},
            "layer 4": {"layer": 4},
            "layer 2": {"layer": 2},
            "a GRU of 256 units": {"head": "gru"},
            "128 channels": {"hidden": 128},
            "dropout 0.5": {"dropout": 0.5},
            "only the start of a review": {"both_ends": False},
            "learning rate 0.002": {"lr": 2e-3},
            "6 epochs": {"epochs": 6},
        },
        seeds=1,
    ),
    "sentiment-search-finetuned": Study(
        replace(FINETUNED, train_size=5_000, valid_size=5_000),
        {
            "nothing": {},
            "no agreement of two passes": {"agreement": 0.0},
            "the last weights, not their mean": {"averaging": 0.0},
            "rank 16": {"rank": 16},
            "two layers frozen": {"frozen": 2},
        },
        seeds=1,
    ),
}
SPEED = Speed()
