"""A baseline without a network: logistic regression on counts of words."""

from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from hw2.sentiment.config import Tfidf
from hw2.sentiment.experiments import score_of
from hw2.sentiment.reviews import subsets
from recorded import Checkpoint, Outcome, Scores, Tensors, scored_by

PROBES = (
    ("The film is good.", 1),
    ("The film is not good.", 0),
    ("The film is bad.", 0),
    ("The film is not bad.", 1),
    ("I was bored.", 0),
    ("I was never bored.", 1),
    ("It is worth seeing.", 1),
    ("It is hardly worth seeing.", 0),
)  # short sentences, and what a reader would call them: 1 positive, 0 negative


def tfidf_score(predictions: Tensors) -> Scores:
    """Accuracy on the test reviews, trained on the training reviews, or on all."""
    labels = predictions["labels"]
    return {
        name: score_of(predictions[what], labels)
        for name, what in (("accuracy", "logits"), ("all", "all"))
    }


@scored_by(tfidf_score)
def tfidf(config: Tfidf, checkpoint: Checkpoint) -> Outcome:
    """Choose how freely it may fit by the validation reviews; then test.

    The metrics are the accuracy on these of each strength, ``valid``, the strength that
    was ``chosen``, the number of ``features``, and the version of ``scikit-learn``. The
    predictions are the ``logits`` of the model that was chosen, those after training it
    on the validation reviews as well, ``all``, and the ``labels``, (N,) each; and by
    the model that was chosen the logits of the validation reviews, ``valid_logits``,
    with their ``valid_labels``, and those of the ``probes``.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    parts = subsets(config.subsets)
    (texts, labels), (valid, truth), (test, answers) = parts.values()

    def trained(texts: list[str], labels: Tensor, strength: float) -> Any:
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=strength, max_iter=1000)
        return words, model.fit(words.fit_transform(texts), labels.numpy())

    accuracies = []
    for strength in config.strengths:
        words, model = trained(texts, labels, strength)
        accuracies.append(float(model.score(words.transform(valid), truth.numpy())))
    best = max(zip(accuracies, config.strengths, strict=True))[1]
    words, model = trained(texts, labels, best)

    def logits_of(texts: list[str]) -> Tensor:
        logits = model.decision_function(words.transform(texts))
        return torch.tensor(logits, dtype=torch.float32)

    predictions = {
        "logits": logits_of(test),
        "labels": answers,
        "valid_logits": logits_of(valid),
        "valid_labels": truth,
        "probes": logits_of([text for text, _ in PROBES]),
    }
    features = len(words.vocabulary_)
    words, model = trained(texts + valid, torch.cat([labels, truth]), best)
    predictions["all"] = logits_of(test)
    metrics = {
        "valid": accuracies,
        "chosen": best,
        "features": features,
        "scikit-learn": version("scikit-learn"),
    }
    return Outcome(metrics, predictions, {})
