"""Runs that take minutes are made once and kept: a folder a run, whole or not at all.

A run is found again by a key: the function, its configuration, the source of every
module of this package that the function's module uses, and the version of torch. A
change in any of them makes a new run; an old one can't be mistaken for it.
"""

import dataclasses
import datetime
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from IPython.display import Markdown
from safetensors.torch import load_file, save_file

RUNS = Path(__file__).parents[2] / "_runs"

Metrics = dict[str, Any]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Run:
    """What a run gave: ``metrics`` as JSON has them, ``tensors`` by name."""

    name: str
    config: dict[str, Any]
    metrics: Metrics
    tensors: Tensors
    date: str
    seconds: float
    hardware: str

    def part(self, prefix: str) -> Tensors:
        """The tensors whose names begin with ``prefix``, by what follows it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def note(self) -> Markdown:
        """One line for the page: what ran, when, where and for how long."""
        return Markdown(
            f"*Run `{self.name}`: {self.date}, {self.hardware}, {self.seconds:.0f} s "
            f"in all, seed {self.config.get('seed', 'none')}.*"
        )


def run(
    name: str, function: Callable[[Any], tuple[Metrics, Tensors]], config: Any
) -> Run:
    """The run of ``function(config)``: loaded where it is kept, else made and kept.

    ``config`` is a dataclass of JSON values. ``function`` returns metrics and tensors.
    """
    folder = RUNS / f"{name}-{key(function, config)[:16]}"
    if not folder.exists():
        start = time.perf_counter()
        metrics, tensors = function(config)
        about = {
            "name": name,
            "config": dataclasses.asdict(config),
            "metrics": metrics,
            "date": datetime.date.today().isoformat(),
            "seconds": time.perf_counter() - start,
            "hardware": _hardware(),
        }
        _keep(folder, about, tensors)
    about = json.loads((folder / "run.json").read_text())
    return Run(**about, tensors=load_file(folder / "tensors.safetensors"))


def key(function: Callable[..., Any], config: Any) -> str:
    """What a run depends on, as a SHA-256 in hexadecimal."""
    module = sys.modules[function.__module__]
    parts = {
        "function": function.__qualname__,
        "config": dataclasses.asdict(config),
        "code": {part.__name__: inspect.getsource(part) for part in _reached(module)},
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _reached(module: ModuleType, seen: tuple[ModuleType, ...] = ()) -> list[ModuleType]:
    """The module and the ones of its package that it uses, directly or not."""
    package = module.__name__.partition(".")[0]
    found = [module]
    for item in vars(module).values():
        name = (
            item.__name__ if inspect.ismodule(item) else getattr(item, "__module__", "")
        )
        used = sys.modules.get(name or "")
        if used and name.startswith(f"{package}.") and used not in [*seen, *found]:
            found += [m for m in _reached(used, (*seen, *found)) if m not in found]
    return found


def _keep(folder: Path, about: dict[str, Any], tensors: Tensors) -> None:
    folder.parent.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        (draft / "run.json").write_text(json.dumps(about, indent=1))
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, draft / "tensors.safetensors")
        os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _hardware() -> str:
    """The cores that torch uses, and the processor's name where Linux tells it."""
    cores = torch.get_num_threads()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    processor = names[0] if names else os.uname().machine
    return f"{cores} {'core' if cores == 1 else 'cores'} of {processor}"
