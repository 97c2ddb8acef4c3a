"""The pretrained encoders of problem 5, and their hidden states, computed once.

A frozen encoder gives the same states for a review in every epoch, so they are computed
once, written to the disk in half precision, and read from there.

Shapes: N reviews, T tokens, d the encoder's width.
"""

import hashlib
import inspect
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import BertModel, BertTokenizer
from transformers.utils import logging

import hw2
from hw2 import data
from hw2.training import advance, progress
from recorded import Checkpoint, flush, incidental


def pretrained(folder: Path) -> tuple[BertModel, BertTokenizer]:
    """The encoder of a folder, frozen, in evaluation mode, and its tokenizer.

    The tokenizer is MiniLM's: bert-base-uncased has the same vocabulary.
    """
    logging.disable_progress_bar()
    encoder = BertModel.from_pretrained(folder)
    freeze(encoder)
    return encoder.eval(), BertTokenizer.from_pretrained(data.minilm_folder())


def freeze(module: nn.Module) -> None:
    """Keep the parameters as they are: training computes no gradients for them."""
    module.requires_grad_(False)


def tokenize(
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    max_tokens: int,
    both_ends: bool = False,
) -> list[list[int]]:
    """The tokens of each text, [CLS] first and [SEP] last, cut to ``max_tokens``.

    What is too long loses its end, or, to keep ``both_ends``, its middle.
    """
    # A lone surrogate is in no encoding of text: it becomes a question mark.
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if not clean:
        return []
    # Not verbose, as it warns of texts that the encoder can't read whole.
    rows: list[list[int]] = tokenizer(clean, verbose=False)["input_ids"]
    kept = max_tokens // 2 if both_ends else 1  # of the end
    return [
        row if len(row) <= max_tokens else row[: max_tokens - kept] + row[-kept:]
        for row in rows
    ]


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens padded to the longest text, and the mask, 1 at tokens; both (N, T)."""
    rows = [torch.tensor(row) for row in ids]
    ones = [torch.ones_like(row) for row in rows]
    return pad_sequence(rows, batch_first=True), pad_sequence(ones, batch_first=True)


def batches(
    lengths: Tensor, size: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """The indices 0 .. N-1 in batches of reviews of about equal length.

    With a generator the order is random: each run of 8 batches of a random order is
    sorted by length, and the batches are shuffled. Without, all are sorted.
    """
    if len(lengths) == 0:
        return []
    if generator is None:
        return list(lengths.argsort(stable=True).split(size))
    order = torch.randperm(len(lengths), generator=generator)
    pools = order.split(8 * size)
    parts = [
        part for pool in pools for part in pool[lengths[pool].argsort()].split(size)
    ]
    return [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]


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

    @property
    def lengths(self) -> Tensor:
        """The number of tokens of each review, (N,)."""
        return self.starts.diff()

    def padded(self, part: Tensor) -> Tensor:
        """States (n, T, d) of the reviews ``part`` (n,), with zeros as padding."""
        rows = [
            self.values[begin:end]
            for begin, end in zip(
                self.starts[part].tolist(), self.starts[part + 1].tolist(), strict=True
            )
        ]
        return pad_sequence(rows, batch_first=True).float()


def encode(
    encoder: BertModel,
    ids: Sequence[Sequence[int]],
    name: str,
    checkpoint: Checkpoint,
    size: int = 16,
    root: Path | None = None,
) -> States:
    """The last hidden states of each review, from the disk, or computed and put there.

    Reviews of about equal length are encoded together, ``size`` at a time, in bfloat16
    where that is fast: both save time and change the states by rounding only. The file
    is mapped to memory, and compared with its SHA-256 each time it is opened. Encoding
    that was stopped goes on; how much space it needs is said before it begins. The
    files go to ``root``, by default with the unfinished runs.
    """
    width = encoder.config.hidden_size
    starts = torch.tensor([0, *(len(row) for row in ids)]).cumsum(0)
    parts = batches(starts.diff(), size)
    folder = (root or hw2.RECORDS / ".states") / _key(encoder, ids, size)
    folder.mkdir(parents=True, exist_ok=True)
    kept = Checkpoint(folder)
    state = kept.load("progress") or {"done": 0, "seconds": 0.0, "sha256": ""}
    path = folder / "states"
    count = int(starts[-1]) * width
    if not state["sha256"]:
        print(f"{name}: {2 * count / 1e9:.2f} GB in {path}", file=sys.stderr)
    if not path.exists():
        state = {"done": 0, "seconds": 0.0, "sha256": ""}
    values = torch.from_file(str(path), True, count, dtype=torch.half).view(-1, width)
    if state["sha256"] and _sha256(path) != state["sha256"]:
        raise ValueError(f"{path} is not as it was written; delete it to encode again")

    done, seconds = state["done"], state["seconds"]
    start = time.perf_counter() - seconds
    where = device()
    nn.Module.to(encoder, where)
    with progress(len(parts), name, done) as bar, torch.no_grad(), sixteen_bits():
        for part in parts[done:]:
            tokens, mask = pad([ids[i] for i in part.tolist()])
            hidden = encoder(
                input_ids=tokens.to(where), attention_mask=mask.to(where)
            ).last_hidden_state
            for row, i in zip(hidden.half().cpu(), part.tolist(), strict=True):
                values[starts[i] : starts[i + 1]] = row[: len(ids[i])]
            done += 1
            if done == len(parts) or kept.due():
                seconds = time.perf_counter() - start
                flush(path)
                sha256 = _sha256(path) if done == len(parts) else ""
                state = {"done": done, "seconds": seconds, "sha256": sha256}
                kept.save("progress", state)
                checkpoint.save(f"encode-{name}", {})  # so that the time counts
            advance(bar)
    encoder.cpu()
    return States(values, starts, seconds)


@incidental
def _key(encoder: BertModel, ids: Sequence[Sequence[int]], size: int) -> str:
    """A name for the states: other weights, tokens, code or precision, another name."""
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
    return digest.hexdigest()[:16]


@incidental
def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Encoded(NamedTuple):
    """Reviews as the frozen encoder gives them."""

    states: States
    labels: Tensor  # (N,)

    def batch(self, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (n, T, d), lengths (n,) and labels (n,) of the reviews ``part``."""
        where = device()
        return (
            self.states.padded(part).to(where),
            self.states.lengths[part].to(where),
            self.labels[part].float().to(where),
        )
