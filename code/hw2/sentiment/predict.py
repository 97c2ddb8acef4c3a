"""Is a review positive? A trained model reads any text: Q4."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertTokenizer

from hw2 import data
from hw2.sentiment.config import LARGE, RUNS, Config
from hw2.sentiment.encoder import batches, pad, tokenize
from hw2.sentiment.experiments import experiment, experiment_bert_base
from hw2.sentiment.model import BertSentiment, build
from recorded import Run, named

GIVEN = ("Justice League is terrible. I hated it.", "Avengers was great!!")  # Q4a
# Q4b: the first uses the words of a bad review, the second those of a good one.
OWN = (
    "I expected to hate it, and I was wrong.",
    "Great cast, lovely music, and I left early.",
)


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

        Any text will do; what exceeds ``max_tokens`` is not read. Raises ``TypeError``
        where ``texts`` are not strings.
        """
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise TypeError(f"texts is {texts!r:.60}, expected a list of strings")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{i}] is {text!r:.60}, expected a string")
        self.model.eval()
        ids = self.tokens(texts)
        logits = torch.empty(len(ids))
        for part in batches(torch.tensor([len(row) for row in ids]), 32):
            logits[part] = self.model(*pad([ids[i] for i in part.tolist()])).float()
        return logits.sigmoid().numpy()


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
    trained = {n for n, p in model.head.named_parameters() if p.requires_grad}
    if trained != run.weights.keys():
        raise ValueError(
            f"run {run.name} has the weights {sorted(run.weights)}, "
            f"expected {sorted(trained)}"
        )
    model.head.load_state_dict(run.weights, strict=False)
    return Predictor(model.eval(), tokenizer, config.max_tokens, config.both_ends)
