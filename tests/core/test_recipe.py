"""Recipes: frozen values with one canonical JSON, read back to an equal value."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe

STATIC = OpConfig("int8", "static", QuantSpec(granularity="per_channel"), QuantSpec("uint8", "asym"), smoothing=0.7)
WEIGHT_ONLY = OpConfig("int8", "weight_only", QuantSpec())
BFLOAT16 = OpConfig("bfloat16")
RECIPE = Recipe({"a": STATIC, "b": FLOAT32, "c": BFLOAT16}, "128 rows", {"bias_correction": True})


@pytest.mark.parametrize(
    ("config", "keys", "text"),
    [
        (FLOAT32, {"dtype"}, "float32"),
        (BFLOAT16, {"dtype"}, "bfloat16"),
        (
            WEIGHT_ONLY,
            {"dtype", "approach", "weight"},
            "weight_only [weight int8:8 sym per_tensor minmax] [activation None]",
        ),
        (
            STATIC,
            {"dtype", "approach", "weight", "activation", "smoothing"},
            "static [weight int8:8 sym per_channel minmax] [activation uint8:8 asym per_tensor minmax] smoothing 0.7",
        ),
    ],
    ids=["float32", "bfloat16", "weight only", "static"],
)
def test_a_config_is_read_back_and_leaves_absent_parts_out(config: OpConfig, keys: set[str], text: str) -> None:
    """Through JSON text; its own text says all of it."""
    written = json.loads(json.dumps(config.to_json()))

    assert OpConfig.from_json(written) == config
    assert set(written) == keys
    assert str(config) == text
    assert config.quantized == (config.dtype == "int8")


def test_a_key_of_a_newer_config_is_refused() -> None:
    """A newer format is never half read."""
    with pytest.raises(TypeError, match="sparsity"):
        OpConfig.from_json({"dtype": "int8", "sparsity": 0.5})


def test_a_recipe_is_read_back() -> None:
    """Through JSON text and through pickle, with the digest."""
    for again in (Recipe.from_json(json.loads(json.dumps(RECIPE.to_json()))), pickle.loads(pickle.dumps(RECIPE))):  # noqa: S301 - our own bytes
        assert again == RECIPE
        assert (again.digest, hash(again)) == (RECIPE.digest, hash(RECIPE))
        assert list(again.ops) == ["a", "b", "c"]


def test_a_recipe_of_a_newer_format_is_refused() -> None:
    """The version is said."""
    with pytest.raises(ValueError, match="recipe format version 2 is not 1, the one this ilit reads"):
        Recipe.from_json({**RECIPE.to_json(), "version": 2})


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        pytest.param(
            Recipe({"c": BFLOAT16, "b": FLOAT32, "a": STATIC}, "128 rows", RECIPE.transforms), True, id="order"
        ),
        pytest.param(Recipe(RECIPE.ops, "10 rows", RECIPE.transforms), False, id="calibration"),
        pytest.param(Recipe(RECIPE.ops, "128 rows"), False, id="transforms"),
        pytest.param(RECIPE.in_float(["a"]), False, id="config"),
        pytest.param(RECIPE.digest, False, id="no recipe"),
    ],
)
def test_recipes_are_equal_where_their_content_is(other: Any, equal: bool) -> None:
    """Whatever the order of their ops."""
    assert (other == RECIPE) is equal


def test_a_recipe_does_not_change_with_what_it_was_made_of() -> None:
    """Its mappings are copies, and read-only."""
    given = {"a": STATIC}
    recipe: Any = Recipe(given)
    given["a"] = FLOAT32

    assert recipe.ops == {"a": STATIC}
    for mapping in (recipe.ops, recipe.transforms):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["a"] = FLOAT32


def test_ops_are_changed_by_name() -> None:
    """All else stays, and an unknown name is refused."""
    changed = RECIPE.with_ops({"b": WEIGHT_ONLY})

    assert changed.ops == {"a": STATIC, "b": WEIGHT_ONLY, "c": BFLOAT16}
    assert (changed.calibration, changed.transforms) == (RECIPE.calibration, RECIPE.transforms)
    assert (changed.quantized_ops, changed.float_ops) == (("a", "b"), ("c",))
    assert RECIPE.in_float(["a", "c"]).float_ops == ("a", "b", "c")
    with pytest.raises(KeyError, match="the recipe has no op 'x'"):
        RECIPE.with_ops({"b": FLOAT32, "x": FLOAT32})
