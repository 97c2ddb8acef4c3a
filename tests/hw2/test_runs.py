"""The runs of the report: what changes them and what does not, and their records."""

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

import hw2
from conftest import ROOT
from hw2 import (
    data,
    evaluation,
    files,
    linear_attention,
    sentiment,
    training,
    vit,
)
from hw2.runs import RUNS
from recorded import (
    Fingerprint,
    checkpoint,
    differences,
    edited_since_import,
    fingerprint,
    incidental,
    run,
)


def edited(module: ModuleType, old: str, new: str) -> dict[str, str]:
    """The module's real source, edited in one place."""
    text = inspect.getsource(module)
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return {module.__name__: text.replace(old, new)}


def changes(run: str, sources: dict[str, str]) -> list[str]:
    experiment, config = RUNS[run]
    now = fingerprint(experiment, config)
    return differences(now, fingerprint(experiment, config, sources))


def test_memory_is_said_of_runs_that_there_are() -> None:
    assert hw2.MEMORY.keys() <= RUNS.keys()
    assert all(4 <= gib <= 64 for gib in hw2.MEMORY.values())


# Edits of the real modules: (run, module, old, new), and what they change

WITHOUT_EFFECT = [
    # comments, docstrings, annotations, layout
    ("vit-small", vit.model, "# pixels", "# of a side"),
    ("vit-small", vit.model, '"""Self-attention in several heads', '"""Multi-head attention'),
    ("vit-small", vit.model, "def patches(images: Tensor, size: int) -> Tensor:", "def patches(images, size):"),
    ("vit-small", vit.model, "logits: Tensor = self.classify(x.mean", "logits = self.classify(x.mean"),
    ("vit-small", vit.config, "    patch: int = 4", "    patch: float = 4"),
    ("vit-small", vit.model, "x = x + self.mlp(self.norm2(x))", "x = (x +\n   self.mlp( self.norm2(x) ))"),
    ("vit-small", vit.training, '"""Bytes to floats', '"""From bytes to floats'),
    ("vit-small", vit.model, "SIDE = 28  # pixels", "SIDE = 28"),
    # what an error says
    ("vit-small", vit.model, "expected floats in [0, 1]", "expected numbers in [0, 1]"),
    # imports under other names
    ("vit-small", vit.training, "import torch.nn.functional as F\n", "from torch.nn import functional as F\n"),
    ("vit-small", vit.experiments, "from hw2 import data\n", "import hw2.data as data\n"),
    ("vit-small", vit.training, "from recorded import Checkpoint, incidental\n", "from recorded import Checkpoint\nfrom recorded.provenance import incidental\n"),
    # what the run does not reach
    ("vit-small", vit.experiments, "return model.eval()", "return model.train()"),
    ("vit-small", evaluation, 'method="wilson"', 'method="exact"'),
    ("vit-small", data, '"T-shirt",', '"Shirt",'),
    ("vit-small", sentiment.config, "dropout: float = 0.25", "dropout: float = 0.5"),
    ("sentiment-notebook", data, '"c59f468a', '"d59f468a'),
    ("sentiment-notebook", sentiment.reviews, "Great cast", "Good cast"),
    # where files are looked for, how progress is shown, how results are kept
    ("vit-small", data, '/usr/share/datasets/fashion-mnist"', '/opt/fashion-mnist"'),
    ("sentiment-notebook", files, "timeout=5", "timeout=9"),
    ("vit-small", training, "initial=done", "initial=0"),
    ("vit-small", checkpoint, "INTERVAL = 30.0", "INTERVAL = 60.0"),
]  # fmt: skip
WITH_EFFECT = [
    # a formula, a constant, a default, a library's function
    ("vit-small", vit.model, "x = x + self.mlp(self.norm2(x))", "x = x - self.mlp(self.norm2(x))", ["code Block changed"]),
    ("vit-small", vit.model, "= 0.286, 0.353", "= 0.286, 0.354", ["code PIXEL_MEAN changed", "code PIXEL_STD changed"]),
    ("vit-small", vit.model, "SIDE = 28", "SIDE = 32", ["code SIDE changed"]),
    ("vit-small", vit.model, "nn.GELU()", "nn.ReLU()", ["code Block changed"]),
    ("vit-small", vit.training, ".split(500)", ".split(499)", ["code predict changed"]),
    ("vit-small", vit.training, "(0.9, 0.99)", "(0.9, 0.999)", ["code optimisers_for changed"]),
    ("vit-small", data, "offset=16", "offset=17", ["code fashion_mnist changed"]),
    ("sentiment-notebook", sentiment.encoder, "else 128)", "else 64)", ["code encode changed"]),
    ("sentiment-notebook", sentiment.model, "if layer > 0:", "if layer > 1:", ["code GruHead changed"]),
    ("sentiment-notebook", sentiment.training, "return (logits > 0)", "return (logits > 1)", ["code is_correct changed"]),
    ("sentiment-notebook", evaluation, "1.96 * math.sqrt(2 *", "1.96 * math.sqrt(3 *", ["code accuracy_score changed"]),
    ("linear-attention", linear_attention, "state = k.mT @ v", "state = k.mT @ v * 1", ["code linear changed"]),
    # the data and the weights
    ("vit-small", data, '"c59f468a', '"d59f468a', ["data FASHION_MNIST train-images-idx3-ubyte changed"]),
    ("sentiment-notebook", data, '"53aa5117', '"63aa5117', ["data MINILM model.safetensors changed"]),
    # the same name, from elsewhere
    ("vit-small", vit.training, "import torch.nn.functional as F\n", "import torch.special as F\n", ["code augment changed", "code evaluate changed", "code fit changed"]),
]  # fmt: skip


