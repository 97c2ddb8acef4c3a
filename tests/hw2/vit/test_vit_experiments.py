"""The runs of problem 4: whole, on made-up images, and as they are recorded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hw2 import data, vit
from hw2.evaluation import correct
from hw2.study import Study, of_change
from hw2.training import count_parameters
from hw2.vit import ViT, predict
from hw2.vit.experiments import below_highest
from hw2.vit.training import Images
from recorded import make, run
from small_vit import SMALL, some_bytes


def made_up(monkeypatch: pytest.MonkeyPatch) -> tuple[Images, list[str]]:
    sets = {"train": some_bytes(500), "test": some_bytes(120, seed=1)}
    asked: list[str] = []

    def read(split: str) -> Images:
        asked.append(split)
        return sets[split]

    monkeypatch.setattr(data, "fashion_mnist", read)
    return sets["test"], asked


@pytest.mark.parametrize("network", ["vit", "dense"])
def test_a_run_is_what_its_model_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """The whole experiment on made-up images: run, kept, loaded, computed again."""
    (images, labels), asked = made_up(monkeypatch)
    config = replace(SMALL, network=network, seeds=2, epochs=2)
    made = make(tmp_path / "test", vit.experiment, config)
    assert asked == ["train", "train", "test"]
    given = made.predictions
    assert given["logits"].shape == (2, 120, 10)
    assert torch.equal(given["labels"], labels)
    model = vit.load(made)
    assert not model.training
    logits, mirrored = predict(model, images), predict(model, images.flip(3))
    below = logits - logits.amax(dim=1, keepdim=True)
    torch.testing.assert_close(given["logits"][0].float(), below, atol=1e-2, rtol=1e-3)
    assert torch.equal(given["logits"][0].argmax(dim=1), logits.argmax(dim=1))
    flipped = (logits + mirrored).argmax(dim=1)
    assert torch.equal(given["flipped"][0].long(), flipped)
    up_by_two = F.pad(images[:, :, 2:], (0, 0, 0, 2))
    right_by_three = F.pad(images[:, :, :, :-3], (3, 0))
    for far, way, shown in ((2, 0, up_by_two), (3, 3, right_by_three)):
        classes = predict(model, shown).argmax(dim=1)
        assert torch.equal(given["moved"][far - 1, way].long(), classes)
    predicted = {"accuracy": given["logits"].argmax(dim=2), "flipped": given["flipped"]}
    for name, classes in predicted.items():
        right = (classes == labels).double().mean()
        assert made.scores[name].value == pytest.approx(right)
    assert given["losses"].shape == (2, 2 * (400 // 32))
    for what in ("seconds", "held_out_loss", "held_out_accuracy"):
        assert given[what].shape == (2, 2)
    assert {weight.dtype for weight in made.weights.values()} == {torch.float16}
    assert not torch.equal(given["logits"][0], given["logits"][1])


def test_an_ablation_reads_no_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = made_up(monkeypatch)
    changes: dict[str, dict[str, Any]] = {
        "nothing": {},
        "no flips": {"flip": False},
        "no position vectors": {"positions": False},
    }
    config = Study(SMALL, changes, seeds=2)
    made = make(tmp_path / "test", vit.ablate, config)
    assert set(asked) == {"train"}
    assert made.scores.keys() == changes.keys()
    labels = made.predictions["labels"]
    for name in changes:
        of = of_change(made, name)
        assert of["classes"].shape == (2, 100) and of["losses"].shape == (2, 12)
        right = (of["classes"] == labels).double().mean(dim=1)
        torch.testing.assert_close(of["held_out_accuracy"][:, -1], right)
        assert made.scores[name].value == pytest.approx(right.mean())
        assert ("positions" in of) == (name != "no position vectors")
    with pytest.raises(ValueError, match="test has no change 'no'"):
        of_change(made, "no")


def test_half_precision_keeps_the_order_of_the_classes() -> None:
    """Where the two highest logits are large, and closer than it resolves there."""
    logits = torch.tensor([[100.0, 100.001, 3.0], [-7.0, -7.0001, -9.0]])
    assert logits.half()[0, 0] == logits.half()[0, 1]
    below = below_highest(logits)
    assert below.argmax(dim=1).tolist() == [1, 0]
    assert below[0, 0] != 0 and below[1, 1] != 0


def test_the_large_run_works_at_tiny_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch)
    (large,) = vit.LARGE.values()
    assert count_parameters(ViT(large)) <= 3_300_000
    tiny = replace(large, width=16, mlp=32, epochs=1, batch=32, held_out=100, seeds=1)
    made = make(tmp_path / "test", vit.experiment, tiny)
    assert made.weights and made.predictions["losses"].isfinite().all()


@pytest.mark.parametrize("name", vit.RUNS)
def test_the_recorded_model_gives_the_recorded_accuracy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, on images that are read and batched otherwise than in the run."""
    monkeypatch.setenv("HW2_TRAIN", "never")
    images, labels = data.fashion_mnist("test")
    model, right = vit.load(name), 0
    with torch.no_grad():
        for part in range(0, 10_000, 333):
            shown = images[part : part + 333].double().div(255).float()
            classes = model(shown).argmax(dim=1)
            right += int((classes == labels[part : part + 333]).sum())
    given = run(name, vit.experiment, vit.RUNS[name]).predictions
    recorded = correct(given["logits"][0], given["labels"])
    # Another processor may round a tie of two logits otherwise.
    assert abs(right - recorded) <= 2


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(ValueError, match="record is 'vit-tiny', expected one of"):
        vit.load("vit-tiny")
