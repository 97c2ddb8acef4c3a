"""A fingerprint changes with what the code does, and with nothing else."""

import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hw2 import (
    data,
    encoder,
    linear_attention,
    provenance,
    records,
    sentiment,
    studies,
    training,
    vit,
)
from hw2.__main__ import RUNS
from hw2.provenance import (
    Fingerprint,
    differences,
    edited_since_import,
    fingerprint,
    incidental,
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


# Edits of the real modules: (run, module, old, new), and what they change

WITHOUT_EFFECT = [
    # comments, docstrings, annotations, layout
    ("vit-small", vit, "# pixels", "# of a side"),
    ("vit-small", vit, '"""Self-attention in several heads', '"""Multi-head attention'),
    ("vit-small", vit, "def patches(images: Tensor, size: int) -> Tensor:", "def patches(images, size):"),
    ("vit-small", vit, "logits: Tensor = self.classify(x.mean", "logits = self.classify(x.mean"),
    ("vit-small", vit, "    patch: int = 4", "    patch: float = 4"),
    ("vit-small", vit, "x = x + self.mlp(self.norm2(x))", "x = (x +\n   self.mlp( self.norm2(x) ))"),
    ("vit-small", training, '"""Bytes to floats', '"""From bytes to floats'),
    ("vit-small", vit, "SIDE = 28  # pixels", "SIDE = 28"),
    # what an error says
    ("vit-small", vit, "expected floats in [0, 1]", "expected numbers in [0, 1]"),
    # imports under other names
    ("vit-small", training, "import torch.nn.functional as F\n", "from torch.nn import functional as F\n"),
    ("vit-small", vit, "from hw2 import data, records\n", "import hw2.data as data\nfrom hw2 import records\n"),
    # what the run does not reach
    ("vit-small", vit, "return model.eval()", "return model.train()"),
    ("vit-small", training, 'method="wilson"', 'method="exact"'),
    ("vit-small", data, '"T-shirt",', '"Shirt",'),
    ("vit-small", sentiment, "dropout: float = 0.25\n    lr", "dropout: float = 0.5\n    lr"),
    ("sentiment-notebook", data, '"c59f468a', '"d59f468a'),
    ("sentiment-notebook", sentiment, "Great cast", "Good cast"),
    # where files are looked for, how progress is shown, how results are kept
    ("vit-small", data, '/usr/share/datasets/fashion-mnist"', '/opt/fashion-mnist"'),
    ("sentiment-notebook", data, "timeout=5", "timeout=9"),
    ("vit-small", training, "mininterval=1", "mininterval=2"),
    ("vit-small", records, "INTERVAL = 30.0", "INTERVAL = 60.0"),
]  # fmt: skip
WITH_EFFECT = [
    # a formula, a constant, a default, a library's function
    ("vit-small", vit, "x = x + self.mlp(self.norm2(x))", "x = x - self.mlp(self.norm2(x))", ["code Block changed"]),
    ("vit-small", vit, "= 0.286, 0.353", "= 0.286, 0.354", ["code PIXEL_MEAN changed", "code PIXEL_STD changed"]),
    ("vit-small", vit, "SIDE = 28", "SIDE = 32", ["code SIDE changed"]),
    ("vit-small", vit, "nn.GELU()", "nn.ReLU()", ["code Block changed"]),
    ("vit-small", training, "images.split(500)", "images.split(499)", ["code predict changed"]),
    ("vit-small", training, "(len(losses) + 0.5)", "(len(losses) + 1)", ["code fit changed"]),
    ("vit-small", data, "offset=16", "offset=17", ["code fashion_mnist changed"]),
    ("sentiment-notebook", encoder, "size: int = 16,", "size: int = 32,", ["code encode changed"]),
    ("sentiment-notebook", sentiment, "if layer > 0:", "if layer > 1:", ["code GruHead changed"]),
    ("sentiment-notebook", sentiment, 'return ((logits > 0)', 'return ((logits > 1)', ["code binary_accuracy changed"]),
    ("sentiment-notebook", training, "1.96 * math.sqrt(2 *", "1.96 * math.sqrt(3 *", ["code accuracy_score changed"]),
    ("linear-attention", linear_attention, "state = k.mT @ v", "state = k.mT @ v * 1", ["code linear changed"]),
    # the data and the weights
    ("vit-small", data, '"c59f468a', '"d59f468a', ["data FASHION_MNIST train-images-idx3-ubyte changed"]),
    ("sentiment-notebook", data, '"53aa5117', '"63aa5117', ["data MINILM model.safetensors changed"]),
    # the same name, from elsewhere
    ("vit-small", training, "import torch.nn.functional as F\n", "import torch.special as F\n", ["code augment changed", "code fit changed", "code look changed"]),
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
    text = inspect.getsource(vit).replace("x.mean(dim=1)", "middle(x)")
    text += "\n\ndef middle(x: Tensor) -> Tensor:\n    return x.median(dim=1).values\n"
    found = changes("vit-small", {"hw2.vit": text})
    assert found == ["code ViT changed", "code middle is new"]


def test_a_module_can_be_renamed() -> None:
    """Everything in ``training`` under another module's name: the same key."""
    experiment, config = RUNS["vit-small"]
    moved = inspect.getsource(vit).replace("hw2.training", "hw2.teaching")
    sources = {"hw2.vit": moved, "hw2.teaching": inspect.getsource(training)}
    assert fingerprint(experiment, config, sources).key == (
        fingerprint(experiment, config).key
    )


def test_a_changed_option() -> None:
    experiment, config = RUNS["vit-small"]
    now = fingerprint(experiment, config)
    other = fingerprint(experiment, replace(config, epochs=3, lr=0.01))
    assert differences(now, other) == [
        "option epochs: 40 recorded, 3 now",
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
        **{name: {"FASHION_MNIST"} for name in vit.RUNS | vit.ABLATIONS},
        **{name: {"IMDB", "MINILM"} for name in sentiment.RUNS | studies.RUNS},
        "sentiment-tfidf": {"IMDB"},
    }


# Python's scopes, on a module written for it

MODULE = '''
from dataclasses import dataclass
import math
import numpy as np
import {name} as myself
from hw2.provenance import incidental

FACTOR = 2
TABLE = {{"a": 1}}
UNUSED = 3
shadowed = 1
other = 1


@dataclass
class Config:
    size: int = 1

    def area(self):
        return square(self.size)


@dataclass
class Base:
    shadowed: int = 0


class Child(Base):
    pass


def square(x):
    return x * x


def square_root(x):
    return math.sqrt(x)


@incidental
def show(x):
    print(x)


def main(config, shadowed=other):
    """Says what it does."""
    from math import floor as down

    def inner(y: float):
        return y * FACTOR

    show(config)
    numbers = [shadowed for shadowed in range(3)]
    return down(config.area()) + inner(TABLE["a"]) + Child().shadowed + len(numbers)


def by_module(config):
    return myself
'''


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, name = tmp_path_factory.mktemp("code"), "scopes_of_python"
    (folder / f"{name}.py").write_text(MODULE.format(name=name))
    sys.path.insert(0, str(folder))
    yield __import__(name)
    sys.path.remove(str(folder))
    del sys.modules[name]


def reached(module: Any, function: str = "main") -> set[str]:
    return set(fingerprint(getattr(module, function), module.Config()).code)


def test_what_is_reached(written: Any) -> None:
    assert reached(written) == {
        *("main", "Config", "square", "FACTOR", "TABLE", "Child", "Base", "other")
    }


def test_a_module_as_a_value_is_all_that_it_defines(written: Any) -> None:
    assert {"UNUSED", "square_root", "shadowed"} <= reached(written, "by_module")


@pytest.mark.parametrize(
    "old, new, found",
    [
        ('TABLE = {"a": 1}', 'TABLE = {"a": 2}', ["code TABLE changed"]),
        ("down\n", "up\n", ["code main changed"]),
        ("shadowed = 1\n", "shadowed = 2\n", []),
        ("other = 1\n", "other = 2\n", ["code other changed"]),
        ("    size: int = 1", "    side: int = 1", ["code Config changed"]),
        ("    shadowed: int = 0", "    shadowed: int = 5", ["code Base changed"]),
        ("    shadowed: int = 0", "    shadowed: ClassVar[int] = 0", ["code Base changed"]),
        ("class Child(Base)", "class Child(Config)", ["code Base is gone", "code Child changed"]),
        ("print(x)", "print(x, x)", []),
        ('"""Says what it does."""', "pass", []),
        ("def inner(y: float):", "def inner(y) -> int:", []),
    ],
)  # fmt: skip
def test_scopes(written: Any, old: str, new: str, found: list[str]) -> None:
    text = MODULE.format(name=written.__name__)
    assert text.count(old) == 1
    before = fingerprint(written.main, written.Config())
    after = fingerprint(
        written.main, written.Config(), {written.__name__: text.replace(old, new)}
    )
    assert differences(before, after) == found


def appended(written: Any, text: str) -> list[str]:
    """What changes with this text at the end of the module."""
    before = fingerprint(written.main, written.Config())
    sources = {written.__name__: inspect.getsource(written) + "\n" + text + "\n"}
    return differences(before, fingerprint(written.main, written.Config(), sources))


@pytest.mark.parametrize(
    "text",
    [
        "math.pi = 3",
        "TABLE['a'] = 2",
        "TABLE.update(a=2)",
        "del FACTOR",
        "FACTOR += 1",
        "if math.pi > 3:\n    FACTOR = 3",
        "for i in range(3):\n    pass",
        "try:\n    import torch\nexcept ImportError:\n    pass",
        "async def later(): ...",
        "FACTOR = 3",  # a second time
        "def square(x):\n    return x",
        "from math import sqrt as square",
        "from os.path import *",
        "from . import data",
    ],
)
def test_a_module_that_does_more_than_define_is_refused(
    written: Any, text: str
) -> None:
    message = r"does something when it is imported|defines .* twice|by their full path"
    with pytest.raises(ValueError, match=message):
        appended(written, text)


def test_a_module_may_define_more(written: Any) -> None:
    for text in ("if __name__ == '__main__':\n    main()", '"Text."', "A = B = {}"):
        assert appended(written, text) == []


def test_a_class_body_may_name_what_it_defines(written: Any) -> None:
    """``size = size``: the second one is the module's."""
    text = inspect.getsource(written) + "\nsize = 1\n"
    text = text.replace("    size: int = 1", "    size: int = size")
    before = fingerprint(written.main, written.Config(), {written.__name__: text})
    text = text.replace("\nsize = 1\n", "\nsize = 2\n")
    after = fingerprint(written.main, written.Config(), {written.__name__: text})
    assert differences(before, after) == ["code size changed"]


def test_what_cannot_be_followed_is_refused(written: Any) -> None:
    name, text = written.__name__, inspect.getsource(written)
    hidden = text.replace(
        "from math import floor as down", "from math import e as other"
    )
    with pytest.raises(ValueError, match="has another other than it imports within"):
        fingerprint(written.main, written.Config(), {name: hidden})

    def local(config: Any) -> None: ...

    with pytest.raises(ValueError, match="local is defined in"):
        fingerprint(local, written.Config())


def test_an_edit_while_python_runs_is_noticed(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edited_since_import(vit.experiment, vit.Config()) == []
    path = Path(written.__file__)
    os.utime(path, (0, 0))  # as if moved here, with its old time
    assert edited_since_import(written.main, written.Config()) == [written.__name__]
    monkeypatch.setattr(provenance, "_STARTED", time.time() + 60)
    assert edited_since_import(written.main, written.Config()) == []


def test_only_these_functions_are_declared_without_effect() -> None:
    """Each is trusted not to bear on a result; a new one is to be thought about."""
    marked: list[Callable[..., Any]] = [
        data._fashion_mnist_folder,
        data._imdb_folder,
        data._from_hub,
        data._bert_base_folder,
        encoder._key,
        encoder._sha256,
        training.progress,
        training.advance,
        training.compiled,
    ]
    count = sum(
        inspect.getsource(module).count(f"@{incidental.__name__}\n")
        for module in (
            data,
            encoder,
            training,
            vit,
            sentiment,
            studies,
            linear_attention,
        )
    )
    assert count == len(marked)
    for function in marked:
        assert inspect.getsource(function).startswith("@incidental\n")
