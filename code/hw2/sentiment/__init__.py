"""Problem 5: is a review of a film positive? A pretrained BERT, and what reads it.

``config`` has the hyperparameters and the runs, ``reviews`` the data, ``tokens`` how
they become batches, ``encoder`` the pretrained BERT, ``model`` what reads its states,
``training`` how that is trained, ``experiments`` what a run does, ``predict`` reads any
text, ``inspection`` looks into a trained model, and ``ensemble`` combines several.
``survey``, ``tfidf``, ``padding`` and ``speed`` are studies, as are the comparisons of
recipes in ``experiments``.
"""

from hw2.sentiment.config import LARGE, RUNS, Config
from hw2.sentiment.ensemble import combine
from hw2.sentiment.experiments import experiment, experiment_bert_base
from hw2.sentiment.model import BertGruSentiment, bert_base_parameters
from hw2.sentiment.predict import Predictor, load
from hw2.sentiment.reviews import GIVEN, HARD, OWN
from hw2.sentiment.studies import STUDIES

__all__ = [
    "GIVEN",
    "HARD",
    "LARGE",
    "OWN",
    "RUNS",
    "STUDIES",
    "BertGruSentiment",
    "Config",
    "Predictor",
    "bert_base_parameters",
    "combine",
    "experiment",
    "experiment_bert_base",
    "load",
]
