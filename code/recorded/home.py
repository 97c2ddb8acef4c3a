"""What a package says of how its runs are kept, by constants of its ``__init__``, and
whether they may be made here."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Home(NamedTuple):
    """Where the runs of a package are kept, and what is to be known of it for that."""

    records: Path | None  # RECORDS, the folder of its records
    versions: tuple[str, ...]  # VERSIONS, the libraries that a record notes
    keepers: tuple[str, ...]  # KEEPERS, its modules on which no result depends
    memory: Mapping[str, float]  # MEMORY, the GiB that runs need on a processor
    command: str  # COMMAND, what makes a run, whose name stands for {}
    variable: str  # of the environment, which allows or forbids to make runs


def package_of(function: Callable[..., Any]) -> str:
    """The package that defines a function, or the module where that is in none."""
    return function.__module__.partition(".")[0]


def home(function: Callable[..., Any]) -> Home:
    """What the package of a run's function says; it need not say anything."""
    name = package_of(function)
    said = vars(importlib.import_module(name))
    return Home(
        said.get("RECORDS"),
        said.get("VERSIONS", ()),
        said.get("KEEPERS", ()),
        said.get("MEMORY", {}),
        said.get("COMMAND", "recorded.run({!r}, ..., train=True)"),
        f"{name.upper()}_TRAIN",
    )


def may_train(variable: str, asked: bool | None) -> bool:
    """Whether a run whose record is stale or missing is made here.

    It is where that is asked for: by ``asked``, by the ``variable`` of the environment,
    which is ``stale`` for yes and ``never`` for no, or else by a cell of a notebook, as
    a chapter is one. A no of either of the first two holds. Raises ``ValueError`` where
    the variable has another value.
    """
    value = os.environ.get(variable) or None
    if value not in (None, "stale", "never"):
        raise ValueError(f"{variable} is {value!r}, expected 'stale' or 'never'")
    if asked is False or value == "never":
        return False
    return bool(asked or value) or _in_kernel()


def _in_kernel() -> bool:
    """Whether this runs in a Jupyter kernel, as the cells of a chapter do."""
    # What is not imported runs nothing here.
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
