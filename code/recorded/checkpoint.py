"""Where a run goes on that was stopped.

PyTorch, which takes seconds to import, is imported where it is used, here and in the
other modules: who only asks what code does needs none.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recorded.process import lacks_memory

INTERVAL = 30.0  # seconds of work between two checkpoints


class DamagedCheckpoint(RuntimeError):
    """A checkpoint that is not as it was kept."""


class Checkpoint:
    """Where a run goes on that was stopped: the last state of each of its stages.

    Without a folder nothing is kept. Raises ``DamagedCheckpoint``, as ``load`` does,
    where a file in the folder can't be read.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._start = self._saved = time.perf_counter()
        if folder:
            # Work that was done before, and was not lost, counts as done by this run.
            spent = [self._read(path)["spent"] for path in folder.glob("*.pt")]
            self._start -= max(spent, default=0.0)

    @property
    def seconds(self) -> float:
        """The time that the run has taken, with that up to its last interruption."""
        return time.perf_counter() - self._start

    def due(self) -> bool:
        """Whether ``INTERVAL`` has passed since the last ``save``."""
        return time.perf_counter() - self._saved >= INTERVAL

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Keep the state of a stage: numbers, texts and tensors, in lists and dicts.

        The previous one is kept where that fails. Raises ``OSError``.
        """
        if self.folder and first_process():
            import torch

            content = {"state": state, "spent": self.seconds}
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self.folder / f"{stage}.draft"
            with naming(draft):
                try:
                    with open(draft, "wb") as file:  # by its name torch hides why not
                        torch.save(content, file)
                    flush(draft)
                except OSError:
                    draft.unlink()  # what is written of it fills the disk
                    raise
                os.replace(draft, self.folder / f"{stage}.pt")
                flush(self.folder)
        self._saved = time.perf_counter()

    def load(self, stage: str) -> dict[str, Any] | None:
        """The state that was last kept of a stage, if there is one."""
        path = self.folder / f"{stage}.pt" if self.folder else None
        if not path or not path.exists():
            return None
        state: dict[str, Any] = self._read(path, mmap=False)["state"]
        return state

    @staticmethod
    def _read(path: Path, mmap: bool = True) -> dict[str, Any]:
        import torch

        try:
            # Tensors and plain values only: nothing in the file is run.
            content = torch.load(path, mmap=mmap, weights_only=True)
            return {name: content[name] for name in ("state", "spent")}
        except Exception as error:
            if lacks_memory(error):
                raise
            # PyTorch goes on to say how to run what is in it.
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise DamagedCheckpoint(
                f"checkpoint {path} can't be read ({why.partition('. ')[0]:.200}); "
                "delete it to begin again"
            ) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of writing a file name it, as that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def flush(path: Path) -> None:
    """Have the disk keep what was written, should the power fail."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def first_process() -> bool:
    """Whether this is the only process, or the first of those that were launched."""
    return os.environ.get("RANK", "0") == "0"
