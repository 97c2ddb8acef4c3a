"""What a package says of how its runs are kept, by constants of its ``__init__``."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Home(NamedTuple):
    """Where the runs of a package are kept, and what is to be known of it for that."""

    records: Path | None  # RECORDS, the folder of its records
    versions: tuple[str, ...]  # VERSIONS, the libraries that a record notes
    keepers: tuple[str, ...]  # KEEPERS, its modules on which no result depends
    command: str  # COMMAND, what makes a run, whose name stands for {}
    variable: str  # of the environment, which forbids to make runs


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
        said.get("COMMAND", "recorded.run({!r}, ...)"),
        f"{name.upper()}_TRAIN",
    )
