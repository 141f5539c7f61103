"""Which model-wise recipes to evaluate, best first, judged by probes."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ilit.recipe import Recipe
from ilit.space import SearchSpace
from ilit_strategies.probes import Steps, distances
from ilit_strategies.variants import variants

ALIKE = 1.25  # distances measured on a few dozen rows move by about a quarter from one set of rows to the next

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A recipe and how far the probe saw its outputs from float32's; ``inf`` where the recipe failed."""

    recipe: Recipe
    distance: float


def candidates(space: SearchSpace, limit: int) -> Steps[list[Candidate]]:
    """Return model-wise recipes by ascending distance, found by coordinate descent with probes.

    A space may allow hundreds of INT8 configs, so they are not all probed, nor only the preferred ones, which differ
    in trifles. Around the preferred recipe each value of each part of a config is tried once (``neighbours``); then
    the same around the closest of these, the other values of model-wide transforms and calibration sizes included.
    At most ``limit`` recipes are probed in each of the two rounds.

    Distances within a factor ``ALIKE`` of one another count as equal and keep the order in which they are tried.
    """
    preferred = space.recipe({})
    if not preferred.quantized_ops:
        return []
    found: dict[Recipe, float] = {}
    for centre in ("preferred", "closest"):
        around = preferred if centre == "preferred" else list(found)[_by_preference(list(found.values()))[0]]
        tried = [recipe for recipe in dict.fromkeys([around, *neighbours(space, around)]) if recipe not in found]
        if centre == "closest":
            tried += [recipe for recipe in model_wide_variants(space, around) if recipe not in found]
        if len(tried) > limit:
            log.info("basic: %d of %d model-wise recipes are probed (option model_wise_probes)", limit, len(tried))
        figures = yield from distances(tried[:limit], f"model-wise recipe near the {centre}")
        found.update(zip(tried[:limit], figures, strict=True))
    recipes, figures = list(found), list(found.values())
    return [Candidate(recipes[i], figures[i]) for i in _by_preference(figures)]


def neighbours(space: SearchSpace, centre: Recipe) -> list[Recipe]:
    """Return recipes around ``centre``, in the space's order of preference.

    In each, all ops that allow it take one of the ``variants`` of the commonest INT8 config of ``centre``.
    """
    configs = list(dict.fromkeys(c for op in space.ops.values() for c in op.candidates if c.quantized))
    (commonest, _), *_ = Counter(config for config in centre.ops.values() if config.quantized).most_common(1)
    return [
        centre.with_ops({name: config for name, op in space.ops.items() if config in op.candidates})
        for config in sorted(variants(commonest, configs), key=configs.index)
    ]


def model_wide_variants(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return the recipes that differ from ``recipe`` in one model-wide transform or in the calibration size."""
    transformed = [
        Recipe(recipe.ops, recipe.calibration, {**recipe.transforms, name: value})
        for name, values in space.transforms.items()
        for value in values
        if value != recipe.transforms[name]
    ]
    sizes = [str(size) for size in space.calibrations if str(size) != recipe.calibration]
    return transformed + [Recipe(recipe.ops, size, recipe.transforms) for size in sizes]


def _by_preference(figures: Sequence[float]) -> list[int]:
    """Return the positions of ``figures``, lower ones first, those that are alike in their given order."""
    smallest = max(min(figures), 1e-12)  # a distance of exactly 0 must not make all others infinitely worse

    def grade(position: int) -> float:
        ratio = max(figures[position], smallest) / smallest
        return math.floor(math.log(ratio, ALIKE)) if math.isfinite(ratio) else math.inf

    return sorted(range(len(figures)), key=grade)
