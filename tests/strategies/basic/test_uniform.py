"""Which recipes of the model as a whole to evaluate, by probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, SearchSpace
from ilit.strategy import DistanceOutcome, DistanceProbe, OpErrorOutcome
from ilit.testing import SMOOTHED, SMOOTHED_MORE, SPACES, STATIC, STATIC_KL, synthetic_space
from ilit_strategies.basic.estimates import Candidate
from ilit_strategies.basic.thresholds import FAR_DISTANCE
from ilit_strategies.basic.uniform import calibration_variants, candidates, transform_variants

OPS = synthetic_space(dict.fromkeys("ab", (STATIC, SMOOTHED, SMOOTHED_MORE, FLOAT32)))


def run(
    space: SearchSpace,
    limit: int,
    distance: Callable[[Recipe], float],
    error: Callable[[OpConfig, str], float] = lambda config, name: 1.0,
    near: float = 0.0,
) -> tuple[list[Candidate], list[Recipe]]:
    """Return the candidates and what was probed with the whole model; ``error`` is an op's own, by config and name."""
    steps: Any = candidates(space, limit, near)
    probed, reply = list[Recipe](), None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as end:
            return end.value, probed
        probed += [probe.recipe for probe in request if isinstance(probe, DistanceProbe)]
        reply = tuple(
            DistanceOutcome(distance(probe.recipe))
            if isinstance(probe, DistanceProbe)
            else OpErrorOutcome({name: error(config, name) for name, config in probe.recipe.ops.items()})
            for probe in request
        )


@pytest.mark.parametrize(
    ("distances", "order"),
    [
        ((0.003, 0.002, 0.001), [SMOOTHED_MORE, SMOOTHED, STATIC]),
        ((0.0011, 0.001, 0.002), [STATIC, SMOOTHED, SMOOTHED_MORE]),
        ((math.inf, math.nan, 0.001), [SMOOTHED_MORE, STATIC, SMOOTHED]),
        ((math.inf, math.inf, math.inf), [STATIC, SMOOTHED, SMOOTHED_MORE]),
        ((0.0, 0.0, 0.0), [STATIC, SMOOTHED, SMOOTHED_MORE]),
        ((0.005, 0.0, 0.001), [SMOOTHED, SMOOTHED_MORE, STATIC]),
    ],
    ids=["closest-first", "alike-keep-their-order", "failed-last", "all-failed", "all-exact", "one-exact"],
)
def test_order(distances: tuple[float, ...], order: list[Any]) -> None:
    """The closest comes first; what differs by less than rows do keeps the order in which it was thought of."""
    by_config = dict(zip((STATIC, SMOOTHED, SMOOTHED_MORE), distances, strict=True))

    found, _ = run(OPS, 16, lambda recipe: by_config[recipe.ops["a"]])

    assert [candidate.recipe.ops["a"] for candidate in found] == order


def test_the_mixture_stands_beside_uniform_recipes() -> None:
    """Each op's own error chooses its config; how errors add up is left to the probe."""

    def error(config: OpConfig, _: str) -> float:
        return {STATIC: 1.0, SMOOTHED: 0.4, SMOOTHED_MORE: 0.6}[config]

    found, probed = run(OPS, 16, lambda recipe: 0.001 if recipe.ops["a"] == SMOOTHED_MORE else 0.002, error)

    assert probed[0].ops["a"] == SMOOTHED
    assert found[0].recipe.ops["a"] == SMOOTHED_MORE


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        (0.003, [(SMOOTHED, SMOOTHED)]),
        (0.0005, [(SMOOTHED, SMOOTHED), (SMOOTHED, SMOOTHED_MORE)]),
        (0.0, [(SMOOTHED, SMOOTHED), (SMOOTHED, SMOOTHED_MORE), (SMOOTHED_MORE, SMOOTHED_MORE)]),
    ],
    ids=["near-at-once", "none-near", "after-a-miss"],
)
def test_how_far_the_probing_goes(near: float, expected: list[tuple[OpConfig, OpConfig]]) -> None:
    """The best uniform recipe alone where it is near, then the mixture, after a miss the next uniform one."""
    own = {"a": {STATIC: 1.0, SMOOTHED: 0.4, SMOOTHED_MORE: 0.6}, "b": {STATIC: 1.0, SMOOTHED: 0.5, SMOOTHED_MORE: 0.4}}
    distance = {SMOOTHED: 0.002, SMOOTHED_MORE: 0.001}

    found, probed = run(OPS, 16, lambda r: distance[r.ops["b"]], lambda config, name: own[name][config], near)

    assert [(recipe.ops["a"], recipe.ops["b"]) for recipe in probed] == expected
    assert found[0].distance == min(candidate.distance for candidate in found)


