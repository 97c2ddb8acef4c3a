"""A study: what it costs to read the padding."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hw2 import data
from hw2.sentiment.config import Config, Padding
from hw2.sentiment.experiments import score_of
from hw2.sentiment.model import BertSentiment, build
from hw2.sentiment.reviews import GIVEN, subsets
from hw2.sentiment.tokens import Tokens, random_batches, sorted_batches, tokenize
from hw2.sentiment.training import evaluate_epoch, fit
from hw2.training import stacked
from recorded import Checkpoint, Outcome, Scores, Tensors, scored_by

AMOUNTS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320, 384, 448, 496)  # of padding
WAYS = ("masked", "sorted", "padded")


def padding_score(predictions: Tensors) -> Scores:
    """The accuracy on the test reviews, a mean over the seeds.

    With the padding ``masked`` in training and test; and with the padding read in
    training, tested on batches that are ``sorted`` by length, so that they hold little
    of it, and on ``padded`` ones in random order.
    """
    labels = predictions["labels"]
    return {way: score_of(predictions[way], labels) for way in WAYS}


@scored_by(padding_score)
def padding(config: Padding, checkpoint: Checkpoint) -> Outcome:
    """Train with the padding masked, and with the padding read, and test.

    Both ways have the same seeds, the same first weights and the same batches, in
    random order and padded to the longest review of the batch. So in training the
    padding is read as by the notebook, which is tested on batches sorted by length.

    The predictions are the logits (seeds, N) of the test reviews by the names of
    ``padding_score``, and their ``labels`` (N,); the histories (see ``fit``) after
    "masked: " and "read: "; and by the model of seed 0 that reads padding the logits
    ``watched`` of short reviews, (5, n), with no, 1/4, 1/2, 3/4 and all of the padding
    that is missing to the limit, and those of ``GIVEN``, ``given`` (len(AMOUNTS), 2).
    """
    recipe = config.recipe
    tokenizer = build(recipe, data.minilm_folder)[1]
    reviews = {
        name: Tokens(tokenize(tokenizer, texts, recipe.max_tokens), labels)
        for name, (texts, labels) in subsets(recipe).items()
    }
    test = reviews["test"]
    order = torch.Generator().manual_seed(0)
    padded = random_batches(test.lengths, recipe.batch, order, by_length=False)
    predictions: Tensors = {"labels": test.labels}

    models, found = train_seeds(recipe, reviews, "masked", checkpoint)
    predictions |= found
    predictions["masked"] = logits_of(models, test)

    reviews = {name: of._replace(masked=False) for name, of in reviews.items()}
    models, found = train_seeds(recipe, reviews, "read", checkpoint)
    predictions |= found
    predictions["sorted"] = logits_of(models, reviews["test"])
    predictions["padded"] = logits_of(models, reviews["test"], padded)

    short = short_reviews(test.ids, config)
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


def train_seeds(
    recipe: Config, reviews: dict[str, Tokens], way: str, checkpoint: Checkpoint
) -> tuple[list[BertSentiment], Tensors]:
    """A model for each seed, with the weights of its best epoch, and the histories."""
    models, histories = [], []
    for seed in range(recipe.seeds):
        torch.manual_seed(seed)
        model, _ = build(recipe, data.minilm_folder)
        history, best = fit(
            model,
            reviews["train"],
            reviews["valid"],
            recipe,
            seed=seed,
            name=f"{way}-{seed}",
            checkpoint=checkpoint,
        )
        model.load_state_dict(best, strict=False)
        models.append(model)
        histories.append(history)
    return models, {f"{way}: {what}": of for what, of in stacked(histories).items()}


def logits_of(
    models: Iterable[nn.Module], reviews: Tokens, batches: list[Tensor] | None = None
) -> Tensor:
    """The logits (models, N) of reviews, in the given batches or by length."""
    return torch.stack([evaluate_epoch(model, reviews, batches)[2] for model in models])


def short_reviews(rows: list[list[int]], config: Padding) -> list[list[int]]:
    """Some of the reviews that have few tokens, evenly out of all of these."""
    short = [row for row in rows if len(row) <= config.short]
    count = min(config.watched, len(short))
    return [short[i * len(short) // count] for i in range(count)]


def with_padding(model: nn.Module, rows: list[list[int]], amounts: list[int]) -> Tensor:
    """The logits (N,) of reviews, each alone with so many tokens of padding, read."""
    longer = [
        row + [0] * amount for row, amount in zip(rows, amounts, strict=True)
    ]  # [PAD] is token 0
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
