"""The records as tables to read without rendering: in README.md and records/README.md.

``make record`` writes them; nothing in them is typed.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from hw2 import scaling, sentiment, vit
from hw2.evaluation import interval
from hw2.figures import seeds, table
from hw2.runs import RUNS
from recorded import Run, read

# What the answers rest on, and the baseline of problem 5; the others are studies.
MAIN = (*scaling.RUNS, *vit.RUNS, *sentiment.RUNS, "sentiment-tfidf")
BEGIN, END = "<!-- results: written by make record -->", "<!-- end of results -->"
ABOUT = """# Recorded runs

A folder for each run: its options, what it depends on, its metrics, predictions and
weights. This page is written by `make record`. `make reproduce RUN=name` makes a run
again and compares.

An accuracy is a mean over the seeds; in brackets is its 95% interval for chance in the
choice of what it is measured on. That is the test data, but for `vit-ablation`,
`sentiment-search` and `sentiment-search-finetuned` it is the held-out or validation
data. The scores of `linear-attention` are the powers of the number of tokens by which
time and memory grow; those of `peers` are times of this project's code, divided by
those of public code; those of `sentiment-speed` are the factors by which one way is
faster than another. Parameters are those that training changed; a study keeps none.
"""


def update(records: Path) -> None:
    """Write both tables anew: in ``records`` and, between two marks, in its parent."""
    runs = [read(records / name) for name in RUNS if (records / name).is_dir()]
    draft = records / ".readme.draft"
    with FileLock(records / ".readme.lock"):
        texts = {records / "README.md": page(runs)}
        readme = records.parent / "README.md"
        if readme.exists():
            texts[readme] = with_results(readme.read_text(encoding="utf-8"), runs)
        for path, text in texts.items():
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)  # a page is never half written


def page(runs: Iterable[Run]) -> str:
    """The text of records/README.md."""
    return f"{ABOUT}\n{overview(runs)}\n"


def with_results(text: str, runs: Iterable[Run]) -> str:
    """README.md with its table of the main runs. ``ValueError`` without its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the line {BEGIN} or {END}")
    main = overview(run for run in runs if run.name in MAIN)
    return f"{before}{BEGIN}\n\n{main}\n\n{END}{after}"


def overview(runs: Iterable[Run]) -> str:
    """A Markdown table with a row for each run."""
    rows = [
        (
            f"`{run.name}`",
            "<br>".join(f"{name} {score(run, name)}" for name in run.scores),
            f"{sum(weight.numel() for weight in run.weights.values()):,}"
            if run.weights
            else "",
            seeds(run),
            f"{run.seconds / 60:.0f}",
            run.hardware,
            run.date,
        )
        for run in runs
    ]
    header = ["run", "score", "parameters", "seeds", "minutes", "hardware", "date"]
    return str(table(header, rows, "llrlrll").data)


def score(run: Run, name: str) -> str:
    """A score of a run as text: an accuracy with its 95% interval, any other as it is.

    Runs that predict classes hold the ``labels`` (N,) of what they predict, or else the
    ``valid_labels``.
    """
    value = run.scores[name].value
    labels = run.predictions.get("labels", run.predictions.get("valid_labels"))
    if labels is None:
        return f"{value:.4g}"
    count = len(labels)
    low, high = interval(round(value * count), count)
    return f"{value:.2%} ({low:.1%} to {high:.1%})"
