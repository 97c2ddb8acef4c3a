"""The tables of the appendix: the records, what they rest on, data, and versions."""

import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from IPython.display import Markdown

from hw2 import data
from hw2.figures import listed, seeds, table
from recorded import Run

READS = {"FASHION_MNIST": "FashionMNIST", "IMDB": "IMDB", "MINILM": "MiniLM"}
SENTENCES = ("provoked", "result", "kept")  # of a fault
PACKAGES = ("torch", "torchvision", "transformers", "datasets", "sympy", "matplotlib")


def records(runs: Iterable[Run]) -> Markdown:
    """When, on what, with which seeds and in what time each run was made."""
    rows = [
        (f"`{run.name}`", run.date, run.hardware, seeds(run), f"{run.seconds:,.0f}")
        for run in runs
    ]
    header = ["Run", "Date", "Machine", "Seeds", "Seconds"]
    return table(header, rows, "llllr", [32, 13, 24, 16, 10])


def scores(runs: Iterable[Run]) -> Markdown:
    """Every score of each run."""
    rows = (
        [
            f"`{run.name}`",
            listed(f"{name} {of.value:.4f}" for name, of in run.scores.items()),
        ]
        for run in runs
    )
    return table(["Run", "Scores"], rows, "ll", [12, 40])


def provenance(runs: Iterable[Run]) -> Markdown:
    """The key of each record, what it covers and reads, and digests of its files."""
    rows = []
    for run in runs:
        reads = dict.fromkeys(READS[what.split()[0]] for what in run.fingerprint.data)
        files = ("run.json", "predictions.safetensors", "weights.safetensors")
        digests = [run.digests.get(file, "") for file in files]
        shown = [f"`{digest[:8]}`" if digest else "none" for digest in digests]
        key, covers = f"`{run.fingerprint.key[:8]}`", len(run.fingerprint.code)
        rows.append([f"`{run.name}`", key, covers, listed(reads, ", "), *shown])
    header = ["Run", "Key", "Code", "Reads", "Metrics", "Predictions", "Weights"]
    return table(header, rows, "llrllll", [12, 9, 5, 15, 9, 11, 9])


def digests() -> Markdown:
    """The first digits of the SHA-256 of data and weights."""
    rows = [
        (what.format(name), f"`{digest[:16]}`")
        for what, found in (
            ("FashionMNIST, `{}`", data.FASHION_MNIST_DIGESTS),
            ("IMDB, {} split", data.IMDB_DIGESTS),
            ("all-MiniLM-L6-v2, `{}`", data.MINILM_DIGESTS),
            ("bert-base-uncased, `{}`", data.BERT_BASE_DIGESTS),
        )
        for name, digest in found.items()
    ]
    return table(["content", "SHA-256"], rows, "ll")


def provoked(path: Path) -> dict[str, Any]:
    """What ``make test-faults`` wrote: the faults, and where and when they were."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def cases(fault: dict[str, Any]) -> int:
    """How often a fault was provoked; all tests of it passed, or none is written."""
    return sum(test["cases"] for test in fault["tests"].values())


def faults(found: dict[str, Any]) -> Markdown:
    """A row for each fault, whose sentences are Markdown."""
    header = ["Kind", "How it was provoked", "What happens", "What is kept", "Tests"]
    rows = [
        [fault["kind"], *(fault[key] for key in SENTENCES), cases(fault)]
        for fault in found["faults"]
    ]
    return table(header, rows, "llllr", [13, 28, 28, 20, 11])


def versions() -> Markdown:
    """What is installed here, and how many threads it uses."""
    rows = [
        ("Python", platform.python_version()),
        *((package, version(package)) for package in PACKAGES),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("threads used by torch", torch.get_num_threads()),
    ]
    return table(["software", "version"], rows)
