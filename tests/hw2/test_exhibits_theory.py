"""What chapters 1 to 3 draw: the numbers in their figures, and how they are written."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import mpmath
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from hw2.attention import base_tokens, self_attention
from hw2.exhibits import attention, linear_attention, recurrence
from hw2.figures import scientific
from hw2.recurrence import run
from hw2.scaling import faster_from, fastest, ratios
from recorded import Tensors


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def heights(ax: Axes) -> list[list[Any]]:
    """The points of each line of a plot, their y."""
    return [np.asarray(line.get_ydata()).tolist() for line in ax.lines]


def measured(*rounds: tuple[list[float], list[float]]) -> Tensors:
    """Rounds of the seconds of ``linear`` and of ``quadratic``."""
    found = {}
    for name, seconds in zip(
        ("linear", "quadratic"), zip(*rounds, strict=True), strict=True
    ):
        n = len(seconds[0])
        found[f"{name}_tokens"] = torch.tensor([2**i for i in range(n)])
        found[f"{name}_seconds"] = torch.tensor(seconds)
        found[f"{name}_bytes"] = torch.ones(n)
    return found


@pytest.mark.parametrize(
    ("first", "second", "tokens"),
    [
        ([1, 1, 1, 9], [1, 1, 1, 9], 1),
        ([2, 1, 1, 9], [1, 1, 1, 9], 2),  # as fast is not faster
        ([1, 1, 1, 9], [1, 2, 1, 9], 4),  # in one round only
        ([1, 1, 1, 9], [8, 8, 8, 9], 1),  # a slow round, of both
        ([3, 1, 2, 1], [1, 1, 1, 1], None),
    ],
)
def test_from_where_on_linear_is_faster_in_every_round(
    first: list[float], second: list[float], tokens: int | None
) -> None:
    other = [16.0] * 3 if second[0] == 8 else [2.0] * 3
    found = measured((first, [2.0] * 3), (second, other))
    assert fastest(found, "linear").tolist() == np.minimum(first, second).tolist()
    assert ratios(found, "quadratic", "linear").tolist() == [
        pytest.approx(np.divide([2.0] * 3, first[:3])),
        pytest.approx(np.divide(other, second[:3])),
    ]
    if tokens:
        assert faster_from(found, "quadratic") == tokens
    else:
        with pytest.raises(ValueError, match="not faster than quadratic at 4"):
            faster_from(found, "quadratic")


def test_numbers_of_any_size() -> None:
    for number, text in (
        (0, "$0.0$"),
        (0.0456, "$0.0456$"),
        (1.0, "$1.00$"),
        (1e-5, r"$1.00 \cdot 10^{-5}$"),
        (mpmath.mpf(10) ** -4321 * 7, r"$7.00 \cdot 10^{-4321}$"),
    ):
        assert scientific(number) == text


def test_the_network_has_the_weights_of_the_assignment() -> None:
    (ax,) = recurrence.network().axes
    texts = [text.get_text() for text in ax.texts]
    assert [texts.count(f"${weight}$") for weight in (1, -1, 1000)] == [5, 6, 5]


def test_what_inputs_contribute_adds_up() -> None:
    inputs = [3, 1, 4]
    hidden, outputs = run(inputs)
    parts = [run(alone)[0] for alone in np.diag(inputs)]
    assert (np.sum(parts, axis=0) == hidden).all()
    (ax,) = recurrence.unrolled(inputs, hidden, outputs, parts).axes
    texts = [text.get_text() for text in ax.texts]
    for step in (["$+3$"], ["$-3$", "$+1$"], ["$+3$", "$-1$", "$+4$"]):
        total = f"${sum(int(text.strip('$')) for text in step)}$"
        assert [*step, total] in [
            texts[i : i + len(step) + 1] for i in range(len(texts))
        ]


def test_weights_are_written_in_their_cells() -> None:
    weights = [self_attention(base_tokens(norm))[0] for norm in (1.0, 3.0)]
    figure = attention.weight_maps((1, 3), weights)
    assert [ax.get_title() for ax in figure.axes] == [r"$\beta = 1$", r"$\beta = 3$"]
    for ax, matrix in zip(figure.axes, weights, strict=True):
        written = {text.get_position(): text.get_text() for text in ax.texts}
        for (i, j), weight in np.ndenumerate(matrix):
            assert written[(j, i)] == scientific(float(weight))
        np.testing.assert_array_equal(ax.images[0].get_array(), matrix)


def test_a_mixture_is_drawn_for_each_output() -> None:
    norms = np.array([0.5, 1.0, 2.0])
    W, Y = self_attention(base_tokens(1.0))
    distances = np.tile(np.linalg.norm(Y, axis=1), (3, 1))
    figure = attention.mixtures(
        norms, np.tile(W, (3, 1, 1)), distances, 2 * distances, [1.0, 1.2]
    )
    for i, ax in enumerate(figure.axes[2:]):
        expected = distances[:, i]
        assert heights(ax)[:2] == [expected.tolist(), (2 * expected).tolist()]


def test_matrices_are_drawn_to_scale_and_what_is_formed_is_grey() -> None:
    figure = linear_attention.bracketings(T=9, d=2, d_v=3)
    white = to_rgba("white")
    formed = []
    for ax in figure.axes:
        boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        shapes = [(box.get_height(), box.get_width()) for box in boxes]
        # Each product, before and after the first of its two steps, and its result.
        *left, last = shapes
        assert last == (9, 3)
        for chain in (left[:3], left[3:]):
            rows, columns = zip(*chain, strict=True)
            assert columns[:-1] == rows[1:] and (rows[0], columns[-1]) == (9, 3)
        formed += [
            shape
            for shape, box in zip(shapes, boxes, strict=True)
            if box.get_facecolor() != white
        ]
    assert formed == [(9, 9), (2, 3)]


def test_poles_are_left_out() -> None:
    plain = torch.tensor([1.0, 50.0, -2.0, -50.0])
    negative = torch.tensor([False, False, True, True])
    figure = linear_attention.positivity(torch.arange(4), plain, plain / 9, negative)
    positive, red, mapped = heights(figure.axes[0])
    assert mapped == (plain / 9).tolist()
    np.testing.assert_array_equal(positive, [1.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(red, [np.nan, np.nan, -2.0, np.nan])


def test_guides_have_the_slopes_one_and_two() -> None:
    seconds = [float(n + 1) for n in range(15)]
    found = measured((seconds, seconds))
    kinds = ("tokens", "seconds", "bytes")
    found |= {f"softmax_{what}": found[f"linear_{what}"] for what in kinds}
    for ax in linear_attention.times(found).axes:
        guides = [line for line in ax.lines if line.get_color() == "0.7"]
        for guide, slope in zip(guides, (2, 1), strict=True):
            x, y = np.log(guide.get_xydata()).T
            assert np.diff(y) / np.diff(x) == pytest.approx(slope)
