"""Recipes of the model as a whole, no op in float, by ascending distance: what is evaluated first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ilit.recipe import Recipe
from ilit.space import SearchSpace
from ilit_strategies.basic.estimates import Candidate
from ilit_strategies.basic.op_configs import best_by_own_error, other_bits
from ilit_strategies.basic.thresholds import FAR_DISTANCE, SAME_DISTANCE, UNIFORM_PROBES
from ilit_strategies.probes import Steps, distances


def candidates(space: SearchSpace, limit: int, near: float = 0.0) -> Steps[list[Candidate]]:
    """Return recipes that treat the model as a whole, by ascending distance.

    The ops' own errors choose each op's config (``op_configs.best_by_own_error``). What they cannot see is how errors
    add up, so the uniform recipe of least error and the mixture are probed with the whole model, unless the first is at
    less distance than ``near``: it is one choice made on all rows and ops, which dozens of choices made on 128 rows
    seldom beat. Where bits may be divided otherwise (``op_configs.other_bits``), the mixture with those comes first
    instead. Without a near one, the mixture's other calibration sizes are probed as well, and where even the closest of
    all these is ``FAR_DISTANCE``, the preferred recipe and the model-wide transforms' other values. Where ``near`` is
    0, nothing is near: something has missed, so the best uniform recipes are probed too. At most ``limit`` are probed.

    Distances within a factor ``SAME_DISTANCE`` of one another count as equal; then the mixture comes first.
    """
    preferred = space.recipe({})
    if not preferred.quantized_ops:
        return []
    mixed, uniform = yield from best_by_own_error(space, preferred)
    found: dict[Recipe, float] = {}
    divided = other_bits(space, mixed)
    likely = [*(divided or uniform[:1]), mixed, *(uniform[:UNIFORM_PROBES] if near == 0.0 else ())]
    for recipe in list(dict.fromkeys(likely))[:limit]:
        found.update((yield from _probed([recipe], "the model as a whole")))
        if found[recipe] < near:
            return _by_preference(found, mixed)
    sizes = [size for size in calibration_variants(space, mixed) if size not in found]
    found.update((yield from _probed(sizes[: limit - len(found)], "the model as a whole")))
    if min(found.values()) > FAR_DISTANCE:
        others = [other for other in (preferred, *transform_variants(space, mixed)) if other not in found]
        why = "the model as a whole, since the others are far"
        found.update((yield from _probed(others[: limit - len(found)], why)))
    return _by_preference(found, mixed)


def _probed(recipes: Sequence[Recipe], why: str) -> Steps[dict[Recipe, float]]:
    return dict(zip(recipes, (yield from distances(recipes, why)), strict=True))


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


def _by_preference(found: Mapping[Recipe, float], mixed: Recipe) -> list[Candidate]:
    """Return the candidates, lower distances first; of those that are alike the mixture, then in their given order."""
    smallest = max(min(found.values()), 1e-12)  # a distance of exactly 0 must not make all others infinitely worse

    def grade(candidate: Candidate) -> float:
        ratio = max(candidate.distance, smallest) / smallest
        return math.floor(math.log(ratio, SAME_DISTANCE)) if math.isfinite(ratio) else math.inf

    ordered = [Candidate(recipe, found[recipe]) for recipe in dict.fromkeys([mixed, *found]) if recipe in found]
    return sorted(ordered, key=grade)
