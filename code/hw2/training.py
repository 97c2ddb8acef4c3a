"""What every training needs: a bar of its progress, checkpoints, its size."""

from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from recorded import Checkpoint, incidental


@incidental
def progress(steps: int, name: str, done: int = 0) -> Any:
    """A bar with the time left, ``done`` of whose steps were taken before."""
    return tqdm(total=steps, initial=done, desc=name, mininterval=1, dynamic_ncols=True)


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
    """Keep all that the next steps of a training depend on, and ``state``."""
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


def count_parameters(module: nn.Module) -> int:
    """The number of parameters that training changes."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
