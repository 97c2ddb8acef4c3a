"""A study: one training recipe, and named changes of it that are compared.

Its run names each prediction by the change, a colon and what it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from recorded import Run, Tensors

Config = TypeVar("Config")  # a dataclass


@dataclass(frozen=True)
class Study(Generic[Config]):
    """A recipe, what is changed in it by the name of the change, and how many seeds."""

    recipe: Config
    changes: dict[str, dict[str, Any]]
    seeds: int = 3

    def recipes(self) -> Iterator[tuple[str, Config]]:
        """The changed recipes by name. Raises ``TypeError`` for an unknown option."""
        for name, change in self.changes.items():
            yield name, replace(self.recipe, **change)  # type: ignore[type-var]


def of_change(run: Run, name: str) -> Tensors:
    """What a run of a study holds of a change, by its names after that of the change.

    Raises ``ValueError`` where there is no such change.
    """
    start = f"{name}: "
    found = {
        what.removeprefix(start): of
        for what, of in run.predictions.items()
        if what.startswith(start)
    }
    if not found:
        raise ValueError(f"{run.name} has no change {name!r}")
    return found
