"""Problem 5: is a review of a film positive? A pretrained BERT, and what reads it.

``config`` has the options and the runs, ``reviews`` the data, ``encoder`` the
pretrained BERT, ``model`` the heads, ``training`` how they are trained,
``experiments`` what a run does, ``predict`` reads any text, and ``inspection`` looks
into a trained model. ``survey``, ``tfidf``, ``padding``, ``search`` and ``speed`` are
what the choices rest on.
"""

from hw2.sentiment.config import LARGE, RUNS, Config
from hw2.sentiment.experiments import experiment, experiment_bert_base
from hw2.sentiment.model import BertGruSentiment, bert_base_parameters
from hw2.sentiment.predict import GIVEN, OWN, Predictor, load
from hw2.sentiment.studies import STUDIES

__all__ = [
    "GIVEN",
    "LARGE",
    "OWN",
    "RUNS",
    "STUDIES",
    "BertGruSentiment",
    "Config",
    "Predictor",
    "bert_base_parameters",
    "experiment",
    "experiment_bert_base",
    "load",
]
