"""The ViT and linear attention beside public ones: first equal, then timed.

``config`` has what is compared, ``networks`` gives public networks the weights of the
project's, ``steps`` and ``attention`` compare results, and ``experiment`` times. The
public ones are the extra ``bench`` of this project, and imported where they are used: a
record can be shown without them.
"""

from hw2.peers.config import (
    ATTENTIONS,
    NETWORKS,
    WAYS,
    MissingPeers,
    Peers,
    Unequal,
)
from hw2.peers.experiment import RUNS, experiment, typical

__all__ = [
    "ATTENTIONS",
    "NETWORKS",
    "RUNS",
    "WAYS",
    "MissingPeers",
    "Peers",
    "Unequal",
    "experiment",
    "typical",
]
