"""Model-wise recipes by probe."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from ilit.recipe import FLOAT32, Recipe
from ilit.space import SearchSpace
from ilit.strategy import ProbeOutcome
from ilit.testing.strategies import DYNAMIC, SPACES, STATIC, STATIC_KL, synthetic_space
from ilit_strategies.candidates import Candidate, candidates, transform_variants

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

    assert [candidate.recipe.ops["a"] for candidate in found] == [STATIC, STATIC_KL]
    assert probed == 2
    assert "only the first 2 model-wise recipes are probed" in caplog.text


def test_transforms_are_varied_on_the_closest_recipe() -> None:
    """A smoothing strength that helps wins, though model-wise recipes take the first value only."""
    space = SPACES["calibrations-and-transforms"]

    found, _ = run(space, 16, lambda recipe: 0.1 if recipe.transforms["smooth"] == 0.7 else 0.5)

    assert found[0].recipe.transforms == {"smooth": 0.7, "bias": True}
    assert all(candidate.recipe in space for candidate in found)


def test_variants_differ_in_one_transform() -> None:
    """Each variant changes one value and nothing else."""
    space = synthetic_space(1, transforms={"smooth": (0.0, 0.7, 0.9), "bias": (False, True)})
    base = space.recipe({})

    variants = transform_variants(space, base)

    assert [dict(variant.transforms) for variant in variants] == [
        {"smooth": 0.7, "bias": False},
        {"smooth": 0.9, "bias": False},
        {"smooth": 0.0, "bias": True},
    ]


@pytest.mark.parametrize("name", ["nothing", "only-float"])
def test_a_space_without_int8_has_no_candidates(name: str) -> None:
    """Nothing is probed where nothing can be quantized."""
    assert run(SPACES[name], 16, lambda _: 0.0) == ([], 0)
