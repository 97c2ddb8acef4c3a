"""The pretrained encoders of problem 5, and their hidden states, computed once.

A frozen encoder gives the same states for a review in every epoch, so they are computed
once, written to the disk in half precision, and read from there.

Shapes: N reviews, T tokens, d the encoder's width.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import hw2
from hw2 import data
from hw2.files import reserve
from hw2.sentiment.tokens import pad, sorted_batches
from hw2.training import advance, progress
from recorded import Checkpoint, flush, incidental

if TYPE_CHECKING:  # else it is imported where it is used: it takes seconds
    from transformers import BertModel, BertTokenizer


def pretrained(folder: Path) -> tuple[BertModel, BertTokenizer]:
    """The encoder of a folder, frozen, in evaluation mode, and its tokenizer.

    The tokenizer is MiniLM's: bert-base-uncased has the same vocabulary.
    """
    from transformers import BertModel, BertTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    encoder = BertModel.from_pretrained(folder)
    freeze(encoder)
    return encoder.eval(), BertTokenizer.from_pretrained(data.minilm_folder())


def freeze(module: nn.Module) -> None:
    """Keep the parameters as they are: training computes no gradients for them."""
    module.requires_grad_(False)


def device() -> torch.device:
    """The accelerator, if there is one."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device(
        "cpu"
    )


def fast_bfloat16() -> bool:
    """Whether bfloat16 is multiplied fast here; some processors do so very slowly."""
    return (
        device().type != "cpu"
        or torch.cpu._is_avx512_bf16_supported()
        or torch.cpu._is_amx_tile_supported()
    )


def sixteen_bits() -> torch.autocast:
    """Within it, matrices are multiplied in bfloat16 where that is fast."""
    return torch.autocast(device().type, torch.bfloat16, enabled=fast_bfloat16())


class States(NamedTuple):
    """The hidden states of reviews, one review after the other."""

    values: Tensor  # half precision, (tokens of all reviews, d)
    starts: Tensor  # (N + 1,): where each review begins, and where the last one ends
    seconds: float  # that they took to compute
    reused: bool  # whether an earlier run computed them

    @property
    def lengths(self) -> Tensor:
        """The number of tokens of each review, (N,)."""
        return self.starts.diff()

    def padded(self, indices: Tensor) -> Tensor:
        """States (n, T, d) of the reviews ``indices`` (n,), with zeros as padding."""
        rows = [
            self.values[begin:end]
            for begin, end in zip(
                self.starts[indices].tolist(),
                self.starts[indices + 1].tolist(),
                strict=True,
            )
        ]
        return pad_sequence(rows, batch_first=True).to(device()).float()


class StatesFile:
    """A file of states that is mapped to memory, and how far it is written.

    Raises ``ValueError`` where a file that was whole is not as it was written.
    """

    def __init__(self, folder: Path, rows: int, width: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.checkpoint = folder / "states", Checkpoint(folder)
        new = not self.path.exists()
        known = (None if new else self.checkpoint.load("progress")) or {}
        self.done: int = known.get("done", 0)  # batches
        self.seconds: float = known.get("seconds", 0.0)
        self.sha256: str = known.get("sha256", "")  # "" until all are done
        if self.sha256 and _sha256(self.path) != self.sha256:
            raise ValueError(
                f"{self.path} is not as it was written; delete it to encode again"
            )
        whole = torch.from_file(str(self.path), True, rows * width, dtype=torch.half)
        self.values = whole.view(rows, width)
        self.start = time.perf_counter() - self.seconds

    def add(self, batches: int) -> bool:
        """Note that one more of the batches is there; whether that was kept as well."""
        self.done += 1
        whole = self.done == batches
        if not whole and not self.checkpoint.due():
            return False
        self.seconds = time.perf_counter() - self.start
        flush(self.path)
        self.sha256 = _sha256(self.path) if whole else ""
        known = {"done": self.done, "seconds": self.seconds, "sha256": self.sha256}
        self.checkpoint.save("progress", known)
        return True


@torch.no_grad()
def encode(
    encoder: BertModel,
    ids: Sequence[Sequence[int]],
    name: str,
    checkpoint: Checkpoint,
    size: int | None = None,
    root: Path | None = None,
) -> States:
    """The last hidden states of each review, from the disk, or computed and put there.

    Reviews of about equal length are encoded together, ``size`` at a time (by default
    16, on an accelerator 128), in bfloat16 where that is fast. Both are meant to save
    time, and change the states by rounding only. The file is compared with its SHA-256
    each time it is opened. Encoding that was stopped goes on; how much space it needs
    is said before it begins. The files go to ``root``, by default with the unfinished
    runs. Raises ``OSError`` where the disk has no room for them.
    """
    where = device()
    starts = torch.tensor([0, *(len(row) for row in ids)]).cumsum(0)
    size = size or (16 if where.type == "cpu" else 128)
    batches = sorted_batches(starts.diff(), size)
    folder = (root or hw2.RECORDS / ".states") / _key(encoder, ids, size)
    file = StatesFile(folder, int(starts[-1]), encoder.config.hidden_size)
    if file.done < len(batches):
        print(f"{name}: {file.values.nbytes / 1e9:.2f} GB in {folder}", file=sys.stderr)
    reused = file.done == len(batches) and checkpoint.load(f"encode-{name}") is None
    nn.Module.to(encoder, where)
    with progress(len(batches), name, file.done) as bar:
        for batch in batches[file.done :]:
            tokens, mask = (x.to(where) for x in pad([ids[i] for i in batch.tolist()]))
            with sixteen_bits():
                hidden = encoder(input_ids=tokens, attention_mask=mask)[0]
            for row, i in zip(hidden.half().cpu(), batch.tolist(), strict=True):
                file.values[starts[i] : starts[i + 1]] = row[: len(ids[i])]
            if file.add(len(batches)):
                checkpoint.save(f"encode-{name}", {})  # so that the time counts
            advance(bar)
    encoder.cpu()
    return States(file.values, starts, file.seconds, reused)


class _Named(NamedTuple):
    """States by a name, for which ``root / named`` makes room.

    So ``encode``, which results depend on, need not become another function for it.
    """

    name: str
    size: int  # bytes

    def __rtruediv__(self, root: Path) -> Path:
        folder = root / self.name
        if not (folder / "states").exists():
            shutil.rmtree(folder, ignore_errors=True)  # the progress of what is gone
        reserve(folder / "states", self.size, "the states of the encoder")
        return folder


@incidental
def _key(encoder: BertModel, ids: Sequence[Sequence[int]], size: int) -> _Named:
    """A name for the states: other weights, tokens, code or precision, another name."""
    import transformers

    digest = hashlib.sha256(
        json.dumps(
            [
                *(torch.__version__, transformers.__version__, size, fast_bfloat16()),
                *(device().type, inspect.getsource(encode), list(map(list, ids))),
            ]
        ).encode()
    )
    for weight in encoder.state_dict().values():
        digest.update(weight.cpu().numpy().tobytes())
    width: int = encoder.config.hidden_size
    room = sum(map(len, ids)) * width * torch.half.itemsize
    return _Named(digest.hexdigest()[:16], room)


@incidental
def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Encoded(NamedTuple):
    """Reviews as the frozen encoder gives them."""

    states: States
    labels: Tensor  # (N,)

    @property
    def lengths(self) -> Tensor:
        """The number of tokens of each review, (N,)."""
        return self.states.lengths

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """States (n, T, d) and lengths (n,) of the reviews ``indices`` (n,)."""
        return self.states.padded(indices), self.lengths[indices]
