"""The data sets are the published ones, or there is one clear line."""

import gzip
import hashlib
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from hw2 import data, files
from server import Request, serving

FIRST = "train-images-idx3-ubyte"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set, unpacked."""
    place = tmp_path_factory.mktemp("sound")
    try:
        for name in data.FASHION_MNIST_DIGESTS:
            (place / name).write_bytes(data._fashion_mnist_file(name))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    return place


def copy_of(folder: Path, to: Path) -> Path:
    for name in data.FASHION_MNIST_DIGESTS:
        shutil.copy(folder / name, to / name)
    return to


def no_network(*_: object, **__: object) -> None:
    raise OSError("no network")


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
    monkeypatch.delenv("HW2_FASHION_MNIST", raising=False)
    monkeypatch.setattr(data, "DOWNLOADS", tmp_path)
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", tmp_path)
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    with pytest.raises(data.MissingData, match="could not be downloaded") as raised:
        data.fashion_mnist("train")
    assert "\n" not in str(raised.value)


# Damaged copies of FashionMNIST

DAMAGED_COPY = pytest.mark.fault(
    "data",
    provoked="A packed file of FashionMNIST is cut, overwritten, empty, a web page or "
    "another one.",
    result="The next sound copy is used, and a line says so; where there is none, a "
    "line names each damaged copy and says what to do.",
    kept="All copies.",
)
LABELS = "t10k-labels-idx1-ubyte"
# What may stand under the name of a packed file, and what is said of it.
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda packed: packed[:-9], " is truncated"),
    "a page": (lambda _: b"<!DOCTYPE html><p>Moved", " can't be read: Not a gzipped"),
    "empty": (lambda _: b"", " is empty"),
    "overwritten": (lambda packed: packed[:99] + bytes(999) + packed[1098:], " can't"),
    "another": (lambda _: gzip.compress(b"another"), " has SHA-256 .*, expected "),
}


@pytest.fixture(params=DAMAGES)
def damaged(request: pytest.FixtureRequest, folder: Path) -> tuple[bytes, str]:
    damage, said = DAMAGES[request.param]
    return damage(gzip.compress((folder / LABELS).read_bytes())), said


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folders of downloads and of Debian's package, empty, and no network."""
    downloads, debian = tmp_path / "FashionMNIST" / "raw", tmp_path / "debian"
    downloads.mkdir(parents=True)
    debian.mkdir()
    monkeypatch.delenv("HW2_FASHION_MNIST", raising=False)
    monkeypatch.setattr(data, "DOWNLOADS", tmp_path)
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", debian)
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    return downloads, debian


def assert_reported(
    capsys: pytest.CaptureFixture[str], packed: Path, said: str, used: Path
) -> None:
    """One line on stderr: which copy is damaged, how, and which is used instead."""
    (line,) = capsys.readouterr().err.splitlines()
    end = re.escape(f"; {used} is used instead")
    assert re.fullmatch(re.escape(str(packed)) + said + ".*" + end, line)


@DAMAGED_COPY
def test_an_unpacked_file_beside_a_damaged_one(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damaged: tuple[bytes, str],
) -> None:
    packed = copy_of(folder, tmp_path) / f"{LABELS}.gz"
    packed.write_bytes(damaged[0])
    monkeypatch.setenv("HW2_FASHION_MNIST", str(tmp_path))
    assert len(data.fashion_mnist("test")[1]) == 10_000
    assert_reported(capsys, packed, damaged[1], used=tmp_path / LABELS)


@DAMAGED_COPY
def test_debians_package_beside_a_damaged_download(
    folder: Path,
    places: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    damaged: tuple[bytes, str],
) -> None:
    downloads, debian = places
    copy_of(folder, debian)
    packed = downloads / f"{LABELS}.gz"
    packed.write_bytes(damaged[0])
    assert len(data.fashion_mnist("test")[1]) == 10_000
    assert_reported(capsys, packed, damaged[1], used=debian / LABELS)


