"""What every training run needs: a bar of its progress, checkpoints, its size."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from recorded import Checkpoint, Tensors, incidental


@incidental
def progress(steps: int, name: str, done: int = 0) -> Any:
    """A bar with the time left, ``done`` of whose steps were taken before."""
    each = float(os.environ.get("TQDM_MININTERVAL", 1))  # seconds (see __main__)
    return tqdm(
        total=steps, initial=done, desc=name, mininterval=each, dynamic_ncols=True
    )


@incidental
def advance(bar: Any, **shown: float) -> None:
    """One step of a bar, with numbers beside it: losses, and shares of 1."""
    texts = {k: f"{v:.3f}" if k == "loss" else f"{v:.1%}" for k, v in shown.items()}
    bar.set_postfix(texts, refresh=False)
    bar.update()


def keep(
    checkpoint: Checkpoint,
    stage: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    **state: Any,
) -> None:
    """Keep all that the next steps of a training run depend on, and ``state``."""
    state |= {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    checkpoint.save(stage, state | {"random": torch.get_rng_state()})


def resume(
    checkpoint: Checkpoint,
    stage: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> dict[str, Any] | None:
    """Put back what ``keep`` kept, and give its ``state``; None if it kept nothing."""
    state = checkpoint.load(stage)
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
    return state


# By what they are of: "losses" of each step; of each epoch, at its end, "seconds" of
# training so far and what is evaluated then.
History = dict[str, list[float]]


class Journal:
    """What stands around the loop of a training run.

    It notes losses and times, evaluates the network after each epoch, shows the
    progress and keeps checkpoints. At the start it puts back the last one there is.
    """

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        model: nn.Module,
        optimisers: Sequence[torch.optim.Optimizer],
        epochs: int,
        epoch_steps: int,
        evaluate: Callable[[], dict[str, float]],
    ) -> None:
        self.name, self.checkpoint, self.evaluate = name, checkpoint, evaluate
        self.model, self.first, self.others = model, optimisers[0], optimisers[1:]
        self.epoch_steps, self.total = epoch_steps, epochs * epoch_steps
        self.history: History = {"losses": [], "seconds": []}
        self.seconds = 0.0
        if kept := resume(checkpoint, name, model, self.first):
            self.history, self.seconds = kept["history"], kept["seconds"]
            for optimiser, state in zip(self.others, kept["others"], strict=True):
                optimiser.load_state_dict(state)
        self.bar = progress(self.total, name, self.steps)
        self.start = time.perf_counter()

    @property
    def steps(self) -> int:
        """The number of steps that were taken."""
        return len(self.history["losses"])

    @property
    def done(self) -> float:
        """The fraction of the training that is done in the middle of the next step."""
        return (self.steps + 0.5) / self.total

    def add(self, loss: Tensor) -> None:
        """Note the loss of a step, and do what is due after it."""
        self.history["losses"].append(loss.item())
        ended = self.steps % self.epoch_steps == 0
        if ended or self.checkpoint.due():
            self.seconds += time.perf_counter() - self.start
            if ended:
                found = {"seconds": self.seconds} | self.evaluate()
                for what, value in found.items():
                    self.history.setdefault(what, []).append(value)
            others = [optimiser.state_dict() for optimiser in self.others]
            state = {"history": self.history, "seconds": self.seconds, "others": others}
            keep(self.checkpoint, self.name, self.model, self.first, **state)
            self.start = time.perf_counter()
        shown = {k: values[-1] for k, values in self.history.items() if "accuracy" in k}
        advance(self.bar, loss=self.history["losses"][-1], **shown)
        if self.steps == self.total:
            self.bar.close()


def stacked(histories: Iterable[History]) -> Tensors:
    """The histories of several seeds: for each entry a tensor (seeds, steps or epochs).

    Losses are in half precision, the others in double.
    """
    rows = list(histories)
    return {
        what: torch.tensor(
            [row[what] for row in rows],
            dtype=torch.float16 if what == "losses" else torch.float64,
        )
        for what in rows[0]
    }


def count_parameters(module: nn.Module) -> int:
    """The number of parameters that training changes."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
