"""Public code beside this project's: the same results, times in turn, and tables."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hw2.exhibits import peers as exhibits
from hw2.linear_attention import causal, linear
from hw2.peers import (
    ATTENTIONS,
    NETWORKS,
    RUNS,
    WAYS,
    MissingPeers,
    Peers,
    Unequal,
    attention,
    config,
    experiment,
    steps,
    typical,
)
from hw2.peers.attention import both_ways, mapped, masked, products
from hw2.peers.config import check, lengths, versions
from hw2.peers.experiment import score, seconds, timed
from hw2.peers.networks import SIMPLE_VIT, carry, drawn, renamed, simple_vit, timm_vit
from hw2.scaling import features
from hw2.vit import Config
from recorded import Checkpoint, Fingerprint, Run

SMALL = Peers(batch=3, layers=2, steps=1, first=4, last=6, d=8, rounds=2)
SIZE = Config(layers=2)


# Without the peers


def test_a_missing_peer_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "PACKAGES", ("torch", "no-such-vit"))
    with pytest.raises(MissingPeers, match=r"no-such-vit .* requirements-bench\.txt"):
        experiment(SMALL, Checkpoint())


@pytest.mark.parametrize(
    ("given", "fails"),
    [
        ([1.0, -10.0], False),
        ([1.0009, -10.0], False),
        ([1.0011, -10.0], True),
        ([1.0, math.nan], True),
        ([1.0, math.inf], True),
    ],
)
def test_results_differ_by_a_fraction_of_the_largest(
    given: list[float], fails: bool
) -> None:
    wanted = torch.tensor([1.0, -10.0])
    if fails:
        with pytest.raises(Unequal, match=r"some peer is off by .* at most 0\.0001"):
            check("some peer", torch.tensor(given), wanted)
    else:
        check("some peer", torch.tensor(given), wanted)


def test_the_drawn_network_is_a_function_of_the_seed_and_of_all_its_weights() -> None:
    model = drawn(SIZE, seed=1)
    again, other = drawn(SIZE, seed=1), drawn(SIZE, seed=2)
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(images), again(images))
    assert not torch.equal(model(images), other(images))
    model(images).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-5, name
    for name, parameter in model.named_parameters():
        assert parameter.any() or name.endswith(("qkv.bias", "out.bias")), name


def test_weights_are_renamed_by_their_module() -> None:
    assert renamed("positions", SIMPLE_VIT) == "pos_embedding"
    assert renamed("blocks.11.mlp.2.bias", SIMPLE_VIT) == (
        "transformer.layers.11.1.net.3.bias"
    )
    for unknown in ("normal.weight", "blocks.1.mlp.1.bias", "blocks.norm1.weight"):
        with pytest.raises(KeyError):
            renamed(unknown, SIMPLE_VIT)


def test_the_forms_of_attention_agree() -> None:
    q, k, v = features(7, 5)
    torch.testing.assert_close(causal(q, k, v), masked(q, k, v))
    normaliser = q @ k.sum(0)[:, None]
    torch.testing.assert_close(products(q, k, v) / normaliser, linear(q, k, v))
    # The normaliser of Shen et al.'s features is 1.
    wanted = q.softmax(1) @ (k.softmax(0).T @ v)
    torch.testing.assert_close(mapped(q, k, v), wanted)


def test_a_pass_has_the_outputs_and_three_gradients() -> None:
    q, k, v = (part.requires_grad_() for part in features(4, 3))
    direction = torch.randn(4, 3, dtype=torch.double)
    y, *gradients = both_ways(products, (q, k, v), direction)
    torch.testing.assert_close(y, q @ k.T @ v)
    assert not y.requires_grad
    wanted = (direction @ (v.T @ k), v @ (direction.T @ q), k @ (q.T @ direction))
    for given, each in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(given, each)


def test_a_step_goes_down_the_loss_in_either_precision() -> None:
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    for bf16 in (False, True):
        model = drawn(SIZE, seed=0)
        loss = nn.functional.cross_entropy(model(images), labels).item()
        step = steps.training_step(model, images, labels, bf16)
        for _ in range(5):
            step()
        assert nn.functional.cross_entropy(model(images), labels) < 0.9 * loss
        assert all(p.grad is None for p in model.parameters())
        logits = steps.classify(model, images, bf16)
        assert logits.dtype == torch.float32
        assert torch.equal(logits, model(images)) is not bf16


def test_seconds_are_a_mean_after_a_call_that_does_not_count() -> None:
    done: list[int] = []
    seconds(lambda: done.append(1), number=5)
    assert len(done) == 6


def test_rounds_take_each_in_turn_and_go_on(tmp_path: Path) -> None:
    order: list[str] = []

    def noted(text: str) -> Callable[[], None]:
        return lambda: order.append(text)

    contestants = {name: [noted(name + "1"), noted(name + "2")] for name in "ab"}
    given = timed("some", contestants, [1, 2], 2, Checkpoint(tmp_path))
    one = ["a1"] * 2 + ["b1"] * 2 + ["a2"] * 3 + ["b2"] * 3
    assert order == 2 * one
    assert given.keys() == {"some a", "some b"}
    assert all(times.shape == (2, 2) and (times > 0).all() for times in given.values())
    longer = timed("some", contestants, [1, 2], 3, Checkpoint(tmp_path))
    assert order == 3 * one
    assert torch.equal(longer["some a"][:2], given["some a"])


def measured() -> dict[str, Tensor]:
    """Times that double from one contestant to the next, and rounds that are slow."""
    rounds = torch.tensor([[1.0], [9.0], [1.0]], dtype=torch.double)
    found = {"tokens": torch.tensor([16, 32])}
    for n, name in enumerate(NETWORKS):
        ways = torch.tensor([3.0, 2.0, 1.0], dtype=torch.double)
        found[f"step {name}"] = rounds * ways * 2**n / 1000
    for n, name in enumerate(ATTENTIONS):
        found[f"pass {name}"] = rounds * torch.tensor([5.0, 1.0]) * 2**n / 1000
    return found


def test_the_scores_are_ratios_of_medians() -> None:
    given = score(measured())
    assert {name: score.value for name, score in given.items()} == {
        "step": 1 / 2,  # by that of vit-pytorch
        "linear": 4 / 8,
        "products": 2,
        "causal": 16 / 2,
    }
    assert typical(measured(), "pass linear").tolist() == [0.01, 0.002]


def test_the_tables() -> None:
    now = Fingerprint("experiment", {}, {}, {})
    run = Run("peers", now, "", 0, "", {}, {}, {}, measured(), {}, {})
    rows = str(exhibits.steps(run).data).splitlines()
    assert len(rows) == 2 + len(NETWORKS) and all(way in rows[0] for way in WAYS)
    assert rows[2] == "| this project | 3 (3 to 15) | 2 (2 to 10) | 1 (1 to 5) |"
    rows = str(exhibits.attention(run).data).splitlines()
    assert len(rows) == 4
    assert rows[3] == "| 32 | 1.00 | 2.00 | 4.00 | 8.00 | 16.00 | 32.00 |"


def test_the_recorded_run_takes_the_sizes_of_problem_4_and_long_sequences() -> None:
    (run,) = RUNS.values()
    assert (run.batch, run.layers) == (128, Config().layers)
    assert lengths(run) == [128, 256, 512, 1024, 2048, 4096, 8192]


# With them


def test_the_networks_compute_the_same_and_a_changed_weight_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("vit_pytorch")
    pytest.importorskip("timm")
    calls = steps.steps(SMALL)
    assert [*calls] == [*NETWORKS] and all(len(row) == 3 for row in calls.values())
    every = steps.networks(SMALL)
    for name in NETWORKS[1:]:
        changed = dict(every)
        list(changed[name].parameters())[-3].data[0] += 0.1
        monkeypatch.setattr(steps, "networks", lambda config, of=changed: of)
        with pytest.raises(Unequal, match=f"^{name} is off"):
            steps.steps(SMALL)
        every = {n: each for n, each in every.items() if n != name}


def test_no_weight_is_left_behind() -> None:
    pytest.importorskip("vit_pytorch")
    pytest.importorskip("timm")
    model = drawn(SIZE, seed=0)
    simple = simple_vit(model, SIZE)
    timm = timm_vit(model, SIZE)
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in timm.parameters()) == count
    biases = SIZE.layers * (3 + 1) * SIZE.width
    assert sum(p.numel() for p in simple.parameters()) == count - biases
    with torch.no_grad():
        model.get_parameter("blocks.1.attention.out.bias")[3] = 1
    with pytest.raises(ValueError, match=r"no transformer\.layers\.1\.0\.to_out\.bias"):
        simple_vit(model, SIZE)
    with pytest.raises(RuntimeError, match="Missing key"):
        carry(drawn(replace(SIZE, layers=1), 0), simple, SIMPLE_VIT)


def test_attention_that_is_not_the_public_one_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("linear_attention_transformer")
    calls = attention.passes(SMALL)
    assert [*calls] == [*ATTENTIONS] and all(len(row) == 3 for row in calls.values())
    every = attention.attentions()
    for name, wrong, says in (
        ("public", every["linear"], "linear-attention-transformer is off"),
        ("causal", every["linear"], "causal is off"),
    ):
        changed = every | {name: wrong}
        monkeypatch.setattr(attention, "attentions", lambda of=changed: of)
        with pytest.raises(Unequal, match=says):
            attention.passes(SMALL)


def test_the_run_is_whole() -> None:
    for package in ("vit_pytorch", "timm", "linear_attention_transformer"):
        pytest.importorskip(package)
    outcome = experiment(SMALL, Checkpoint())
    assert outcome.metrics["peers"] == versions()
    found = outcome.predictions
    assert found["tokens"].tolist() == [16, 32, 64]
    for stage, names in (("step", NETWORKS), ("pass", ATTENTIONS)):
        for name in names:
            assert found[f"{stage} {name}"].shape == (2, 3)
    assert all(one.value > 0 for one in score(found).values())
