"""What looks into trained networks, on networks whose answers are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hw2
from hw2 import vit
from hw2.evaluation import seed_accuracies
from hw2.exhibits.vit import commonest, extremes, sides
from hw2.figures import source_of
from hw2.vit.inspection import (
    Classified,
    ablation_accuracies,
    classified,
    epoch_losses,
    flops,
    minutes,
    most_confident_errors,
    position_similarity,
    rollout,
    shifted_accuracies,
)
from recorded import read

SMALL = vit.Config(layers=2, width=16, mlp=32)


def test_the_runs_answers_meet_their_scores() -> None:
    run = read(hw2.RECORDS / "vit-small")
    logits, labels = run.predictions["logits"], run.predictions["labels"]
    by_seed = seed_accuracies(logits.argmax(dim=2), labels)
    assert by_seed.mean() == pytest.approx(run.scores["accuracy"].value)

    of = classified(run)
    assert of.right.double().mean().item() == pytest.approx(by_seed[0])
    given = logits[0].double().softmax(dim=1)[range(len(labels)), of.classes]
    torch.testing.assert_close(of.probability.double(), given, atol=1e-5, rtol=0)

    shifted = shifted_accuracies(run)
    assert shifted.shape == (4,) and shifted[0] == pytest.approx(by_seed[0])
    assert (np.diff(shifted) < 0).all()


def test_an_ablations_accuracies_are_its_scores() -> None:
    run = read(hw2.RECORDS / "vit-ablation")
    accuracies = ablation_accuracies(run)
    assert list(accuracies) == list(vit.STUDIES["vit-ablation"].changes)
    for name, each in accuracies.items():
        assert each.shape == (3,)
        assert each.mean() == pytest.approx(run.scores[name].value)


def test_the_most_confident_error_is_first() -> None:
    right = torch.tensor([True, False, False, False])
    of = Classified(torch.zeros(4), torch.tensor([0.99, 0.5, 0.9, 0.7]), right)
    assert most_confident_errors(of, 2).tolist() == [2, 3]


def test_shares_add_to_1() -> None:
    torch.manual_seed(0)
    shares = rollout(vit.ViT(SMALL), torch.rand(3, 1, 28, 28))
    assert shares.shape == (3, 49) and (shares > 0).all()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))


def test_uniform_attention_takes_as_much_of_each_patch() -> None:
    model = vit.ViT(SMALL)
    for block in model.blocks:
        assert isinstance(block, vit.Block)
        torch.nn.init.zeros_(block.attention.qkv.weight)  # all scores are equal
        torch.nn.init.zeros_(block.attention.qkv.bias)
    shares = rollout(model, torch.rand(2, 1, 28, 28))
    torch.testing.assert_close(shares, torch.full((2, 49), 1 / 49))


def test_the_layers_are_followed_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = vit.ViT(SMALL)
    for block, patch in zip(model.blocks, (5, 8), strict=True):
        weights = torch.zeros(1, 4, 49, 49)
        weights[..., patch] = 1  # all tokens look at this patch alone

        def attend(x: Tensor, weights: Tensor = weights) -> tuple[Tensor, Tensor]:
            return weights, torch.zeros(1, 4, 49, 4)

        monkeypatch.setattr(block.attention, "attend", attend)
    (shares,) = rollout(model, torch.rand(1, 1, 28, 28))
    # The last layer looks at token 8, of which one half is already patch 5.
    expected = torch.full((49,), 1 / 4 / 49)
    expected[5] += 1 / 2
    expected[8] += 1 / 4
    torch.testing.assert_close(shares, expected)


def test_mirrored_positions_are_told_from_near_ones() -> None:
    place = torch.arange(49)
    row, column = place // 7, place % 7
    same_row = torch.nn.functional.one_hot(row)
    same_depth = torch.nn.functional.one_hot(torch.minimum(column, 6 - column))
    vectors = (same_row[:, :, None] * same_depth[:, None]).flatten(1).float()
    of = position_similarity(3 * vectors)
    assert of.mirrored == pytest.approx(1)
    assert list(of.by_distance) == list(range(1, 13))
    assert all(cosine == 0 for cosine in of.by_distance.values())
    torch.testing.assert_close(of.cosines, vectors @ vectors.T)


def test_positions_are_compared_by_their_steps() -> None:
    # A square of two: a row at 0 and 0 degrees above one at 10 and 30.
    angle = torch.deg2rad(torch.tensor([0.0, 0.0, 10.0, 30.0]))
    of = position_similarity(torch.stack([angle.cos(), angle.sin()], dim=1))
    ten, twenty, thirty = np.cos(np.deg2rad([10, 20, 30]))
    assert of.mirrored == pytest.approx((1 + twenty) / 2, abs=1e-6)
    assert of.by_distance[1] == pytest.approx((ten + thirty) / 2, abs=1e-6)
    assert of.by_distance[2] == pytest.approx((ten + thirty) / 2, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 48])
def test_positions_of_no_square_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} positions"):
        position_similarity(torch.rand(count, 8))


def test_operations_are_those_by_hand() -> None:
    width, mlp, tokens = SMALL.width, SMALL.mlp, 49
    layer = tokens * (4 * width**2 + 2 * width * mlp) + 2 * tokens**2 * width
    ends = tokens * 16 * width + 10 * width
    assert flops(vit.ViT(SMALL)) == 2 * (SMALL.layers * layer + ends)
    assert flops(vit.Dense(SMALL)) == 2 * (784 * width + width**2 + 10 * width)


def test_times_are_means_over_the_seeds() -> None:
    assert minutes({"seconds": torch.tensor([[60.0, 120.0], [120.0, 240.0]])}) == 3


def test_losses_are_means_over_an_epoch() -> None:
    losses = torch.tensor([4, 3, 2, 1, 1, 0], dtype=torch.float16)
    history = {"losses": losses, "seconds": torch.tensor([1.0, 2.0])}
    assert epoch_losses(history).tolist() == pytest.approx([3, 2 / 3])


def test_changes_are_on_one_side_of_chance_or_within_it() -> None:
    means = {"nothing": 0.5, "up": 0.6, "down": 0.4, "little": 0.51, "less": 0.49}
    accuracies = {name: np.array([mean, mean]) for name, mean in means.items()}
    assert sides(accuracies, 0.05) == ("up", "down", "little; less")
    assert sides(accuracies, 0.2) == ("none", "none", "up; down; little; less")


def test_extremes_are_named() -> None:
    counts = torch.tensor([[8, 2, 0], [3, 6, 1], [0, 0, 10]])
    names = ("bag", "coat", "boot")
    assert extremes(counts, names) == (
        "coat (60.0% correct)",
        "boot (100.0% correct)",
    )
    assert commonest(counts, names, 2) == "coat as bag (3), bag as coat (2)"


def test_the_runs_that_are_shown_are_those_that_run() -> None:
    shown = source_of(vit.config, "SMALL", "DENSE", "RUNS").data
    code = shown.removeprefix("```python\n").removesuffix("\n```")
    names: dict[str, Any] = {"Config": vit.Config, "replace": replace}
    exec(code, names)
    assert code.startswith("SMALL = Config(") and names["RUNS"] == vit.RUNS
    with pytest.raises(ValueError, match=r"hw2\.vit\.config has no WALKS"):
        source_of(vit.config, "WALKS")
