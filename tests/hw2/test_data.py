"""The data sets are the published ones, or there is one clear line."""

import gzip
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from hw2 import data

FIRST = "train-images-idx3-ubyte"


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return data._fashion_mnist_folder()
    except data.MissingData as missing:
        pytest.skip(str(missing))


def copy_of(folder: Path, to: Path) -> Path:
    """A copy of the data set, unpacked."""
    for name in data.FASHION_MNIST_DIGESTS:
        packed = folder / f"{name}.gz"
        if packed.exists():
            (to / name).write_bytes(gzip.decompress(packed.read_bytes()))
        else:
            shutil.copy(folder / name, to / name)
    return to


def test_fashion_mnist(folder: Path) -> None:
    for split, count in (("train", 60_000), ("test", 10_000)):
        images, labels = data.fashion_mnist(split)  # type: ignore[arg-type]
        assert images.shape == (count, 1, 28, 28)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert labels.bincount().tolist() == [count // 10] * 10


def test_the_pixels_mean_and_deviation(folder: Path) -> None:
    from hw2.vit.model import PIXEL_MEAN, PIXEL_STD

    pixels = data.fashion_mnist("train")[0].double() / 255
    assert pixels.mean().item() == pytest.approx(PIXEL_MEAN, abs=5e-4)
    assert pixels.std().item() == pytest.approx(PIXEL_STD, abs=5e-4)


def test_packed_or_not_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = data.fashion_mnist("test")
    monkeypatch.setenv("HW2_FASHION_MNIST", str(copy_of(folder, tmp_path)))
    again, again_labels = data.fashion_mnist("test")
    assert torch.equal(images, again)
    assert torch.equal(labels, again_labels)


@pytest.mark.parametrize("name", data.FASHION_MNIST_DIGESTS)
def test_a_changed_byte_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = copy_of(folder, tmp_path) / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setenv("HW2_FASHION_MNIST", str(tmp_path))
    with pytest.raises(ValueError, match=f"{name} has SHA-256 .*, expected"):
        data.fashion_mnist("train" if name.startswith("train") else "test")


def test_a_missing_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HW2_FASHION_MNIST", str(tmp_path / "nowhere"))
    with pytest.raises(data.MissingData) as raised:
        data.fashion_mnist("train")
    text = str(raised.value)
    assert "HW2_FASHION_MNIST" in text and "nowhere" in text and FIRST in text
    assert "\n" not in text


def test_a_missing_file_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "t10k-labels-idx1-ubyte"
    (copy_of(folder, tmp_path) / name).unlink()
    monkeypatch.setenv("HW2_FASHION_MNIST", str(tmp_path))
    with pytest.raises(data.MissingData, match=name):
        data.fashion_mnist("test")


def test_out_of_reach_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a folder, nor the package, nor the network."""

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.delenv("HW2_FASHION_MNIST", raising=False)
    monkeypatch.setattr(data, "DOWNLOADS", tmp_path)
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", tmp_path)
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    with pytest.raises(data.MissingData, match="could not be downloaded") as raised:
        data.fashion_mnist("train")
    assert "\n" not in str(raised.value)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split is 'valid'"):
        data.fashion_mnist("valid")  # type: ignore[arg-type]


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_imdb_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool
) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", offline)
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    monkeypatch.delenv("HW2_IMDB", raising=False)
    if named:
        monkeypatch.setenv("HW2_IMDB", str(tmp_path / "nowhere"))
    with pytest.raises(data.MissingData, match="HW2_IMDB"):
        data.imdb("train")


def test_the_hubs_layout_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its README names a third split, which is not downloaded."""
    (tmp_path / "plain_text").mkdir()
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain_text\n  data_files:\n"
        "  - split: train\n    path: plain_text/train-*\n"
        "  - split: unsupervised\n    path: plain_text/unsupervised-*\n---\n"
    )
    rows = Dataset.from_dict({"text": ["Good.", "Bad."], "label": [1, 0]})
    rows.to_parquet(tmp_path / "plain_text" / "train-00000-of-00001.parquet")
    digest = hashlib.sha256(b"0\tBad.\n1\tGood.\n").hexdigest()
    monkeypatch.setitem(data.IMDB_DIGESTS, "train", digest)
    monkeypatch.delenv("HW2_IMDB", raising=False)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: None)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path)
    )
    texts, labels = data.imdb("train")
    assert (texts, labels.tolist()) == (["Bad.", "Good."], [0, 1])
    with pytest.raises(data.MissingData, match=r"no test-\*\.parquet"):
        data.imdb("test")


def test_tampered_imdb_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "plain_text"
    folder.mkdir()
    rows = Dataset.from_dict({"text": ["Good.", "Bad."], "label": [0, 1]})
    for split in ("train", "test"):
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("HW2_IMDB", str(tmp_path))
    with pytest.raises(ValueError, match="SHA-256"):
        data.imdb("train")


def test_bert_base_is_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", offline)
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(data.MissingData, match="bert-base-uncased is not here"):
        data.bert_base_folder()
