"""The run ``peers``: what public code computes is compared with this project's, then
timed beside it, on the CPU, with PyTorch's own number of threads.
"""

from collections.abc import Callable, Mapping, Sequence
from timeit import timeit

import torch
from torch import Tensor

from hw2.peers.attention import passes
from hw2.peers.config import ATTENTIONS, NETWORKS, WAYS, Peers, lengths, versions
from hw2.peers.steps import steps
from recorded import Checkpoint, Outcome, Score, Scores, Tensors, scored_by

Call = Callable[[], object]


def seconds(call: Call, number: int) -> float:
    """The mean time of so many calls, after one that finds cold caches."""
    call()
    return timeit(call, number=number) / number


def timed(
    stage: str,
    contestants: Mapping[str, Sequence[Call]],
    numbers: Sequence[int],
    rounds: int,
    checkpoint: Checkpoint,
) -> Tensors:
    """The seconds of a call of each, (rounds, n), in rounds of each in turn.

    ``numbers`` has the calls for each of the n entries. A checkpoint is kept after each
    round.
    """
    state = checkpoint.load(stage) or {"rounds": []}
    while len(state["rounds"]) < rounds:
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for column, number in enumerate(numbers):
            for name, row in contestants.items():
                times[name].append(seconds(row[column], number))
        state["rounds"].append(times)
        checkpoint.save(stage, state)
    return {
        f"{stage} {name}": torch.tensor(
            [times[name] for times in state["rounds"]], dtype=torch.float64
        )
        for name in contestants
    }


def typical(predictions: Tensors, name: str) -> Tensor:
    """The median over the rounds of something timed, (n,)."""
    return predictions[name].quantile(0.5, dim=0)


def score(predictions: Tensors) -> Scores:
    """The time of this project's code divided by that of what it is compared with.

    ``step`` is that of its best way to train, by the fastest of the peers; the others
    are at the largest T: ``linear`` by the public attention of the same features,
    ``products`` by the two matrix products alone, ``causal`` by ``linear``. Another
    machine may have half as much, or half as much again.
    """
    own, *others = (typical(predictions, f"step {name}").min() for name in NETWORKS)
    last = {name: typical(predictions, f"pass {name}")[-1] for name in ATTENTIONS}
    ratios = {
        "step": own / min(others),
        "linear": last["mapped"] / last["public"],
        "products": last["linear"] / last["products"],
        "causal": last["causal"] / last["linear"],
    }
    return {name: Score(r.item(), r.item() / 2) for name, r in ratios.items()}


@scored_by(score)
def experiment(config: Peers, checkpoint: Checkpoint) -> Outcome:
    """Time training steps, ``step NAME`` (rounds, 3), in each of ``WAYS``; and passes
    through attention forward and backward, ``pass NAME`` (rounds, n), at n ``lengths``.

    Raises ``MissingPeers`` and ``Unequal``.
    """
    metrics = {"peers": versions(), "threads": torch.get_num_threads()}
    # As many tokens at each T.
    numbers = [2**config.last // T for T in lengths(config)]
    every = timed("pass", passes(config), numbers, config.rounds, checkpoint)
    numbers = [config.steps] * len(WAYS)
    every |= timed("step", steps(config), numbers, config.rounds, checkpoint)
    return Outcome(metrics, {"tokens": torch.tensor(lengths(config)), **every}, {})


RUNS = {"peers": Peers()}
