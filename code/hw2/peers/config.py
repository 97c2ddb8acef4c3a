"""What the run ``peers`` compares, and how it says what is missing or unequal."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from torch import Tensor

from hw2.data import MissingData

PACKAGES = ("vit-pytorch", "timm", "linear-attention-transformer")
INSTALL = "pip install --require-hashes --requirement requirements-bench.txt"
NETWORKS = ("hw2", "vit-pytorch", "timm")
WAYS = ("eager", "compiled", "compiled, 16 bits")
ATTENTIONS = ("products", "linear", "mapped", "public", "causal", "masked")


class MissingPeers(MissingData):
    """Packages to compare with that are not installed."""


class Unequal(ValueError):
    """Public code that computes something else."""


@dataclass(frozen=True)
class Peers:
    """What is timed, and how often. Networks have the size that the problem sets."""

    batch: int = 128  # images of a step
    layers: int = 6
    steps: int = 3  # of each network in a round
    first: int = 7  # T is 2^first to 2^last
    last: int = 13
    d: int = 64  # of queries, keys and values
    rounds: int = 25
    seed: int = 0


def versions() -> dict[str, str]:
    """The versions of the peers. Raises ``MissingPeers`` where one is not installed."""
    try:
        return {name: version(name) for name in PACKAGES}
    except PackageNotFoundError as error:
        raise MissingPeers(
            f"{error.name} is not installed; what installs it is {INSTALL}"
        ) from error


def check(name: str, given: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    """Raise ``Unequal``, which names the peer, unless ``given`` is ``wanted``.

    It may be off by ``tolerance`` times the largest magnitude in ``wanted``.
    """
    off = ((given - wanted).abs().max() / wanted.abs().max()).item()
    if not off <= tolerance:  # also for NaN
        raise Unequal(f"{name} is off by {off:.2g}, expected at most {tolerance:.2g}")


def lengths(config: Peers) -> list[int]:
    """The numbers of tokens for which attention is timed."""
    return [2**n for n in range(config.first, config.last + 1)]
