"""Model-wise recipes by probe."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, SearchSpace
from ilit.strategy import ProbeOutcome
from ilit.testing.strategies import DYNAMIC, SPACES, STATIC, STATIC_KL, WEIGHT_ONLY, synthetic_space
from ilit_strategies.candidates import Candidate, candidates, model_wide_variants, neighbours

THREE = synthetic_space({"a": (STATIC, STATIC_KL, DYNAMIC, FLOAT32), "b": (STATIC, STATIC_KL, DYNAMIC, FLOAT32)})


def run(space: SearchSpace, limit: int, distance: Callable[[Recipe], float]) -> tuple[list[Candidate], int]:
    """Return the candidates and how many recipes were probed."""
    steps: Any = candidates(space, limit)
    probed, reply = 0, None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as end:
            return end.value, probed
        probed += len(request)
        reply = tuple(ProbeOutcome(distance(probe.recipe)) for probe in request)


@pytest.mark.parametrize(
    ("distances", "order"),
    [
        ((0.3, 0.2, 0.1), [DYNAMIC, STATIC_KL, STATIC]),
        ((0.11, 0.10, 0.2), [STATIC, STATIC_KL, DYNAMIC]),
        ((math.inf, math.nan, 0.1), [DYNAMIC, STATIC, STATIC_KL]),
        ((math.inf, math.inf, math.inf), [STATIC, STATIC_KL, DYNAMIC]),
        ((0.0, 0.0, 0.0), [STATIC, STATIC_KL, DYNAMIC]),
        ((0.5, 0.0, 0.1), [STATIC_KL, DYNAMIC, STATIC]),
    ],
    ids=["closest-first", "alike-keep-preference", "failed-last", "all-failed", "all-exact", "one-exact"],
)
def test_order(distances: tuple[float, ...], order: list[Any]) -> None:
    """The closest comes first; what differs by less than rows do keeps the space's preference."""
    by_config = dict(zip((STATIC, STATIC_KL, DYNAMIC), distances, strict=True))

    found, probed = run(THREE, 16, lambda recipe: by_config[recipe.ops["a"]])

    assert [candidate.recipe.ops["a"] for candidate in found] == order
    assert probed == 3


def test_the_limit_keeps_the_preferred_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Recipes left out by the limit are mentioned in the log."""
    with caplog.at_level(logging.INFO):
        found, probed = run(THREE, 2, lambda _: 0.1)

    assert [candidate.recipe.ops["a"] for candidate in found] == [STATIC, STATIC_KL, DYNAMIC]
    assert probed == 3
    assert "2 of 3 model-wise recipes are probed" in caplog.text


def test_the_descent_goes_on_around_the_closest() -> None:
    """What is best in two parts at once is found, though the first round varies one at a time."""
    specs = [
        QuantSpec("uint8", "asym", algorithm=algorithm, bits=bits) for algorithm in ("minmax", "kl") for bits in (8, 7)
    ]
    configs = [OpConfig("int8", approach, STATIC.weight, spec) for approach in ("static", "dynamic") for spec in specs]
    space = synthetic_space(dict.fromkeys("abc", (*configs, FLOAT32)))

    def distance(recipe: Recipe) -> float:
        config = recipe.ops["a"]
        return 1.0 / (1 + 3 * (config.approach == "dynamic") + (config.activation.algorithm == "kl"))

    found, probed = run(space, 16, distance)

    assert (found[0].recipe.ops["a"].approach, found[0].recipe.ops["a"].activation.algorithm) == ("dynamic", "kl")
    assert probed < len(configs)


def test_transforms_and_calibration_sizes_are_varied_on_the_closest_recipe() -> None:
    """A smoothing strength that helps wins, though the preferred recipe takes the first value."""
    space = SPACES["calibrations-and-transforms"]

    found, _ = run(space, 16, lambda recipe: 0.1 if recipe.transforms["smooth"] == 0.7 else 0.5)

    assert found[0].recipe.transforms == {"smooth": 0.7, "bias": True}
    assert {candidate.recipe.calibration for candidate in found} == {"10 batches", "50 batches"}
    assert all(candidate.recipe in space for candidate in found)


def test_model_wide_variants_differ_in_one_choice() -> None:
    """Each variant changes one transform or the calibration size and nothing else."""
    sizes = (CalibrationSize(10), CalibrationSize(50))
    space = synthetic_space(1, sizes, {"smooth": (0.0, 0.7, 0.9), "bias": (False, True)})

    variants = model_wide_variants(space, space.recipe({}))

    assert [(variant.calibration, dict(variant.transforms)) for variant in variants] == [
        ("10 rows", {"smooth": 0.7, "bias": False}),
        ("10 rows", {"smooth": 0.9, "bias": False}),
        ("10 rows", {"smooth": 0.0, "bias": True}),
        ("50 rows", {"smooth": 0.0, "bias": False}),
    ]


def test_ops_of_other_kinds_keep_what_they_have() -> None:
    """A config goes to every op that allows it; an embedding stays weight-only beside dynamic linears."""
    space = SPACES["mixed-kinds"]

    recipes = neighbours(space, space.recipe({}))

    assert all(recipe in space for recipe in recipes)
    assert [recipe.ops["embedding"] for recipe in recipes] == [WEIGHT_ONLY] * len(recipes)
    assert DYNAMIC in [recipe.ops["first"] for recipe in recipes]


@pytest.mark.parametrize("name", ["nothing", "only-float"])
def test_a_space_without_int8_has_no_candidates(name: str) -> None:
    """Nothing is probed where nothing can be quantized."""
    assert run(SPACES[name], 16, lambda _: 0.0) == ([], 0)
