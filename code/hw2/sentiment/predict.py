"""Is a review positive? A trained model reads any text: Q4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from hw2 import data
from hw2.sentiment.config import LARGE, RUNS, Config
from hw2.sentiment.encoder import sixteen_bits
from hw2.sentiment.experiments import experiment, experiment_bert_base
from hw2.sentiment.model import BertSentiment, build
from hw2.sentiment.tokens import pad, sorted_batches, tokenize
from recorded import Run, named

if TYPE_CHECKING:
    from transformers import BertTokenizer


@dataclass(frozen=True)
class Predictor:
    """A trained model and what it needs to read text."""

    model: BertSentiment
    tokenizer: BertTokenizer
    max_tokens: int
    both_ends: bool

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text that the model reads."""
        return tokenize(self.tokenizer, texts, self.max_tokens, self.both_ends)

    @torch.no_grad()
    def predict_proba(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """The probability, (N,), that each text is positive.

        Any text will do; what exceeds ``max_tokens`` is not read. The texts may be in
        any container of one dimension. Matrices are multiplied in bfloat16 where that
        is fast. Raises ``TypeError`` where ``texts`` are not strings, or a table or a
        mapping, whose iteration gives names.
        """
        rows = _strings(texts)
        self.model.eval()
        ids = self.tokens(rows)
        logits = torch.empty(len(ids))
        for batch in sorted_batches(torch.tensor([len(row) for row in ids]), 32):
            with sixteen_bits():
                found = self.model(*pad([ids[i] for i in batch.tolist()]))
            logits[batch] = found.float()
        return logits.sigmoid().numpy()


def _strings(texts: Any) -> list[str]:
    """Texts as a list; ``TypeError`` for what is not one text after the other."""
    named = isinstance(texts, str | bytes | Mapping) or getattr(texts, "ndim", 1) != 1
    if named or not isinstance(texts, Iterable):
        shown = " ".join(repr(texts).split())
        raise TypeError(
            f"texts is a {type(texts).__name__}, {shown:.60}, expected a list of "
            "strings"
        )
    # Arrow's columns iterate over scalars that are not strings.
    rows = texts.to_pylist() if hasattr(texts, "to_pylist") else list(texts)
    for i, text in enumerate(rows):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}] is {text!r:.60}, expected a string")
    return rows


def load(record: str | Run) -> Predictor:
    """The model of a run, seed 0, on the CPU and in evaluation mode.

    ``record`` is the name of one of ``RUNS`` or ``LARGE``, or a run. Raises
    ``ValueError`` for another name, or for a run without all weights that were trained,
    ``StaleRecord`` where there is no current record.
    """
    large = record in LARGE if isinstance(record, str) else record.name in LARGE
    run = named(record, RUNS | LARGE, experiment_bert_base if large else experiment)
    config = Config(**run.config)
    folder = data.bert_base_folder if large else data.minilm_folder
    model, tokenizer = build(config, folder)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    if trained != run.weights.keys():
        raise ValueError(
            f"run {run.name} has the weights {sorted(run.weights)}, "
            f"expected {sorted(trained)}"
        )
    model.load_state_dict(run.weights, strict=False)
    return Predictor(model.eval(), tokenizer, config.max_tokens, config.both_ends)