@pytest.mark.fault(
    "data",
    provoked="A download of FashionMNIST stopped between two files.",
    result="The other files are taken from Debian's package.",
    kept="What was downloaded.",
)
def test_a_download_that_stopped_half_way(
    folder: Path, places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Between two files: Debian's package has the others."""
    downloads, debian = places
    copy_of(folder, debian)
    shutil.copy(folder / "t10k-images-idx3-ubyte", downloads)
    (debian / "t10k-images-idx3-ubyte").unlink()
    assert len(data.fashion_mnist("test")[0]) == 10_000
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_damaged_download_is_made_again(
    folder: Path,
    places: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    """torchvision, as it is, keeps an unpacked file that is damaged."""
    downloads, _ = places
    copy_of(folder, downloads)
    (downloads / LABELS).unlink()
    (downloads / f"{LABELS}{end}").write_bytes(b"")

    def download(root: str, download: bool) -> None:
        assert (root, download) == (str(data.DOWNLOADS), True)
        if not (downloads / LABELS).exists():
            shutil.copy(folder / LABELS, downloads)

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", download)
    assert len(data.fashion_mnist("test")[1]) == 10_000


@DAMAGED_COPY
def test_every_damaged_copy_is_named(
    folder: Path, places: tuple[Path, Path], damaged: tuple[bytes, str]
) -> None:
    copies = [place / f"{LABELS}.gz" for place in places]
    for packed in copies:
        copy_of(folder, packed.parent)
        (packed.parent / LABELS).unlink()
        packed.write_bytes(damaged[0])
    with pytest.raises(ValueError, match="could not be downloaded") as raised:
        data.fashion_mnist("test")
    text = str(raised.value)
    for packed in copies:
        assert re.search(re.escape(str(packed)) + damaged[1], text)
    assert "install Debian's dataset-fashion-mnist" in text and "\n" not in text


@DAMAGED_COPY
def test_a_named_folder_is_the_only_one(
    folder: Path,
    places: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    damaged: tuple[bytes, str],
) -> None:
    downloads, debian = places
    copy_of(folder, debian)
    copy_of(folder, downloads)
    (downloads / LABELS).unlink()
    (downloads / f"{LABELS}.gz").write_bytes(damaged[0])
    monkeypatch.setenv("HW2_FASHION_MNIST", str(downloads))
    with pytest.raises(ValueError, match=damaged[1]) as raised:
        data.fashion_mnist("test")
    assert "put the published files there" in str(raised.value)


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
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
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
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download",
        lambda _, file, **__: str(tmp_path / file),
    )
    texts, labels = data.imdb("train")
    assert (texts, labels.tolist()) == (["Bad.", "Good."], [0, 1])


@pytest.mark.fault(
    "data",
    provoked="There is only one split of IMDB, or of FashionMNIST.",
    result="A line names the folder and what it lacks.",
    kept="The split that is there.",
)
def test_one_split_only_is_told(
    folder: Path, shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.imdb("train")
    with pytest.raises(data.MissingData, match=r"plain_text has no test-\*\.parquet"):
        data.imdb("test")
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.setenv("HW2_FASHION_MNIST", str(tmp_path))
    data.fashion_mnist("train")
    with pytest.raises(data.MissingData, match=r"no sound t10k-images-idx3-ubyte\.gz"):
        data.fashion_mnist("test")


# Damaged copies of IMDB


def parquet(rows: dict[str, list[Any]], path: Path) -> bytes:
    Dataset.from_dict(rows).to_parquet(path)
    return path.read_bytes()


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The two files of a training split, sound ones, in the place of IMDB's."""
    folder = tmp_path / "plain_text"
    folder.mkdir()
    files = [folder / f"train-0000{i}-of-00002.parquet" for i in range(2)]
    for label, file in enumerate(files):
        texts = [f"Review {i} of {label}." for i in range(99)]
        parquet({"text": texts, "label": [label] * 99}, file)
    # With another column, as that of the Hub's may have one day.
    parquet({"text": ["Unsaid."], "label": [-1]}, folder / "unsupervised.parquet")
    rows = sorted(
        f"{label}\tReview {i} of {label}.\n" for label in (0, 1) for i in range(99)
    )
    digest = hashlib.sha256("".join(rows).encode()).hexdigest()
    monkeypatch.setitem(data.IMDB_DIGESTS, "train", digest)
    monkeypatch.setenv("HW2_IMDB", str(tmp_path))
    return files


def test_all_files_of_a_split_are_read(shards: list[Path]) -> None:
    texts, labels = data.imdb("train")
    assert labels.tolist() == [0] * 99 + [1] * 99
    assert texts == [*sorted(texts[:99]), *sorted(texts[99:])]


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:db47d16b5c297cc0dd625e519c81319c24c9149e70e8496de5475f6fa928342c\n"
    b"size 20979968\n"
)
# What may stand under the name of a file of IMDB.
NO_FILES: dict[str, Callable[[Path], bytes]] = {
    "truncated": lambda file: file.read_bytes()[:-100],
    "overwritten": lambda file: bytes(200) + file.read_bytes()[200:],
    "empty": lambda file: b"",
    "a page": lambda file: b"<!DOCTYPE html><p>Moved",
    "a pointer": lambda file: POINTER,
    "other columns": lambda file: parquet({"review": ["Good."], "label": [1]}, file),
    "without labels": lambda file: parquet({"text": ["Good."]}, file),
    "a missing text": lambda file: parquet(
        {"text": ["a", None], "label": [1, 1]}, file
    ),
    "a missing label": lambda file: parquet(
        {"text": ["a", "a"], "label": [1, None]}, file
    ),
}


@pytest.mark.fault(
    "data",
    provoked="A file of IMDB is cut, empty, a web page, a Git LFS pointer or of other "
    "columns or labels.",
    result="A line names the file and says what to do.",
    kept="All files.",
)
@pytest.mark.parametrize("kind", NO_FILES)
def test_a_damaged_file_of_imdb_is_named(shards: list[Path], kind: str) -> None:
    sound, damaged = shards
    damaged.write_bytes(NO_FILES[kind](damaged))
    with pytest.raises(ValueError, match=re.escape(str(damaged))) as raised:
        data.imdb("train")
    text = str(raised.value)
    assert str(sound) not in text and "put the published one there" in text


def test_a_damaged_file_of_the_hubs_cache_is_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its folder: the client would take it from there again."""
    folder = tmp_path / "datasets--stanfordnlp--imdb"
    file = folder / "snapshots" / "1" / "plain_text" / "train-1.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(POINTER)
    monkeypatch.setenv("HW2_IMDB", str(file.parents[1]))
    with pytest.raises(ValueError, match=f"delete {folder} to download it again"):
        data.imdb("train")


TEXTS, LABEL = [f"Review {i} of 1." for i in range(99)], [1] * 99


@pytest.mark.fault(
    "data",
    provoked="IMDB has a review more, one less, another one or a label out of range.",
    result="A line names the files and says that they are not the published ones.",
    kept="All files.",
)
@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([*TEXTS, "Another."], [*LABEL, 1]),
        (TEXTS, [2, *LABEL[1:]]),
        (TEXTS, [-1, *LABEL[1:]]),
        (TEXTS[:-1], LABEL[:-1]),
        (["Another.", *TEXTS[1:]], LABEL),
        (TEXTS, [0, *LABEL[1:]]),
    ],
)
def test_other_reviews_are_refused(
    shards: list[Path], texts: list[str], labels: list[int]
) -> None:
    parquet({"text": texts, "label": labels}, shards[1])
    with pytest.raises(ValueError, match=r"SHA-256 .*, expected") as raised:
        data.imdb("train")
    assert all(str(file) in str(raised.value) for file in shards)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_of_imdb_is_told(shards: list[Path], missing: int) -> None:
    """By the names of those that are there, and how few reviews they have."""
    shards.pop(missing).unlink()
    with pytest.raises(ValueError, match=r"SHA-256 .*, expected") as raised:
        data.imdb("train")
    assert f"the train split of IMDB, 99 reviews in {shards[0]}," in str(raised.value)


def test_an_unknown_split_of_imdb_is_refused(shards: list[Path]) -> None:
    with pytest.raises(ValueError, match="split is 'unsupervised', expected"):
        data.imdb("unsupervised")  # type: ignore[arg-type]


def test_bert_base_is_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", offline)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(data.MissingData, match="bert-base-uncased is not here"):
        data.bert_base_folder()


# The network


@pytest.fixture
def mirror(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Iterator[tuple[Path, list[Callable[[Request], None]]]]:
    """Where a file is downloaded to, and how its server answers, the last one last."""
    monkeypatch.undo()  # of ``places``, torchvision is as it is
    downloads, debian = places
    packed = gzip.compress((folder / LABELS).read_bytes(), mtime=0)
    (copy_of(folder, downloads) / LABELS).unlink()
    answers: list[Callable[[Request], None]] = []

    def answer(request: Request) -> None:
        answers.pop(0)(request) if answers else request.reply(packed)

    md5 = hashlib.md5(packed).hexdigest()
    monkeypatch.delenv("HW2_FASHION_MNIST", raising=False)
    monkeypatch.setattr(data, "DOWNLOADS", downloads.parents[1])
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", debian)
    monkeypatch.setattr(files, "PATIENCE", 0.5)
    with serving(answer) as address:
        kind = "torchvision.datasets.FashionMNIST"
        monkeypatch.setattr(f"{kind}.mirrors", [f"{address}/"])
        monkeypatch.setattr(f"{kind}.resources", [(f"{LABELS}.gz", md5)])
        yield downloads, answers


def refused(said: str) -> None:
    with pytest.raises((data.MissingData, ValueError)) as raised:
        data.fashion_mnist("test")
    line = str(raised.value)
    assert f"{LABELS} of FashionMNIST is not here and could not be down" in line
    assert re.search(said, line), line
    assert "install Debian's dataset-fashion-mnist or set HW2_FASHION_MNIST" in line
    assert "\n" not in line


# How a server fails: to its first question, then to the second, and what is said.
FAILURES: dict[str, tuple[list[Callable[[Request], None]], str]] = {
    "an error": ([lambda r: r.reply(b"", 500)], "HTTP Error 500"),
    "no answer": ([lambda r: r.stall()], "nothing came for"),
    "half of it, and no more": (
        [lambda r: r.reply(b""), lambda r: r.reply(bytes(999), stops=99, stalls=True)],
        "nothing came for",
    ),
    "half of it, and the end": (
        [lambda r: r.reply(b""), lambda r: r.reply(bytes(999), stops=99)],
        "File not found or corrupted",
    ),
    "other bytes": (
        [lambda r: r.reply(b""), lambda r: r.reply(b"<!DOCTYPE html><p>Log in")],
        "File not found or corrupted",
    ),
}


@pytest.mark.fault(
    "network",
    provoked="The server of FashionMNIST gives an error, stalls, breaks off or sends "
    "other bytes.",
    result="The download is given up in a bounded time, and a line says why and what "
    "to do; the next attempt makes it anew.",
    kept="The files that are there.",
)
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_download_is_told_and_made_anew(
    mirror: tuple[Path, list[Callable[[Request], None]]], kind: str
) -> None:
    _, answers = mirror
    failures, said = FAILURES[kind]
    answers += failures
    refused(said)
    answers.clear()
    assert len(data.fashion_mnist("test")[1]) == 10_000


@pytest.mark.fault(
    "network",
    provoked="Looking for the name of a server never ends.",
    result="The download is given up in a bounded time, and a line says so.",
    kept="The files that are there.",
)
def test_a_name_server_that_hangs_is_not_waited_for(
    mirror: tuple[Path, list[Callable[[Request], None]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait())
    refused("nothing came for")
    ended.set()


def test_what_comes_slowly_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as something comes; an error is that of the download."""
    monkeypatch.setattr(files, "PATIENCE", 0.5)
    pause = threading.Event()

    def slowly() -> int:
        for part in range(6):
            pause.wait(0.3)
            (tmp_path / str(part)).write_bytes(b"part")
        return 6

    assert files.patiently(slowly, tmp_path) == 6
    with pytest.raises(TimeoutError, match="its own"):
        files.patiently(lambda: failing(TimeoutError("its own")), tmp_path)


def failing(error: Exception) -> None:
    raise error
