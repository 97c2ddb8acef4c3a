"""The options of problem 5, its recipes and the changes of them that are compared."""

from dataclasses import replace
from typing import Any

import pytest

from hw2 import sentiment
from hw2.runs import RUNS
from hw2.sentiment import Config, config
from hw2.sentiment.config import FINETUNED, FROZEN, GAP, NOTEBOOK, PADDING, SEARCHES
from hw2.sentiment.experiments import compare, search
from hw2.study import Study
from small_sentiment import SMALL

STUDIES = {"sentiment-gap": GAP} | SEARCHES
PARTS = ("train_size", "valid_size", "test_size")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_tokens", 513, "max_tokens is 513, expected 3 to 512"),
        ("max_tokens", 2, "max_tokens is 2, expected 3 to 512"),
        ("head", "mlp", "head is 'mlp', expected 'gru' or 'cnn'"),
        ("train_size", 0, "train_size is 0, expected an even number above 0"),
        ("valid_size", -2, "valid_size is -2, expected an even number above 0"),
        ("test_size", 25, "test_size is 25, expected an even number above 0"),
        ("layer", 0, "layer is 0, expected 1 or more"),
        ("batch", 0, "batch is 0, expected 1 or more"),
        ("epochs", 0, "epochs is 0, expected 1 or more"),
        ("seeds", 0, "seeds is 0, expected 1 or more"),
        ("rank", -1, "rank is -1 and frozen is 0, expected 0 or more"),
        ("frozen", -1, "rank is 0 and frozen is -1, expected 0 or more"),
        ("frozen", 6, "frozen is 6, expected 0 or more, and frozen below 6"),
        ("averaging", 1.0, "averaging is 1.0 and agreement is 0.0, expected 0 or more"),
        ("averaging", -0.1, "averaging is -0.1 and agreement is 0.0, expected"),
        ("agreement", -1.0, "averaging is 0.0 and agreement is -1.0, expected"),
    ],
)
def test_config_refuses(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **{field: value})


def test_the_bounds_are_options() -> None:
    replace(SMALL, max_tokens=3, train_size=2, frozen=5, averaging=0.999)
    replace(SMALL, max_tokens=512, layer=1, batch=1, epochs=1, agreement=0.0)


def test_the_recipes_train_what_they_are_named_for() -> None:
    assert Config(seeds=3) == NOTEBOOK
    assert FROZEN.rank == 0 < FINETUNED.rank
    assert {of.seeds for of in sentiment.RUNS.values()} == {3}
    recipes = (*sentiment.RUNS.values(), *sentiment.LARGE.values())
    sizes = {tuple(getattr(of, part) for part in PARTS) for of in recipes}
    assert sizes == {(17_500, 7_500, 25_000)}


@pytest.mark.parametrize("name", STUDIES)
def test_the_changes_of_a_study_are_options(name: str) -> None:
    """Each changes something, and no two do the same."""
    study = STUDIES[name]
    recipes = dict(study.recipes())
    assert list(recipes) == list(study.changes)
    assert recipes.pop("nothing", study.recipe) == study.recipe
    assert len({*recipes.values(), study.recipe}) == len(recipes) + 1
    # Of the encoder there are six layers.
    assert all(of.layer <= 6 for of in recipes.values())


def test_an_unknown_option_is_refused() -> None:
    study = Study(SMALL, {"more": {"heads": 2}})
    with pytest.raises(TypeError, match="heads"):
        list(study.recipes())


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("sentiment-search", FROZEN), ("sentiment-search-finetuned", FINETUNED)],
)
def test_a_search_has_the_recipe_of_the_run_on_fewer_reviews(
    name: str, recipe: Config
) -> None:
    study = SEARCHES[name]
    assert next(iter(study.changes)) == "nothing"  # what the others are compared with
    sizes = {part: getattr(study.recipe, part) for part in PARTS}
    assert replace(recipe, **sizes) == study.recipe
    assert sizes["train_size"] < recipe.train_size
    # All of them are drawn from the training half of IMDB.
    assert sizes["train_size"] + sizes["valid_size"] <= 25_000
    assert RUNS[name] == (search, study)


def test_the_gap_is_between_the_cells_of_two_by_two() -> None:
    assert GAP.recipe == NOTEBOOK and GAP.seeds == NOTEBOOK.seeds
    cells = [NOTEBOOK, *(recipe for _, recipe in GAP.recipes())]
    assert {(of.layer, of.head) for of in cells} == {
        (layer, head) for layer in (6, 3) for head in ("gru", "cnn")
    }
    for of in cells:
        assert replace(of, layer=NOTEBOOK.layer, head=NOTEBOOK.head) == NOTEBOOK
    for name, of in GAP.recipes():
        assert name == f"layer {of.layer}, {HEADS[of.head]}"
    assert RUNS["sentiment-gap"] == (compare, GAP)


HEADS = {"gru": "GRU", "cnn": "convolution"}


def test_padding_is_read_in_batches_of_any_length() -> None:
    recipe = PADDING.recipe
    assert not recipe.by_length
    reading = ("by_length", "batch", *PARTS)
    assert replace(recipe, **{of: getattr(NOTEBOOK, of) for of in reading}) == NOTEBOOK
    assert 0 < PADDING.short < recipe.max_tokens


def test_the_study_of_padding_takes_about_as_many_steps_as_the_notebook() -> None:
    recipe = PADDING.recipe
    assert tuple(getattr(recipe, part) for part in PARTS) == (5_000, 1_000, 2_000)
    steps = [of.train_size / of.batch for of in (recipe, NOTEBOOK)]
    assert steps[0] == pytest.approx(steps[1], rel=0.2)


def test_the_speed_is_that_of_the_same_reviews() -> None:
    """An epoch has several batches, and a step fits in them."""
    speed = config.SPEED
    assert speed.batch < speed.epoch_reviews and speed.epoch_tokens == 512
    assert speed.step_reviews <= speed.epoch_reviews
    assert speed.batch == NOTEBOOK.batch
