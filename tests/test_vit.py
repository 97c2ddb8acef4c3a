"""The Vision Transformer: its shapes, its parts, its training."""

import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import ROOT
from hw2 import data, records, training, vit
from hw2.records import Checkpoint
from hw2.training import count_parameters, fit
from hw2.vit import Block, Config, Dense, ViT, patches

SMALL = Config(
    seeds=1,
    layers=2,
    width=16,
    mlp=32,
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
        ({"network": "cnn"}, "network is 'cnn'"),
        ({"network": "dense", "drop": 0.5}, "drop is 0.5"),
    ],
)
def test_wrong_sizes_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        vit.network(replace(SMALL, **change))


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


def two_steps(seed: int, **options: Any) -> tuple[training.History, dict[str, Tensor]]:
    torch.manual_seed(seed)
    model = ViT(SMALL)
    train, held_out = some_bytes(64), some_bytes(20, seed=1)
    recipe = replace(SMALL, **options)
    history = fit(
        model, train, held_out, recipe, seed=seed, name="a", checkpoint=Checkpoint()
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


@pytest.mark.parametrize(
    "option",
    [
        {"optimiser": "adamw"},
        {"matrix_lr": 0.01},
        {"lr": 1e-3},
        {"weight_decay": 0.5},
        {"schedule": "cosine"},
        {"warm_up": 0.5},
        {"flip": False},
        {"shift": 1},
        {"erase": 8},
        {"smoothing": 0.1},
        {"drop": 0.4},
        {"bf16": False},
    ],
)
def test_every_option_has_an_effect(option: dict[str, Any]) -> None:
    weights, changed = two_steps(0)[1], two_steps(0, **option)[1]
    assert any(not torch.equal(weights[name], changed[name]) for name in weights)


@pytest.mark.parametrize(
    "network, optimiser", [("vit", "muon"), ("dense", "muon"), ("dense", "adamw")]
)
def test_training_learns(network: str, optimiser: str) -> None:
    torch.manual_seed(0)
    config = replace(SMALL, network=network, optimiser=optimiser, epochs=8)
    model = vit.network(config)
    train, held_out = some_bytes(640), some_bytes(200, seed=1)
    history = fit(
        model, train, held_out, config, seed=0, name="a", checkpoint=Checkpoint()
    )
    assert len(history["losses"]) == 160
    assert [row["epochs"] for row in history["held_out"]] == list(range(1, 9))
    assert history["losses"][-1] < history["losses"][0] / 2
    assert history["held_out"][-1]["accuracy"] > 0.9


@pytest.mark.parametrize("batch", [0, 65])
def test_a_batch_of_too_many_or_none_is_refused(batch: int) -> None:
    with pytest.raises(ValueError, match=f"batch is {batch}, .* up to 64"):
        two_steps(0, batch=batch)


def test_muon_is_for_the_matrices_of_the_layers() -> None:
    model = ViT(SMALL)
    adamw, muon = training.optimisers(model, SMALL)
    inner = [p for p in model.blocks.parameters() if p.ndim == 2]
    assert len(inner) == 4 * SMALL.layers
    assert {id(p) for p in muon.param_groups[0]["params"]} == {id(p) for p in inner}
    everything = adamw.param_groups[0]["params"] + inner
    assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
    assert len(everything) == len(list(model.parameters()))
    (alone,) = training.optimisers(model, replace(SMALL, optimiser="adamw"))
    assert len(alone.param_groups[0]["params"]) == len(everything)
    with pytest.raises(ValueError, match="optimiser is 'sgd'"):
        training.optimisers(model, replace(SMALL, optimiser="sgd"))


def test_the_rates_rise_and_fall() -> None:
    linear, cosine = (
        replace(SMALL, schedule=schedule, warm_up=0.2)
        for schedule in ("linear", "cosine")
    )
    for recipe in (linear, cosine):
        assert training.pace(recipe, 0.05) == pytest.approx(0.25)
        assert training.pace(recipe, 0.2) == pytest.approx(1)
        assert training.pace(recipe, 0.6) == pytest.approx(0.5)
        assert training.pace(recipe, 1) == pytest.approx(0)
    assert training.pace(linear, 0.4) == pytest.approx(0.75)
    assert training.pace(cosine, 0.4) == pytest.approx((1 + 0.5**0.5) / 2)
    with pytest.raises(ValueError, match="schedule is 'step'"):
        training.pace(replace(SMALL, schedule="step"), 0.5)


def augmented(images: Tensor, epoch: int = 0, **options: Any) -> Tensor:
    recipe = training.Recipe(**({"flip": False} | options))
    return training.augment(images, recipe, epoch, torch.Generator().manual_seed(epoch))


def test_an_image_is_flipped_in_every_other_epoch() -> None:
    images = some_bytes(6)[0]
    assert torch.equal(augmented(images), images)
    for epoch in range(3):
        shown = augmented(images, epoch, flip=True)
        for index, (image, seen) in enumerate(zip(images, shown, strict=True)):
            turned = (index + epoch) % 2 == 0
            assert torch.equal(seen, image.flip(2) if turned else image)


def test_a_shift_moves_the_whole_image() -> None:
    images = some_bytes(200)[0]
    found = set()
    for image, seen in zip(images, augmented(images, shift=2), strict=True):
        ways = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(seen, vit.moved(image[None], down, right)[0])
        ]
        assert len(ways) == 1
        found.update(ways)
    assert len(found) == 25  # each, by 200 draws: one is missed once in 3000 times
    assert torch.equal(vit.moved(images, 3, -1)[:, :, 3:, :-1], images[:, :, :-3, 1:])
    assert not vit.moved(images, 3, -1)[:, :, :3].any()
    assert not vit.moved(images, 3, -1)[:, :, :, -1].any()


