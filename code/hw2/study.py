"""A study: one training recipe, and named changes of it that are compared."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

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
