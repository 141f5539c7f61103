"""Asking for probes: sub-generators that strategies delegate to with ``yield from``."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from ilit.recipe import Recipe
from ilit.strategy import DistanceOutcome, DistanceProbe, OpErrorOutcome, OpErrorProbe, Request

Found = TypeVar("Found")
Steps = Generator[Request | tuple[Request, ...], Any, Found]
"""A part of a search: it yields requests like a strategy and returns what it found out."""


def distances(recipes: Sequence[Recipe], why: str) -> Steps[list[float]]:
    """Return each recipe's distance to float32's outputs, all asked for as one tuple; NaN counts as ``inf``."""
    if not recipes:
        return []
    outcomes: Sequence[DistanceOutcome] = yield tuple(DistanceProbe(recipe, why) for recipe in recipes)
    return [no_nan(outcome.distance) for outcome in outcomes]


def by_own_error(recipe: Recipe) -> Steps[list[str]]:
    """Return the INT8 ops of ``recipe``, the largest error of its own output first, from one instrumented pass.

    An op whose error is NaN is broken and comes first; one that the adapter gave no figure for comes last; equal
    ones keep the model's order.
    """
    outcome: OpErrorOutcome = yield OpErrorProbe(recipe, "each op's own output error")
    errors = {name: no_nan(error) for name, error in outcome.errors.items()}
    return sorted(recipe.quantized_ops, key=lambda name: -errors.get(name, -1.0))


def no_nan(value: float) -> float:
    """Return ``value``, infinity in place of NaN."""
    return math.inf if math.isnan(value) else value