@pytest.mark.parametrize("run, module, old, new", WITHOUT_EFFECT)
def test_an_edit_without_effect(
    run: str, module: ModuleType, old: str, new: str
) -> None:
    assert changes(run, edited(module, old, new)) == []


@pytest.mark.parametrize("run, module, old, new, found", WITH_EFFECT)
def test_an_edit_with_effect(
    run: str, module: ModuleType, old: str, new: str, found: list[str]
) -> None:
    assert changes(run, edited(module, old, new)) == found


def test_a_new_function_that_is_called_counts() -> None:
    text = inspect.getsource(vit.model).replace("x.mean(dim=1)", "middle(x)")
    text += "\n\ndef middle(x: Tensor) -> Tensor:\n    return x.median(dim=1).values\n"
    found = changes("vit-small", {"hw2.vit.model": text})
    assert found == ["code ViT changed", "code middle is new"]


def test_a_module_can_be_renamed() -> None:
    """Everything in ``vit.training`` under another module's name: the same key."""
    experiment, config = RUNS["vit-small"]
    users = inspect.getsource(vit.experiments)
    sources = {
        "hw2.vit.experiments": users.replace("hw2.vit.training", "hw2.vit.teaching"),
        "hw2.vit.teaching": inspect.getsource(vit.training),
    }
    assert fingerprint(experiment, config, sources).key == (
        fingerprint(experiment, config).key
    )


def test_a_changed_option() -> None:
    experiment, config = RUNS["vit-small"]
    now = fingerprint(experiment, config)
    other = fingerprint(experiment, replace(config, epochs=3, lr=0.01))
    assert differences(now, other) == [
        f"option epochs: {config.epochs} recorded, 3 now",
        "option lr: 0.003 recorded, 0.01 now",
    ]
    assert now.key != other.key


def test_a_fingerprint_survives_json() -> None:
    for experiment, config in RUNS.values():
        now = fingerprint(experiment, config)
        again = Fingerprint(**json.loads(json.dumps(now._asdict())))
        assert again == now and again.key == now.key
        assert differences(again, now) == []


def test_what_the_runs_read() -> None:
    reads = {
        name: {what.split()[0] for what in fingerprint(*of).data}
        for name, of in RUNS.items()
    }
    assert reads == {
        "linear-attention": set(),
        "peers": set(),
        **{name: {"FASHION_MNIST"} for name in vit.RUNS | vit.STUDIES},
        **{name: {"IMDB", "MINILM"} for name in sentiment.RUNS | sentiment.STUDIES},
        "sentiment-tfidf": {"IMDB"},
    }


def test_no_module_was_edited_since_it_was_imported() -> None:
    assert edited_since_import(vit.experiment, vit.Config()) == []


def test_only_these_functions_are_declared_without_effect() -> None:
    """Each is trusted not to bear on a result; a new one is to be thought about."""
    marked: list[Callable[..., Any]] = [
        data._fashion_mnist_file,
        data._imdb_folder,
        data._labelled_texts,
        data._bert_base_folder,
        sentiment.encoder._key,
        sentiment.encoder._sha256,
        training.progress,
        training.advance,
        vit.training.compiled,
    ]
    count = sum(
        path.read_text().count(f"@{incidental.__name__}\n")
        for path in (ROOT / "code" / "hw2").rglob("*.py")
    )
    assert count == len(marked)
    for function in marked:
        assert inspect.getsource(function).startswith("@incidental\n")


# The records of the report


def test_the_records_are_those_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HW2_TRAIN", "never")
    names = {p.name for p in hw2.RECORDS.iterdir() if not p.name.startswith(".")}
    assert names - {"faults.json"} == {*RUNS, "README.md"}
    for name, of in RUNS.items():
        got = run(name, *of)
        about = json.loads((hw2.RECORDS / name / "run.json").read_text())
        assert about["hardware"] and about["versions"]["torch"]
        for score in got.scores.values():
            assert score.tolerance > 0


def test_the_records_are_small_and_hold_no_pickles() -> None:
    kept = [path for path in (ROOT / "records").glob("*/*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 35e6
    assert {path.suffix for path in kept} <= {".json", ".safetensors", ""}


@pytest.mark.parametrize("name", RUNS)
def test_what_a_person_reads_of_a_record_is_short(name: str) -> None:
    """Long lists are tensors, not lines of run.json."""
    assert len((hw2.RECORDS / name / "run.json").read_text().splitlines()) < 300