def test_a_square_is_erased() -> None:
    images = torch.full((300, 1, 28, 28), 7, dtype=torch.uint8)
    shown = augmented(images, erase=5)
    sizes = set()
    for image in shown[:, 0]:
        rows, columns = (image == 0).nonzero(as_tuple=True)
        height, width = (int(n.max() - n.min()) + 1 for n in (rows, columns))
        assert height * width == len(rows)  # a rectangle: the square, or what is left
        sizes.add((height, width))
        if height < 5:
            assert rows.min() == 0 or rows.max() == 27
        if width < 5:
            assert columns.min() == 0 or columns.max() == 27
    assert (5, 5) in sizes and max(sizes) == (5, 5) and len(sizes) > 5


def test_a_part_of_the_tokens_is_left_out() -> None:
    tokens = torch.arange(40 * 49.0).view(40, 49, 1).expand(40, 49, 3)
    left = vit.some(tokens, 0.4)
    assert left.shape == (40, 29, 3)
    numbers = left[:, :, 0] - 49 * torch.arange(40)[:, None]
    assert (left == left[:, :, :1]).all() and (numbers >= 0).all()
    drawn = [set(row.tolist()) for row in numbers]
    assert all(len(row) == 29 for row in drawn)  # none twice
    assert len(set.union(*drawn)) == 49 and drawn[0] != drawn[1]


def test_tokens_are_left_out_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never outside of training."""
    seen: list[float] = []

    def note(tokens: Tensor, drop: float) -> Tensor:
        seen.append(drop)
        return tokens

    monkeypatch.setattr(vit, "some", note)
    two_steps(0, drop=0.4, whole=0.6, epochs=5)
    assert seen == [0.4] * 6  # of ten steps


PROCESSES = """
import sys
from dataclasses import replace
import torch
from hw2 import vit
from hw2.training import fit
from hw2.records import Checkpoint
sys.path.insert(0, sys.argv[1])
from test_vit import SMALL, some_bytes
torch.manual_seed(0)
model = vit.ViT(SMALL)
recipe = replace(SMALL, epochs=2, shift=1, bf16=sys.argv[3] == "bf16")
history = fit(
    model, some_bytes(64), some_bytes(20), recipe, seed=0, name="a",
    checkpoint=Checkpoint(),
)
if torch.distributed.is_initialized():
    assert torch.distributed.get_world_size() == 2
    if torch.distributed.get_rank():
        sys.exit()
