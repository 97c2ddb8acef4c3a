"""Where the seconds of a rendering go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

seconds: dict[str, float] = {}  # by what took them, since the program began


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Adds the time that a block takes."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[what] = seconds.get(what, 0.0) + time.perf_counter() - start


def profile() -> str:
    """The seconds of each part; of those that run side by side, each has its own."""
    return ", ".join(f"{what} {spent:.1f}" for what, spent in seconds.items())
