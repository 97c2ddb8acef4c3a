"""The studies that problem 5's choices rest on: experiment and options, by name."""

from typing import Any

from hw2.sentiment import config
from hw2.sentiment.experiments import compare, search
from hw2.sentiment.padding import padding
from hw2.sentiment.speed import speed
from hw2.sentiment.survey import survey
from hw2.sentiment.tfidf import tfidf
from recorded import Experiment

STUDIES: dict[str, tuple[Experiment, Any]] = {
    "sentiment-data": (survey, config.SURVEY),
    "sentiment-tfidf": (tfidf, config.TFIDF),
    "sentiment-padding": (padding, config.PADDING),
    "sentiment-gap": (compare, config.GAP),
    "sentiment-speed": (speed, config.SPEED),
    **{name: (search, study) for name, study in config.SEARCHES.items()},
}
