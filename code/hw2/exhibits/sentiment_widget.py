"""The widgets of chapter 5: what each token contributes, and what padding changes."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from IPython.display import Markdown
from torch.nn import functional

from hw2.exhibits.sentiment import READ, Occlusion
from hw2.figures import unhidden, widget
from hw2.sentiment import inspection
from hw2.sentiment.padding import AMOUNTS
from hw2.sentiment.predict import Predictor
from hw2.sentiment.reviews import GIVEN, HARD, OWN
from hw2.sentiment.tokens import pad
from recorded import Run

# The test reviews of IMDB with the fewest characters, two of each class, and it.
SHORTEST = {
    "Read the book, forget the movie!": 0,
    "What a script, what a story, what a mess!": 0,
    "This is a great movie. Too bad it is not available on home video.": 1,
    "Such a wonderful app that every1 should have in their smartphones.": 1,
}
GROUPS = {
    "of Q4b": OWN + HARD,
    "of Q4a": GIVEN,
    "the shortest test reviews of each class": tuple(SHORTEST),
}
LABELS = READ | SHORTEST
SHOWN = ("sentiment-finetuned", "sentiment-notebook")  # at first
DIGITS = 4  # of a logit, behind the point


def playable_tokens(
    predictors: Mapping[str, Predictor],
    known: Mapping[str, Mapping[str, Occlusion]],
    groups: Mapping[str, tuple[str, ...]] = GROUPS,
    labels: Mapping[str, int] = LABELS,
) -> Markdown:
    """The widget of ``exhibits.sentiment.occlusion``: two models on the same reviews.

    ``known`` has effects, by model and text, that need not be computed again;
    ``labels`` has the class of each text. Raises ``ValueError`` for a text that a model
    does not read to its end, ``KeyError`` for one without a label.
    """
    texts = tuple(chain.from_iterable(groups.values()))
    tokenizer = next(iter(predictors.values())).tokenizer
    reviews = [
        {"label": labels[text], "pieces": pieces(tokenizer, text)} for text in texts
    ]
    numbers = iter(range(len(texts)))
    data = {
        "groups": [[name, [next(numbers) for _ in of]] for name, of in groups.items()],
        "reviews": reviews,
        "models": {
            name: on_tokens(predictor, texts, known.get(name, {}))
            for name, predictor in predictors.items()
        },
        "shown": SHOWN,
    }
    return widget("sentiment", "fig-sentiment-occlusion", data)


def pieces(tokenizer: Any, text: str) -> list[str]:
    """A text in pieces: those in odd places are its tokens, the others stand between.

    Together they are the text, as it was written but for marks that are hidden.
    """
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    parts, end = [], 0
    for start, stop in spans["offset_mapping"]:
        parts += [text[end:start], text[start:stop]]
        end = stop
    return [unhidden(part) for part in [*parts, text[end:]]]


@torch.no_grad()
def on_tokens(
    predictor: Predictor, texts: tuple[str, ...], known: Mapping[str, Occlusion]
) -> list[dict[str, Any]]:
    """What a model says of each text: the logit, P(positive), the effect of each token.

    The probability is that of ``predict_proba``, which may round otherwise.
    """
    ids = predictor.tokens(texts)
    for text, row in zip(texts, ids, strict=True):
        length, read = len(pieces(predictor.tokenizer, text)) // 2, len(row) - 2
        if read != length:  # [CLS] and [SEP] are not of the text
            raise ValueError(
                f"a text has {length} tokens, of which {read} are read, expected all: "
                f"{text:.60}"
            )
    found = []
    for text, logit, p in zip(
        texts,
        predictor.model(*pad(ids)).tolist(),
        predictor.predict_proba(texts).tolist(),
        strict=True,
    ):
        _, effects = known.get(text) or inspection.occlusion(predictor, text)
        numbers = [round(effect, DIGITS) for effect in effects]
        found.append({"logit": round(logit, DIGITS), "p": p, "effects": numbers})
    return found


def playable_padding(study: Run, name: str, masking: Predictor) -> Markdown:
    """The widget of padding that is read: the recorded logits by amount of padding.

    ``masking`` is the model of the run ``name``, which masks the padding.
    """
    recipe, found = study.config["recipe"], study.predictions
    data = {
        "amounts": AMOUNTS,
        "texts": GIVEN,
        "given": rounded(found["given"]),
        "masked": rounded(with_mask(masking, GIVEN)),
        "masking": name,
        "watched": rounded(found["watched"]),
        "short": study.config["short"],
        "limit": recipe["max_tokens"],
    }
    return widget("sentiment", "fig-sentiment-padding", data)


@torch.no_grad()
def with_mask(predictor: Predictor, texts: tuple[str, ...]) -> torch.Tensor:
    """The logits (len(AMOUNTS), N) of texts with padding behind each, masked.

    The shorter ones have the padding up to the longest as well.
    """
    batch = pad(predictor.tokens(texts))
    return torch.stack(
        [
            predictor.model(*(functional.pad(of, (0, amount)) for of in batch))
            for amount in AMOUNTS
        ]
    )


def rounded(logits: torch.Tensor) -> list[list[float]]:
    """Logits as rows of numbers."""
    return [[round(value, DIGITS) for value in row] for row in logits.tolist()]
