"""The Vision Transformer and the dense network: their shapes and their parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw2.training import count_parameters
from hw2.vit import Block, Config, Dense, ViT, patches
from hw2.vit.model import drop_tokens, network
from small_vit import SMALL, some_images


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
    assert isinstance(model.positions, Tensor)
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
    without = ViT(replace(SMALL, positions=False)).eval()  # then the tokens are a set
    torch.testing.assert_close(without(images), without(shuffled))
    assert count_parameters(model) - count_parameters(without) == 49 * SMALL.width


@pytest.mark.parametrize("kind", [ViT, Dense])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "images",
    [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    ],
)
def test_images_and_weights_of_every_float_type(
    kind: Callable[[Config], nn.Module], weights: torch.dtype, images: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = kind(SMALL)
    shown = (some_images(2) * 15).round().div(16).to(images)  # exact but in 8 bits
    expected = model(shown.float())
    got = model.to(weights)(shown)
    assert got.dtype == weights
    bound = 0.1 if weights == torch.bfloat16 else 1e-5
    torch.testing.assert_close(got.float(), expected, atol=bound, rtol=0)


def test_a_patch_that_does_not_divide_an_image_is_refused() -> None:
    for size in (0, -1, 5):
        with pytest.raises(ValueError, match=f"size is {size}, expected a divisor"):
            patches(some_images(1), size)


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
        network(replace(SMALL, **change))


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


def test_a_part_of_the_tokens_is_left_out() -> None:
    tokens = torch.arange(40 * 49.0).view(40, 49, 1).expand(40, 49, 3)
    left = drop_tokens(tokens, 0.4)
    assert left.shape == (40, 29, 3)
    numbers = left[:, :, 0] - 49 * torch.arange(40)[:, None]
    assert (left == left[:, :, :1]).all() and (numbers >= 0).all()
    drawn = [set(row.tolist()) for row in numbers]
    assert all(len(row) == 29 for row in drawn)  # none twice
    assert len(set.union(*drawn)) == 49 and drawn[0] != drawn[1]