def test_the_limit_bounds_the_probes() -> None:
    """No more recipes are probed than asked for, the mixture among them."""
    found, probed = run(OPS, 2, lambda _: 0.1)

    assert len(probed) == len(found) == 2


@pytest.mark.parametrize(("distance", "others"), [(FAR_DISTANCE / 2, 0), (2 * FAR_DISTANCE, 1)], ids=["near", "far"])
def test_transforms_are_varied_only_where_nothing_is_near(distance: float, others: int) -> None:
    """Another value of a model-wide transform makes every op anew, so it is probed only where there is need."""
    space = SPACES["groups-and-smoothing"]

    _, probed = run(space, 16, lambda _: distance)

    assert sum(recipe.transforms["bias_correction"] is False for recipe in probed) == others
    assert all(recipe in space for recipe in probed)


def test_calibration_sizes_are_always_varied() -> None:
    """The user listed them, so that the search may choose."""
    found, _ = run(
        SPACES["calibrations-and-transforms"], 16, lambda r: 0.001 if r.calibration == "50 batches" else 0.01
    )

    assert found[0].recipe.calibration == "50 batches"


def test_variants_differ_in_one_choice() -> None:
    """Each changes one transform, or the calibration size, and nothing else."""
    sizes = (CalibrationSize(10), CalibrationSize(50))
    space = synthetic_space(1, sizes, {"smooth": (0.0, 0.7, 0.9), "bias": (False, True)})

    transformed = transform_variants(space, space.recipe({}))
    sized = calibration_variants(space, space.recipe({}))

    assert [dict(variant.transforms) for variant in transformed] == [
        {"smooth": 0.7, "bias": False},
        {"smooth": 0.9, "bias": False},
        {"smooth": 0.0, "bias": True},
    ]
    assert [(variant.calibration, dict(variant.transforms)) for variant in sized] == [
        ("50 rows", {"smooth": 0.0, "bias": False})
    ]


@pytest.mark.parametrize("name", ["nothing", "only-float"])
def test_a_space_without_int8_has_no_candidates(name: str) -> None:
    """Nothing is probed where nothing can be quantized."""
    assert run(SPACES[name], 16, lambda _: 0.0) == ([], [])


def test_clipping_is_varied_where_nothing_smooths() -> None:
    """kl, percentile and mse are for ops whose input cannot be smoothed."""
    space = synthetic_space(dict.fromkeys("ab", (STATIC, STATIC_KL, FLOAT32)))

    found, _ = run(space, 16, lambda _: 0.001, lambda config, _: 0.5 if config == STATIC_KL else 1.0)

    assert found[0].recipe.ops["b"] == STATIC_KL


def test_bits_divided_otherwise_are_probed_since_own_errors_make_light_of_the_weights() -> None:
    """Where 7 bits in the weight have the smaller own errors, 7 bits in the activation may yet be closer as a whole."""
    weight, activation = STATIC.weight or QuantSpec(), STATIC.activation or QuantSpec()
    sides = (replace(STATIC, weight=replace(weight, bits=7)), replace(STATIC, activation=replace(activation, bits=7)))
    space = synthetic_space(
        dict.fromkeys("abc", tuple(replace(side, smoothing=strength) for strength in (0.0, 0.6) for side in sides))
    )
    in_activation = replace(sides[1], smoothing=0.6)

    found, probed = run(
        space,
        6,
        lambda recipe: 0.001 if set(recipe.ops.values()) == {in_activation} else 0.002,
        lambda config, name: (
            (0.5 if config.smoothing else 1.0) * (2.0 if config.activation == in_activation.activation else 1.0)
        ),
        near=1e-4,
    )

    assert set(found[0].recipe.ops.values()) == {in_activation}
    assert len(probed) == 2
