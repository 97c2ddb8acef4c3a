"""A study: what it costs to read the padding."""

import torch
from torch import Tensor, nn

from hw2 import data
from hw2.sentiment.config import Padding
from hw2.sentiment.encoder import Encoded, batches, encode, pad, tokenize
from hw2.sentiment.experiments import score
from hw2.sentiment.model import build
from hw2.sentiment.reviews import subsets
from hw2.sentiment.training import evaluate_epoch, fit
from recorded import Checkpoint, Metrics, Outcome, Scores, Tensors, scored_by


def padding_score(predictions: Tensors) -> Scores:
    """The accuracy with padding masked and with padding read, means over the seeds."""
    labels = predictions["labels"]
    return {
        name: score({"logits": predictions[name], "labels": labels})["accuracy"]
        for name in ("masked", "read")
    }


@scored_by(padding_score)
def padding(config: Padding, checkpoint: Checkpoint) -> Outcome:
    """Train with the padding masked, and with all reviews padded and the padding read.

    A batch of the notebook has 128 reviews in random order, so that one of them all but
    surely reaches the limit of tokens; so here every review is padded to that limit.
    The seeds are the same, and so are the first weights, but not the batches: only
    where padding is masked do they hold reviews of about equal length.

    The metrics are the histories, by way and seed. The predictions are the logits of
    the test reviews, ``masked`` and ``read`` (seeds, N); their ``labels`` (N,); and the
    logits, by the head of seed 0 that reads padding, of ``watched`` short reviews with
    more and more padding, (5, n): up to 0, 1/4, 1/2, 3/4 and all of what is missing to
    the limit.
    """
    recipe = config.recipe
    model, tokenizer = build(recipe, data.minilm_folder)
    ids = {
        name: (tokenize(tokenizer, texts, recipe.max_tokens), labels)
        for name, (texts, labels) in subsets(recipe).items()
    }
    test, labels = ids["test"]
    short = [row for row in test if len(row) <= config.short]
    # As the first half of the test reviews is negative, not the first of these.
    short = short[:: max(1, len(short) // config.watched)][: config.watched]
    metrics: Metrics = {}
    predictions: Tensors = {"labels": labels}
    for way in ("masked", "read"):
        limit = recipe.max_tokens if way == "read" else 0
        encoded = {
            name: Encoded(
                encode(model.encoder, padded(rows, limit), f"{way}-{name}", checkpoint),
                labels,
            )
            for name, (rows, labels) in ids.items()
        }
        logits = []
        for seed in range(recipe.seeds):
            torch.manual_seed(seed)
            head = build(recipe, data.minilm_folder)[0].head
            stage = f"{way}-{seed}"
            train, valid = encoded["train"], encoded["valid"]
            history, best = fit(head, train, valid, recipe, seed, checkpoint, stage)
            metrics[stage] = history
            head.load_state_dict(best)
            logits.append(evaluate_epoch(head, encoded["test"])[2])
            if stage == "read-0":
                predictions["watched"] = torch.stack(
                    [
                        logits_of(
                            model.encoder, head.cpu(), more(short, limit, quarters)
                        )
                        for quarters in range(5)
                    ]
                )
        predictions[way] = torch.stack(logits)
    return Outcome(metrics, predictions, {})


def padded(rows: list[list[int]], length: int) -> list[list[int]]:
    """Tokens, with padding as if it were text up to a length."""
    return [row + [0] * (length - len(row)) for row in rows]


def more(rows: list[list[int]], limit: int, quarters: int) -> list[list[int]]:
    """Tokens, with so many quarters of what is missing to the limit as padding."""
    return [row + [0] * ((limit - len(row)) * quarters // 4) for row in rows]


@torch.no_grad()
def logits_of(encoder: nn.Module, head: nn.Module, rows: list[list[int]]) -> Tensor:
    """The logits (N,) of reviews by their tokens, in single precision."""
    head.eval()
    logits = torch.empty(len(rows))
    for part in batches(torch.tensor([len(row) for row in rows]), 32):
        tokens, mask = pad([rows[i] for i in part.tolist()])
        states = encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        logits[part] = head(states, mask.sum(dim=1))
    return logits


def swings(logits: Tensor) -> tuple[Tensor, Tensor]:
    """How far padding moves the probability of each review, and whether its verdict.

    ``logits`` (amounts, N) are those of N reviews with several amounts of padding, the
    first without any. Returns the distance of the highest and the lowest probability,
    and whether a verdict differs from the first, both (N,).
    """
    p = logits.sigmoid()
    changed = ((logits > 0) != (logits[:1] > 0)).any(dim=0)
    return p.amax(dim=0) - p.amin(dim=0), changed
