"""A study: what it costs to read the padding."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hw2 import data
from hw2.sentiment.config import Config, Padding
from hw2.sentiment.encoder import Encoded, encode
from hw2.sentiment.experiments import score_of
from hw2.sentiment.model import BertSentiment, build
from hw2.sentiment.reviews import GIVEN, subsets
from hw2.sentiment.tokens import Tokens, sorted_batches, tokenize
from hw2.sentiment.training import evaluate_epoch, fit
from hw2.training import stacked
from recorded import Checkpoint, Outcome, Scores, Tensors, scored_by

AMOUNTS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320, 384, 448, 496)  # of padding
WAYS = ("masked", "sorted", "padded")


def padding_score(predictions: Tensors) -> Scores:
    """The accuracy on the test reviews, a mean over the seeds.

    With the padding ``masked`` in training and test; and with the padding read in
    training, tested on batches that are ``sorted`` by length, so that they hold little
    of it, and with all reviews ``padded`` to the limit.
    """
    labels = predictions["labels"]
    return {way: score_of(predictions[way], labels) for way in WAYS}


@scored_by(padding_score)
def padding(config: Padding, checkpoint: Checkpoint) -> Outcome:
    """Train with the padding masked, and with the padding read, and test.

    Both ways have the same seeds, the same first weights and the same batches, in
    random order. In training all padding is up to the limit, where that of the notebook
    is up to the longest review of a batch in random order, which mostly has as many
    tokens. Validated and tested are, as by the notebook, batches sorted by length.

    The predictions are the logits (seeds, N) of the test reviews by the names of
    ``padding_score``, and their ``labels`` (N,); the histories (see ``fit``) after
    "masked: " and "read: "; and by the model of seed 0 that reads padding the logits
    ``watched`` of short reviews, (5, n), with no, 1/4, 1/2, 3/4 and all of the padding
    that is missing to the limit, and those of ``GIVEN``, ``given`` (len(AMOUNTS), 2).
    """
    recipe = config.recipe
    model, tokenizer = build(recipe, data.minilm_folder)
    labels: Tensors = {}
    ids: dict[str, list[list[int]]] = {}
    for part, (texts, of) in subsets(recipe).items():
        ids[part] = tokenize(tokenizer, texts, recipe.max_tokens)
        labels[part] = of
    whole = {part: [recipe.max_tokens] * len(rows) for part, rows in ids.items()}

    def encoded(part: str, lengths: list[int] | None = None) -> Encoded:
        rows = filled(ids[part], lengths) if lengths else ids[part]
        return Encoded(encode(model.encoder, rows, part, checkpoint), labels[part])

    valid = encoded("valid")
    models, masked = train_seeds(recipe, encoded("train"), valid, "masked", checkpoint)
    predictions = {"labels": labels["test"]} | masked
    predictions["masked"] = logits_of(models, encoded("test"))

    longest = {part: batch_lengths(ids[part]) for part in ("valid", "test")}
    train, valid = encoded("train", whole["train"]), encoded("valid", longest["valid"])
    models, read = train_seeds(recipe, train, valid, "read", checkpoint)
    predictions |= read
    predictions["sorted"] = logits_of(models, encoded("test", longest["test"]))
    predictions["padded"] = logits_of(models, encoded("test", whole["test"]))

    short = short_reviews(ids["test"], config)
    missing = [recipe.max_tokens - len(row) for row in short]
    given = tokenize(tokenizer, GIVEN, recipe.max_tokens)
    predictions["watched"] = torch.stack(
        [
            with_padding(models[0], short, [m * k // 4 for m in missing])
            for k in range(5)
        ]
    )
    predictions["given"] = torch.stack(
        [with_padding(models[0], given, [amount] * len(given)) for amount in AMOUNTS]
    )
    return Outcome({}, predictions, {})


def filled(rows: list[list[int]], lengths: list[int]) -> list[list[int]]:
    """Reviews with padding behind them, up to the given lengths, that is read."""
    return [
        row + [0] * (length - len(row))
        for row, length in zip(rows, lengths, strict=True)
    ]  # [PAD] is token 0


def batch_lengths(rows: list[list[int]], size: int = 128) -> list[int]:
    """How long each review is when batches sorted by length are padded."""
    lengths = torch.tensor([len(row) for row in rows])
    for batch in sorted_batches(lengths, size):
        lengths[batch] = lengths[batch].max()
    return lengths.tolist()


def train_seeds(
    recipe: Config, train: Encoded, valid: Encoded, way: str, checkpoint: Checkpoint
) -> tuple[list[BertSentiment], Tensors]:
    """A model for each seed, with the weights of its best epoch, and the histories."""
    models, histories = [], []
    for seed in range(recipe.seeds):
        torch.manual_seed(seed)
        model, _ = build(recipe, data.minilm_folder)
        name = f"{way}-{seed}"
        history, best = fit(
            model.head,
            train,
            valid,
            recipe,
            seed=seed,
            name=name,
            checkpoint=checkpoint,
        )
        model.head.load_state_dict(best)
        models.append(model)
        histories.append(history)
    return models, {f"{way}: {what}": of for what, of in stacked(histories).items()}


def logits_of(models: Iterable[BertSentiment], reviews: Encoded) -> Tensor:
    """The logits (models, N) of reviews."""
    return torch.stack([evaluate_epoch(model.head, reviews)[2] for model in models])


def short_reviews(rows: list[list[int]], config: Padding) -> list[list[int]]:
    """Some of the reviews that have few tokens, evenly out of all of these."""
    short = [row for row in rows if len(row) <= config.short]
    count = min(config.watched, len(short))
    return [short[i * len(short) // count] for i in range(count)]


def with_padding(model: nn.Module, rows: list[list[int]], amounts: list[int]) -> Tensor:
    """The logits (N,) of reviews, each alone with so many tokens of padding, read."""
    longer = filled(rows, [len(r) + n for r, n in zip(rows, amounts, strict=True)])
    reviews = Tokens(longer, torch.zeros(len(longer)), masked=False)
    return evaluate_epoch(model, reviews, torch.arange(len(longer)).split(1))[2]


def swings(logits: Tensor) -> tuple[Tensor, Tensor]:
    """How far padding moves the probability of each review, and whether its class.

    ``logits`` (amounts, N) are those of N reviews with several amounts of padding, the
    first without any. Returns the distance of the highest and the lowest probability,
    and whether a predicted class differs from the first, both (N,).
    """
    p = logits.sigmoid()
    changed = ((logits > 0) != (logits[:1] > 0)).any(dim=0)
    return p.amax(dim=0) - p.amin(dim=0), changed


def padding_fractions(lengths: Tensor, limit: int, size: int) -> tuple[float, float]:
    """How much of what is read is padding, in two kinds of batches of reviews.

    ``lengths`` (N,) are the numbers of tokens, of which at most ``limit`` are read.
    First in batches that are all padded to the limit, as those in random order nearly
    are; then in batches of ``size`` reviews sorted by length.
    """
    tokens = lengths.clamp(max=limit).double()
    batches = [tokens[batch] for batch in sorted_batches(tokens, size)]
    read = sum(len(of) * of.max().item() for of in batches)
    return 1 - tokens.mean().item() / limit, 1 - tokens.sum().item() / read


def reaches(lengths: Tensor, recipe: Config) -> float:
    """The probability that the longest review of a random batch reaches the limit.

    ``lengths`` (N,) are the numbers of tokens of the reviews to draw from.
    """
    below = (lengths < recipe.max_tokens).double().mean().item()
    return 1 - below**recipe.batch
