"""What a run would leave behind in the process that makes it, and what it may lack."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave PyTorch as it was: its random numbers, and what denormal numbers are to it.

    So what comes after a run is the same, whether the run was made or read.
    """
    import torch

    flushes = sys.float_info.min / 2 == 0  # PyTorch sets it, but does not tell
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            torch.set_flush_denormal(flushes)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory, also that of an accelerator, is used up.

    PyTorch has a class of its own for the latter alone.
    """
    return (
        isinstance(error, MemoryError)
        or getattr(error, "errno", None) == errno.ENOMEM
        or "allocate memory" in str(error)
        or "out of memory" in str(error)
    )
