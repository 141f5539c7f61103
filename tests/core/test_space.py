"""The search space: its size, its recipes, and what lies in it."""

from __future__ import annotations

from typing import Any

import pytest

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, Op, SearchSpace

STATIC = OpConfig("int8", "static", QuantSpec(granularity="per_channel"), QuantSpec("uint8", "asym"))
DYNAMIC = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym"))
ROWS, BATCHES = CalibrationSize(128), CalibrationSize(10, "batches")
SPACE = SearchSpace(
    {
        "a": Op("a", "linear", (STATIC, DYNAMIC, FLOAT32)),
        "b": Op("b", "linear", (DYNAMIC, FLOAT32)),
        "pinned": Op("pinned", "embedding", (FLOAT32,)),
    },
    (ROWS, BATCHES),
    {"smooth": (0.0, 0.7)},
)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (SPACE, 3 * 2 * 1 * 2 * 2),
        (SearchSpace(), 1),
        (SearchSpace({str(n): Op(str(n), "linear", (STATIC, FLOAT32)) for n in range(200)}), 2**200),
    ],
    ids=["all choices", "nothing", "huge"],
)
def test_the_size_is_the_exact_number_of_recipes(space: SearchSpace, size: int) -> None:
    """Ops, calibrations and transforms multiply."""
    assert space.size() == size


def test_what_is_not_named_takes_its_first_choice() -> None:
    """Candidates, calibrations and transforms are preferred in their order."""
    assert SPACE.recipe({}) == Recipe({"a": STATIC, "b": DYNAMIC, "pinned": FLOAT32}, "128 rows", {"smooth": 0.0})
    assert SPACE.recipe({"a": FLOAT32}, "10 batches", {"smooth": 0.7}) == Recipe(
        {"a": FLOAT32, "b": DYNAMIC, "pinned": FLOAT32}, "10 batches", {"smooth": 0.7}
    )
    assert SPACE.float_recipe().float_ops == ("a", "b", "pinned")


def test_model_wise_recipes_treat_all_ops_alike() -> None:
    """Each INT8 config goes to every op that allows it, for each calibration size, without repeats."""
    found = [(recipe.calibration, recipe.ops["a"], recipe.ops["b"]) for recipe in SPACE.model_wise()]

    assert found == [(str(size), config, DYNAMIC) for size in (ROWS, BATCHES) for config in (STATIC, DYNAMIC)]
    assert all(recipe in SPACE for recipe in SPACE.model_wise())


def test_model_wise_recipes_do_not_repeat() -> None:
    """Configs that no op may choose between lead to one recipe."""
    forced = SearchSpace({"a": Op("a", "linear", (STATIC,)), "b": Op("b", "linear", (DYNAMIC,))})

    assert list(forced.model_wise()) == [forced.recipe({})]


@pytest.mark.parametrize(
    ("recipe", "inside"),
    [
        pytest.param(SPACE.recipe({}), True, id="first choices"),
        pytest.param(SPACE.float_recipe(), True, id="float"),
        pytest.param(SPACE.recipe({"b": STATIC}), False, id="a config of another op"),
        pytest.param(SPACE.recipe({}, "64 rows"), False, id="another calibration"),
        pytest.param(SPACE.recipe({}, "", {"smooth": 0.5}), False, id="another strength"),
        pytest.param(SPACE.recipe({}, "", {"other": 1}), False, id="another transform"),
        pytest.param(Recipe({"a": STATIC}, "128 rows", {"smooth": 0.0}), False, id="an op is missing"),
        pytest.param("a", False, id="no recipe"),
    ],
)
def test_only_what_every_choice_allows_lies_in_the_space(recipe: object, inside: bool) -> None:
    """Op by op, with calibration and transforms."""
    assert (recipe in SPACE) is inside


@pytest.mark.parametrize(("name", "quantizable"), [("a", True), ("b", True), ("pinned", False)])
def test_an_op_knows_its_candidates(name: str, quantizable: bool) -> None:
    """It allows them and no other, and can be quantized where one is INT8."""
    op = SPACE.ops[name]

    assert all(op.allows(config) for config in op.candidates)
    assert not op.allows(OpConfig("bfloat16"))
    assert op.quantizable is quantizable


@pytest.mark.parametrize("name", ["ops", "transforms", "left_in_float"])
def test_a_space_cannot_be_changed(name: str) -> None:
    """A strategy is given the space that the run goes on with."""
    mapping: Any = getattr(SPACE, name)
    with pytest.raises(TypeError, match="does not support item assignment"):
        mapping["x"] = ()


def test_a_size_is_named_by_its_text() -> None:
    """As recipes and configurations do."""
    assert (str(ROWS), str(BATCHES)) == ("128 rows", "10 batches")
