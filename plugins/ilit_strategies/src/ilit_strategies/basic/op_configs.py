"""Which INT8 config each op takes, chosen by the ops' own errors: no pass of the model, so many can be compared."""

from __future__ import annotations

import logging
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ilit.recipe import OpConfig, QuantSpec, Recipe
from ilit.space import SearchSpace
from ilit.strategy import OpErrorOutcome, OpErrorProbe
from ilit_strategies.basic.thresholds import CLEARLY_LESS_ERROR, OUTLYING_ERROR
from ilit_strategies.probes import Steps, no_nan

log = logging.getLogger("ilit.strategies")

Errors = Mapping[str, float]
"""Op name -> its own output error."""

Variation = Callable[[OpConfig], OpConfig]
"""A way to vary configs: it gives for an op's config the one that the op takes instead where the space allows it."""


@dataclass(frozen=True)
class Measured:
    """A recipe and the own errors of its INT8 ops."""

    recipe: Recipe
    errors: Errors

    def total(self, names: Iterable[str]) -> float:
        """Return the sum of the ops' errors; an op without a figure counts as broken."""
        return math.fsum(self.errors.get(name, math.inf) for name in names)


def own_errors(recipes: Sequence[Recipe], why: str) -> Steps[list[Measured]]:
    """Return the recipes with their INT8 ops' own errors, all asked for as one tuple; NaN counts as ``inf``."""
    outcomes: Sequence[OpErrorOutcome] = yield tuple(OpErrorProbe(recipe, why) for recipe in recipes)
    return [
        Measured(recipe, {name: no_nan(error) for name, error in outcome.errors.items()})
        for recipe, outcome in zip(recipes, outcomes, strict=True)
    ]


def best_by_own_error(space: SearchSpace, base: Recipe) -> Steps[tuple[Recipe, list[Recipe]]]:
    """Return ``base`` with each group's best config that costs no more at run time, and the uniform ones tried.

    One part of the configs after the other is varied for all ops at once (``free_stages``), and each group of ops that
    read one input takes the value under which its errors add up to least, so that its codes stay shared.

    Returns:
        The mixture, and the recipes that vary one part for all ops alike, the least error in all first.
    """
    uniform = list[Measured]()
    (plain,) = yield from own_errors([base], "each op's own error")
    best = plain
    for stage in free_stages(space):
        recipes = [recipe for variation in stage if (recipe := varied(space, best.recipe, variation)) != best.recipe]
        if not recipes:
            continue
        others = yield from own_errors(recipes, "each op's own error in another config")
        uniform += others
        best = mixture(space, best, others)
    _log_outlying(plain.errors, best.errors)
    return best.recipe, [each.recipe for each in sorted(uniform, key=lambda each: math.fsum(each.errors.values()))]


def _log_outlying(before: Errors, after: Errors) -> None:
    for name in outlying(before):
        was, now = before[name], after.get(name, math.inf)
        log.info("basic: %s stands out by its own error, %.3g; now %.3g", name, was, now)


def outlying(errors: Errors) -> list[str]:
    """Return the ops whose own error is beyond ``OUTLYING_ERROR`` times the median of all ops', the largest first."""
    if not errors:
        return []
    usual = OUTLYING_ERROR * statistics.median(errors.values())
    return sorted((name for name, error in errors.items() if error > usual), key=lambda name: -errors[name])


def mixture(space: SearchSpace, current: Measured, others: Sequence[Measured]) -> Measured:
    """Return the recipe in which each group has the config of least error, and its ops' errors.

    A group stays as it is in ``current`` unless another config brings its error to ``CLEARLY_LESS_ERROR`` of that or
    below.
    """
    changes: dict[str, OpConfig] = {}
    errors = dict(current.errors)
    for names in groups(space, current.recipe.quantized_ops):
        enough, least = CLEARLY_LESS_ERROR * current.total(names), math.inf
        for other in others:
            total = other.total(names)
            changed = any(other.recipe.ops[name] != current.recipe.ops[name] for name in names)
            if changed and total <= enough and total < least:
                least = total
                changes.update({name: other.recipe.ops[name] for name in names})
                errors.update({name: other.errors[name] for name in names if name in other.errors})
    return Measured(current.recipe.with_ops(changes), errors)


