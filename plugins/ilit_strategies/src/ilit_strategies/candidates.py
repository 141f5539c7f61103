"""Which model-wise recipes to evaluate, best first, judged by probes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ilit.recipe import Recipe
from ilit.space import SearchSpace
from ilit_strategies.configs import best_by_own_error
from ilit_strategies.probes import Steps, distances

ALIKE = 1.25  # distances measured on a few dozen rows move by about a quarter from one set of rows to the next

UNIFORM = 2  # uniform recipes probed beside the mixture
FAR = 0.02  # a distance at which about a seventh of the answers flip


@dataclass(frozen=True)
class Candidate:
    """A recipe and how far the probe saw its outputs from float32's; ``inf`` where the recipe failed."""

    recipe: Recipe
    distance: float


def candidates(space: SearchSpace, limit: int, near: float = 0.0) -> Steps[list[Candidate]]:
    """Return recipes that treat the model as a whole, by ascending distance.

    The ops' own errors choose each op's config (``configs.best_by_own_error``). What they cannot see is how errors
    add up, so the mixture is probed with the whole model. Where its distance is below ``near``, it is all there is.
    Else the best uniform recipes are probed as well, and the mixture's other calibration sizes. Where even the closest
    of these is ``FAR``, the preferred recipe and the model-wide transforms' other values are probed too. At most
    ``limit`` are probed in all.

    Distances within a factor ``ALIKE`` of one another count as equal and keep this order.
    """
    preferred = space.recipe({})
    if not preferred.quantized_ops:
        return []
    mixed, uniform = yield from best_by_own_error(space, preferred)
    (distance,) = yield from distances([mixed], "the model as a whole")
    if distance < near:
        return [Candidate(mixed, distance)]
    sizes, transformed = calibration_variants(space, mixed), transform_variants(space, mixed)
    recipes = list(dict.fromkeys([mixed, *uniform[:UNIFORM], *sizes]))[:limit]
    figures = [distance, *(yield from distances(recipes[1:], "the model as a whole"))]
    if min(figures) > FAR:
        others = [other for other in dict.fromkeys([preferred, *transformed]) if other not in recipes]
        others = others[: limit - len(recipes)]
        figures += yield from distances(others, "the model as a whole, since the others are far")
        recipes += others
    return [Candidate(recipes[i], figures[i]) for i in _by_preference(figures)]


def calibration_variants(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return the recipes that differ from ``recipe`` in the calibration size."""
    sizes = [str(size) for size in space.calibrations if str(size) != recipe.calibration]
    return [Recipe(recipe.ops, size, recipe.transforms) for size in sizes]


def transform_variants(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return the recipes that differ from ``recipe`` in one model-wide transform."""
    return [
        Recipe(recipe.ops, recipe.calibration, {**recipe.transforms, name: value})
        for name, values in space.transforms.items()
        for value in values
        if value != recipe.transforms[name]
    ]


def _by_preference(figures: Sequence[float]) -> list[int]:
    """Return the positions of ``figures``, lower ones first, those that are alike in their given order."""
    smallest = max(min(figures), 1e-12)  # a distance of exactly 0 must not make all others infinitely worse

    def grade(position: int) -> float:
        ratio = max(figures[position], smallest) / smallest
        return math.floor(math.log(ratio, ALIKE)) if math.isfinite(ratio) else math.inf

    return sorted(range(len(figures)), key=grade)
