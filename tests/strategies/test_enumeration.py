"""Recipes by number."""

from __future__ import annotations

import pytest

from ilit.testing import SPACES, STATIC, synthetic_space
from ilit_strategies.enumeration import is_float_model, recipe_at, worth_trying


@pytest.mark.parametrize("name", SPACES)
def test_every_number_is_another_recipe_of_the_space(name: str) -> None:
    """Counting from 0 to size - 1 reaches every recipe of the space exactly once."""
    space = SPACES[name]

    recipes = [recipe_at(space, number) for number in range(space.size())]

    assert all(recipe in space for recipe in recipes)
    assert len({recipe.digest for recipe in recipes}) == space.size()


def test_the_first_recipe_is_preferred_throughout() -> None:
    """Number 0 takes the first candidate, calibration size and transform of each."""
    space = SPACES["calibrations-and-transforms"]

    assert recipe_at(space, 0) == space.recipe({})


@pytest.mark.parametrize("number", [-1, 108], ids=["negative", "size"])
def test_a_number_outside_is_refused(number: int) -> None:
    """A number that names no recipe is an error that says which numbers do."""
    with pytest.raises(IndexError, match=rf"recipe number {number} is not in 0\.\.107"):
        recipe_at(SPACES["calibrations-and-transforms"], number)


@pytest.mark.parametrize("name", SPACES)
def test_worth_trying_leaves_out_exactly_the_float_models(name: str) -> None:
    """The count announced is the number of recipes with some op not in float32."""
    space = SPACES[name]
    recipes = [recipe_at(space, number) for number in range(space.size())]

    assert worth_trying(space) == sum(not is_float_model(recipe) for recipe in recipes)


def test_sizes_beyond_64_bits_are_exact() -> None:
    """Three candidates for each of 200 ops: 3**200 recipes, one of them float32's."""
    space = synthetic_space(200)

    assert space.size() == 3**200
    assert worth_trying(space) == 3**200 - 1
    assert recipe_at(space, 0).ops["layer.0"] == STATIC
    assert is_float_model(recipe_at(space, 3**200 - 1))
