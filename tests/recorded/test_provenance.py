"""A fingerprint changes with what the code does, and with nothing else."""

import inspect
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recorded import differences, edited_since_import, fingerprint, provenance

# Python's scopes, on a module written for it


MODULE = '''
from dataclasses import dataclass
import math
import numpy as np
import {name} as myself
from recorded import incidental

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


OTHERS = """
import math
import recorded
from recorded import Outcome
from math import floor

@recorded.scored_by(square)
def uses(config, checkpoint):
    return Outcome({}, {"x": recorded.Score(floor(math.pi), math.e)}, {})
"""


@pytest.mark.parametrize(
    "old, new, found",
    [
        # recorded's own: by its bare name, wherever it is and whatever it does there
        ("from recorded import Outcome", "from recorded.records import Outcome", []),
        ("from recorded import Outcome", "from recorded.elsewhere import Outcome", []),
        ("import recorded\n", "import recorded.records as recorded\n", []),
        ("import recorded\n", "import recorded.elsewhere as recorded\n", []),
        ("from recorded import Outcome", "from recorded import Run as Outcome", ["code uses changed"]),
        ("recorded.Score(", "recorded.Fingerprint(", ["code uses changed"]),
        ("@recorded.scored_by(square)", "@recorded.incidental", ["code uses is gone"]),
        # another package's: by its whole path, under whatever name
        ("from math import floor", "from math import ceil as floor", ["code uses changed"]),
        ("from math import floor", "from numpy import floor", ["code uses changed"]),
        ("import math\n", "import cmath as math\n", ["code uses changed"]),
        ("floor(math.pi)", "math.floor(math.pi)", []),
        ("from math import floor", "from math import floor as down", ["code uses changed"]),
    ],
)  # fmt: skip
def test_names_of_other_packages(
    written: Any, old: str, new: str, found: list[str]
) -> None:
    """``recorded.elsewhere`` is where all of it might be tomorrow."""
    assert OTHERS.count(old) == 1
    elsewhere = "class Outcome: ...\nclass Score: ...\ndef scored_by(score): ...\n"

    def read(text: str) -> Any:
        begin = MODULE.format(name=written.__name__).replace("import math\n", "", 1)
        sources = {written.__name__: begin + text, "recorded.elsewhere": elsewhere}
        return fingerprint(uses, written.Config(), sources)

    def uses(config: Any, checkpoint: Any) -> None: ...

    uses.__module__, uses.__qualname__ = written.__name__, "uses"
    before = read(OTHERS)
    assert {"uses", "square", "Config"} == before.code.keys()
    assert differences(before, read(OTHERS.replace(old, new))) == found


def test_an_edit_while_python_runs_is_noticed(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(written.__file__)
    os.utime(path, (0, 0))  # as if moved here, with its old time
    assert edited_since_import(written.main, written.Config()) == [written.__name__]
    monkeypatch.setattr(provenance, "_STARTED", time.time() + 60)
    assert edited_since_import(written.main, written.Config()) == []
