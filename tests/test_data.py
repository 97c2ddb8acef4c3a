"""The data sets are the published ones, or there is one clear line."""

import gzip
import shutil
from pathlib import Path

import pytest
import torch

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
    from hw2.vit import PIXEL_MEAN, PIXEL_STD

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
