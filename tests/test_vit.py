"""The Vision Transformer: its shapes, its parts, its training."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hw2 import data, records, training, vit
from hw2.records import Checkpoint
from hw2.training import count_parameters
from hw2.vit import Block, Config, Dense, ViT, patches

SMALL = Config(
    layers=2,
    width=16,
    mlp=32,
    dense_width=32,
    epochs=1,
    batch=32,
    held_out=100,
)


def some_images(count: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def some_bytes(count: int, seed: int = 0) -> training.Images:
    """Images of which each class is bright in two rows of its own, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    images = torch.randint(60, (count, 1, 28, 28), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return images.to(torch.uint8), labels


def test_shapes() -> None:
    for patch in (1, 2, 4, 7, 28):
        model = ViT(replace(SMALL, patch=patch))
        assert model(some_images(2)).shape == (2, 10)
        assert patches(some_images(2), patch).shape == (2, (28 // patch) ** 2, patch**2)
    assert Dense(SMALL)(some_images(3)).shape == (3, 10)
    assert ViT(SMALL)(some_images(0)).shape == (0, 10)


def test_patches_are_cut_in_reading_order() -> None:
    images = some_images(3)
    tokens = patches(images, 4)
    for index in range(49):
        row, column = divmod(index, 7)
        part = images[:, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert torch.equal(tokens[:, index], part.flatten(1))
    again = F.fold(tokens.transpose(1, 2), output_size=28, kernel_size=4, stride=4)
    assert torch.equal(again, images)


def test_the_assignments_model() -> None:
    config = Config()
    assert (config.patch, config.layers, config.heads) == (4, 6, 4)
    model = ViT(config)
    assert len(model.blocks) == 6
    assert model.positions.shape == (49, config.width)


@pytest.mark.parametrize("width, mlp, layers", [(16, 32, 2), (64, 128, 6), (24, 8, 1)])
def test_parameter_formula(width: int, mlp: int, layers: int) -> None:
    model = ViT(Config(width=width, mlp=mlp, layers=layers))
    block = 4 * width**2 + 2 * width * mlp + 9 * width + mlp
    ends = (16 + 1) * width + 49 * width + 2 * width + (width + 1) * 10
    assert count_parameters(model) == ends + layers * block


def test_a_block_is_the_textbooks() -> None:
    torch.manual_seed(0)
    block = Block(width=8, heads=2, mlp=12).eval()
    x = torch.randn(3, 5, 8)
    library = torch.nn.TransformerEncoderLayer(
        8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True
    ).eval()
    names = {
        "norm1": "norm1",
        "norm2": "norm2",
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj": "attention.out",
        "linear1": "mlp.0",
        "linear2": "mlp.2",
    }
    weights = block.state_dict()
    ours = {}
    for name in library.state_dict():
        for theirs, mine in names.items():
            if name.startswith(theirs):
                ours[name] = weights[name.replace(theirs, mine)]
    library.load_state_dict(ours)
    torch.testing.assert_close(block(x), library(x))


def test_positions_tell_patches_apart() -> None:
    torch.manual_seed(0)
    model = ViT(SMALL).eval()
    images = some_images()
    order = torch.randperm(49)
    tokens = patches(images, 4)[:, order].transpose(1, 2)
    shuffled = F.fold(tokens, output_size=28, kernel_size=4, stride=4)
    assert not torch.allclose(model(images), model(shuffled), atol=1e-3)
    with torch.no_grad():
        model.positions.zero_()  # then the tokens are a set
    torch.testing.assert_close(model(images), model(shuffled))


@pytest.mark.parametrize(
    "images, reason",
    [
        (torch.rand(1, 28, 28), r"shape \(1, 28, 28\)"),
        (torch.rand(2, 1, 32, 32), r"shape \(2, 1, 32, 32\)"),
        (torch.rand(2, 3, 28, 28), "expected"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "uint8"),
        (torch.full((2, 1, 28, 28), 255.0), "255"),
        (torch.full((2, 1, 28, 28), -0.1), "-0.1"),
        (torch.full((2, 1, 28, 28), torch.nan), "nan"),
    ],
)
def test_wrong_images_are_refused(images: Tensor, reason: str) -> None:
    for model in (ViT(SMALL), Dense(SMALL)):
        with pytest.raises(ValueError, match=reason):
            model(images)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"patch": 5}, "patch is 5"),
        ({"patch": 0}, "patch is 0"),
        ({"heads": 3}, "heads is 3"),
        ({"heads": 0}, "heads is 0"),
    ],
)
def test_wrong_sizes_are_refused(change: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ViT(replace(SMALL, **change))


def test_it_can_fit_a_batch() -> None:
    torch.manual_seed(0)
    model = ViT(SMALL)
    images, labels = some_images(16), torch.arange(16) % 10
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(150):
        loss = F.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(model(images).argmax(dim=1), labels)


def test_held_out_images_are_apart() -> None:
    images = torch.arange(60, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels = torch.arange(60)
    first, second = (training.hold_out((images, labels), 10, 7) for _ in range(2))
    train, held_out = first
    assert (len(train[1]), len(held_out[1])) == (50, 10)
    assert sorted([*train[1].tolist(), *held_out[1].tolist()]) == list(range(60))
    for part in first:
        assert torch.equal(part[0].flatten().long(), part[1])
    assert torch.equal(held_out[1], second[1][1])
    assert not torch.equal(
        held_out[1], training.hold_out((images, labels), 10, 8)[1][1]
    )
    for count in (0, 60):
        with pytest.raises(ValueError, match=f"count is {count}"):
            training.hold_out((images, labels), count, 7)


fit = partial(
    training.fit, batch=32, weight_decay=0.05, name="test", checkpoint=Checkpoint()
)


def two_steps(seed: int) -> tuple[training.History, dict[str, Tensor]]:
    torch.manual_seed(seed)
    model = ViT(SMALL)
    history = fit(
        model, some_bytes(64), some_bytes(20, seed=1), epochs=1, lr=1e-3, seed=seed
    )
    return history, model.state_dict()


def test_training_repeats() -> None:
    (history, weights), (history2, weights2) = two_steps(3), two_steps(3)
    assert len(history["losses"]) == 2
    assert history["losses"] == history2["losses"]
    for row, row2 in zip(history["held_out"], history2["held_out"], strict=True):
        assert row | {"seconds": 0} == row2 | {"seconds": 0}
    for name, tensor in weights.items():
        assert torch.equal(tensor, weights2[name]), name
    assert two_steps(4)[0]["losses"] != history["losses"]


def test_training_learns() -> None:
    torch.manual_seed(0)
    model = Dense(SMALL)
    history = fit(
        model, some_bytes(640), some_bytes(200, seed=1), epochs=4, lr=3e-3, seed=0
    )
    assert len(history["losses"]) == 80
    assert [row["passes"] for row in history["held_out"]] == pytest.approx(
        [4 * part / 6 for part in range(1, 7)], abs=0.05
    )
    assert history["losses"][-1] < history["losses"][0] / 2
    assert history["held_out"][-1]["accuracy"] > 0.9


def test_a_run_is_what_its_model_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole experiment on made-up images: run, kept, loaded, computed again."""
    sets = {"train": some_bytes(500), "test": some_bytes(120, seed=1)}
    asked = []

    def made_up(split: str) -> training.Images:
        asked.append(split)
        return sets[split]

    monkeypatch.setattr(data, "fashion_mnist", made_up)
    run = records.make(tmp_path / "test", vit.experiment, SMALL)
    assert asked == ["train", "test"]
    images, labels = sets["test"]
    logits = training.predict(vit.load(run), images)
    torch.testing.assert_close(logits, run.predictions["vit"])
    assert torch.equal(run.predictions["labels"], labels)
    for name in ("vit", "dense"):
        right = training.correct(run.predictions[name], labels)
        assert run.scores[name].value == right / len(labels)
        assert run.metrics[name]["held_out"][-1]["passes"] == SMALL.epochs
    assert not vit.load(run).training


def test_the_recorded_model_gives_the_recorded_accuracy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name, on images that are read and batched otherwise than in the run."""
    monkeypatch.setenv("HW2_TRAIN", "never")
    images, labels = data.fashion_mnist("test")
    model, right = vit.load("vit"), 0
    with torch.no_grad():
        for part in range(0, 10_000, 333):
            shown = images[part : part + 333].double().div(255).float()
            given = model(shown).argmax(dim=1)
            right += int((given == labels[part : part + 333]).sum())
    recorded = records.run("vit", vit.experiment, vit.RUNS["vit"]).scores["vit"].value
    # Another processor may round a tie of two logits otherwise.
    assert right / 10_000 == pytest.approx(recorded, abs=2e-4)


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(ValueError, match=r"record is 'vti', expected one of \['vit'\]"):
        vit.load("vti")


def test_interval_of_an_accuracy() -> None:
    low, high = training.interval(9000, 10000)
    # Its bounds solve (p - 0.9)^2 = z^2 p (1 - p) / n: what it is derived from.
    for p in (low, high):
        assert (p - 0.9) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / 10000)
    assert low < 0.9 < high
    assert training.share(9000, 10000) == f"90.0% ({low:.1%} to {high:.1%})"
    assert training.interval(0, 5)[0] == 0
    assert training.interval(5, 5)[1] == 1
    for correct, total in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="expected 0 <= correct"):
            training.interval(correct, total)