def groups(space: SearchSpace, names: Iterable[str]) -> list[list[str]]:
    """Return the ops by the input they read, in the model's order; an op with an input of its own is a group."""
    found: dict[str, list[str]] = {}
    for name in names:
        group = space.ops[name].group
        found.setdefault(f"group {group}" if group else f"op {name}", []).append(name)
    return list(found.values())


def free_stages(space: SearchSpace) -> list[list[Variation]]:
    """Return the variations that cost nothing at run time, one part of the configs after the other.

    Smoothing finds ranges that clipping cannot, so where it is offered the clipping algorithms are left out; kl,
    percentile and mse take no smoothed input either. Numbers of bits differ only where the CPU saturates.
    """
    static = [config for op in space.ops.values() for config in op.candidates if _divided(config)]
    activations = [config.activation for config in static if config.activation is not None]
    strengths = sorted({config.smoothing for config in static if config.smoothing})
    clipping = [
        [_activation(algorithm=algorithm) for algorithm in dict.fromkeys(spec.algorithm for spec in activations)],
        [_activation(scheme=scheme) for scheme in dict.fromkeys(spec.scheme for spec in activations)],
    ]
    smoothed = [[_smoothing(strength) for strength in strengths]]
    return [*(smoothed if strengths else clipping), [_bits(*divided) for divided in _divisions(space)]]


def varied(space: SearchSpace, recipe: Recipe, variation: Variation) -> Recipe:
    """Return the recipe with every static op changed that may be."""
    changes = {}
    for name in recipe.quantized_ops:
        config = recipe.ops[name]
        if config.approach == "static" and config.activation is not None:
            other = variation(config)
            if other != config and space.ops[name].allows(other):
                changes[name] = other
    return recipe.with_ops(changes)


def other_bits(space: SearchSpace, recipe: Recipe) -> list[Recipe]:
    """Return ``recipe`` with each way to divide the bits that fewer than half of its ops have, given to all ops.

    Where the CPU saturates, one side of a product has 7 bits. Own errors make light of 7 bits in the weight: its
    rounding is the same for every row, so that of one op adds to that of the next, while an activation's averages out.
    """
    counts = Counter(divided for config in recipe.ops.values() if (divided := _divided(config)))
    rare = [divided for divided in _divisions(space) if 2 * counts[divided] < counts.total()]
    return [other for divided in rare if (other := varied(space, recipe, _bits(*divided))) != recipe]


def _divisions(space: SearchSpace) -> list[tuple[int, int]]:
    """Return every pair of bits of weight and activation that a static op may have."""
    found = (_divided(config) for op in space.ops.values() for config in op.candidates)
    return list(dict.fromkeys(divided for divided in found if divided))


def _divided(config: OpConfig) -> tuple[int, int] | None:
    """Return a static config's bits of weight and activation, None for any other."""
    if config.approach != "static" or config.weight is None or config.activation is None:
        return None
    return config.weight.bits, config.activation.bits


def _smoothing(strength: float) -> Variation:
    def variation(config: OpConfig) -> OpConfig:
        activation = replace(config.activation or QuantSpec(), algorithm="minmax")
        return replace(config, smoothing=strength, activation=activation)

    return variation


def _activation(**values: str) -> Variation:
    return lambda config: replace(config, activation=replace(config.activation or QuantSpec(), **values))  # type: ignore[arg-type]  # names of its fields


def _bits(weight: int, activation: int) -> Variation:
    return lambda config: replace(
        config,
        weight=replace(config.weight or QuantSpec(), bits=weight),
        activation=replace(config.activation or QuantSpec(), bits=activation),
    )
