"""Requests and outcomes: kinds are told apart, and what was found out cannot be changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ilit.recipe import FLOAT32, Recipe
from ilit.strategy import DistanceProbe, OpErrorOutcome, OpErrorProbe, OpSpeedOutcome, OpSpeedProbe, Probe, Trial

RECIPE = Recipe({"a": FLOAT32})


def test_requests_of_one_recipe_differ_by_kind() -> None:
    """None may be taken for another, as in a set of what was asked."""
    requests = {Trial(RECIPE), DistanceProbe(RECIPE), OpErrorProbe(RECIPE), OpSpeedProbe(RECIPE)}

    assert len(requests) == 4
    assert [isinstance(request, Probe) for request in requests].count(True) == 3


@pytest.mark.parametrize(
    ("outcome", "held"),
    [(OpErrorOutcome, lambda made: made.errors), (OpSpeedOutcome, lambda made: made.speedups)],
)
def test_the_figures_of_the_ops_cannot_be_changed(outcome: Any, held: Callable[[Any], Mapping[str, float]]) -> None:
    """Outcomes are answered from memory, so a strategy must not be able to change them, nor the one that gave them."""
    given = {"a": 0.5}
    figures: Any = held(outcome(given))
    given["a"] = 0.25

    assert figures == {"a": 0.5}
    with pytest.raises(TypeError, match="does not support item assignment"):
        figures["a"] = 0.25