torch.save(model.state_dict(), sys.argv[2])
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_processes_train_as_one(tmp_path: Path, precision: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    weights = []
    for processes in (1, 2):
        launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_machines=1"]
        launch += [f"--num_processes={processes}", "--num_cpu_threads_per_process=1"]
        launch += ["--mixed_precision=no", "--dynamo_backend=no"]
        kept = tmp_path / f"{processes}.pt"
        subprocess.run(
            [sys.executable, *launch, script, ROOT / "tests", kept, precision],
            check=True,
        )
        weights.append(torch.load(kept))
    one, two = weights
    for name, tensor in one.items():
        torch.testing.assert_close(
            two[name], tensor, atol=1e-4 if precision == "fp32" else 2e-2, rtol=0
        )


def test_compiled_is_the_same_network(tmp_path: Path) -> None:
    """Where there is a compiler; the tests do not compile otherwise."""
    compiler = shutil.which("g++")
    if not compiler:
        pytest.skip("no C++ compiler")
    script = """
import torch
from hw2 import training, vit
torch.manual_seed(0)
model = vit.ViT(vit.Config(layers=1, width=8, mlp=8))
for p in model.parameters():
    torch.nn.init.normal_(p, std=0.3)
fast = training.compiled(model)
assert fast is not model
images = torch.rand(4, 1, 28, 28)
torch.testing.assert_close(fast(images), model(images), atol=1e-4, rtol=0)
"""
    environment = {**os.environ, "TORCH_COMPILE_DISABLE": "0"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def made_up(monkeypatch: pytest.MonkeyPatch) -> tuple[training.Images, list[str]]:
    sets = {"train": some_bytes(500), "test": some_bytes(120, seed=1)}
    asked: list[str] = []

    def read(split: str) -> training.Images:
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
    run = records.make(tmp_path / "test", vit.experiment, config)
    assert asked == ["train", "train", "test"]
    given = run.predictions
    assert given["logits"].shape == (2, 120, 10)
    assert torch.equal(given["labels"], labels)
    model = vit.load(run)
    assert not model.training
    torch.testing.assert_close(training.predict(model, images), given["logits"][0])
    torch.testing.assert_close(
        training.predict(model, images.flip(3)), given["mirrored"][0]
    )
    up_by_two = F.pad(images[:, :, 2:], (0, 0, 0, 2))
    right_by_three = F.pad(images[:, :, :, :-3], (3, 0))
    for far, way, shown in ((2, 0, up_by_two), (3, 3, right_by_three)):
        classes = training.predict(model, shown).argmax(dim=1)
        assert torch.equal(given["moved"][far - 1, way].long(), classes)
    both = given["logits"] + given["mirrored"]
    for name, logits in (("accuracy", given["logits"]), ("flipped", both)):
        right = (logits.argmax(dim=2) == labels).double().mean()
        assert run.scores[name].value == pytest.approx(right)
    for seed in range(2):
        assert run.metrics[f"seed-{seed}"]["held_out"][-1]["epochs"] == 2
    assert not torch.equal(given["logits"][0], given["logits"][1])


def test_an_ablation_reads_no_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = made_up(monkeypatch)
    changes = {"nothing": {}, "no flips": {"flip": False}}
    config = vit.Ablation(SMALL, changes, seeds=2)
    run = records.make(tmp_path / "test", vit.ablate, config)
    assert set(asked) == {"train"}
    assert run.scores.keys() == changes.keys() == run.metrics.keys()
    for name in changes:
        assert run.predictions[name].shape == (2, 100)
        for seed in range(2):
            (row,) = run.metrics[name][f"seed-{seed}"]["held_out"]
            right = run.predictions[name][seed] == run.predictions["labels"]
            assert row["accuracy"] == pytest.approx(right.double().mean())
        mean = (run.predictions[name] == run.predictions["labels"]).double().mean()
        assert run.scores[name].value == pytest.approx(mean)


def test_the_large_run_works_at_tiny_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch)
    (large,) = vit.LARGE.values()
    assert count_parameters(ViT(large)) <= 3_300_000
    tiny = replace(large, width=16, mlp=32, epochs=1, batch=32, held_out=100, seeds=1)
    run = records.make(tmp_path / "test", vit.experiment, tiny)
    assert run.weights and math.isfinite(run.metrics["seed-0"]["losses"][-1])


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
            given = model(shown).argmax(dim=1)
            right += int((given == labels[part : part + 333]).sum())
    run = records.run(name, vit.experiment, vit.RUNS[name])
    recorded = training.correct(run.predictions["logits"][0], run.predictions["labels"])
    # Another processor may round a tie of two logits otherwise.
    assert abs(right - recorded) <= 2


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(ValueError, match="record is 'vit-tiny', expected one of"):
        vit.load("vit-tiny")


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
