"""Which model-wise recipes to evaluate, best first, judged by probes."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ilit.recipe import Recipe
from ilit.space import SearchSpace
from ilit_strategies.probes import Steps, distances

ALIKE = 1.25  # distances measured on a few dozen rows move by about a quarter from one set of rows to the next

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A recipe and how far the probe saw its outputs from float32's; ``inf`` where the recipe failed."""

    recipe: Recipe
    distance: float


def candidates(space: SearchSpace, limit: int) -> Steps[list[Candidate]]:
    """Return the model-wise recipes by ascending distance; at most ``limit`` are probed, the preferred ones.

    Of the closest one also the variants with another value of one model-wide transform are probed. Those within a
    factor ``ALIKE`` of one another keep the space's order of preference, which knows what is fast.
    """
    recipes = [recipe for recipe in itertools.islice(space.model_wise(), limit + 1) if recipe.quantized_ops]
    if len(recipes) > limit:
        log.info("basic: only the first %d model-wise recipes are probed (option model_wise_probes)", limit)
        recipes = recipes[:limit]
    figures = yield from distances(recipes, "model-wise recipe")
    if not recipes:
        return []
    closest = recipes[_by_preference(figures)[0]]
    variants = transform_variants(space, closest)
    figures += yield from distances(variants, "another model-wide transform")
    recipes += variants
    return [Candidate(recipes[i], figures[i]) for i in _by_preference(figures)]


def transform_variants(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return the recipes that differ from ``recipe`` in the value of exactly one model-wide transform."""
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
