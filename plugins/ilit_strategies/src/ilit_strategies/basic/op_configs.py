"""Which INT8 config each op takes, chosen by the ops' own errors: no pass of the model, so many can be compared."""

from __future__ import annotations

import logging
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ilit.recipe import OpConfig, QuantSpec, Recipe
from ilit.space import SearchSpace
from ilit.strategy import Probe
from ilit_strategies.probes import Steps, no_nan

OUTSTANDING = 100.0  # times the median own error: outliers, not the usual spread of ops
CLEARLY = 0.9  # a group leaves the preferred config only where its error falls to this share or below

log = logging.getLogger("ilit.strategies")

Errors = Mapping[str, float]
"""Op name -> its own output error."""
Change = Callable[[OpConfig], OpConfig]


def own_errors(recipes: Sequence[Recipe], why: str) -> Steps[list[Errors]]:
    """Return each recipe's INT8 ops' own errors, all asked for as one tuple; NaN counts as ``inf``."""
    if not recipes:
        return []
    outcomes = yield tuple(Probe(recipe, per_op=True, why=why) for recipe in recipes)
    return [{name: no_nan(error) for name, error in outcome.per_op.items()} for outcome in outcomes]


def best_by_own_error(space: SearchSpace, base: Recipe) -> Steps[tuple[Recipe, list[Recipe]]]:
    """Return ``base`` with each group's best config that costs no more at run time, and the uniform ones tried.

    One part of the configs after the other is varied for all ops at once (``free_stages``), and each group of ops that
    read one input takes the value under which its errors add up to least, so that its codes stay shared.

    Returns:
        The mixture, and the recipes that vary one part for all ops alike, the least error in all first.
    """
    current, uniform = base, list[tuple[float, Recipe]]()
    (errors,) = yield from own_errors([base], "each op's own error")
    plain = errors
    for stage in free_stages(space):
        tried = [recipe for change in stage if (recipe := varied(space, current, change)) != current]
        if not tried:
            continue
        found = yield from own_errors(tried, "each op's own error in another config")
        uniform += [(math.fsum(each.values()), recipe) for recipe, each in zip(tried, found, strict=True)]
        current, errors = mixture(space, (current, errors), list(zip(tried, found, strict=True)))
    for name in outstanding(plain):
        log.info("basic: %s stands out by its own error, %.3g; now %.3g", name, plain[name], errors.get(name, math.inf))
    return current, [recipe for _, recipe in sorted(uniform, key=lambda pair: pair[0])]


def outstanding(errors: Errors) -> list[str]:
    """Return the ops whose own error is more than ``OUTSTANDING`` times the median of all ops', the largest first."""
    if not errors:
        return []
    usual = OUTSTANDING * statistics.median(errors.values())
    return sorted((name for name, error in errors.items() if error > usual), key=lambda name: -errors[name])


def mixture(
    space: SearchSpace,
    current: tuple[Recipe, Errors],
    others: Sequence[tuple[Recipe, Errors]],
    share: float = CLEARLY,
) -> tuple[Recipe, Errors]:
    """Return the recipe in which each group has the config of least error, and its ops' errors.

    A group stays as it is in ``current`` unless another config brings its error to ``share`` of that or below.
    """
    recipe, errors = current
    changes: dict[str, OpConfig] = {}
    mixed = dict(errors)
    for names in groups(space, recipe.quantized_ops):
        enough, least = share * _total(errors, names), math.inf
        for other, found in others:
            total = _total(found, names)
            if total <= enough and total < least and any(other.ops[name] != recipe.ops[name] for name in names):
                least = total
                changes.update({name: other.ops[name] for name in names})
                mixed.update({name: found[name] for name in names if name in found})
    return recipe.with_ops(changes), mixed


def groups(space: SearchSpace, names: Iterable[str]) -> list[list[str]]:
    """Return the ops by the input they read, in the model's order; an op with an input of its own is a group."""
    found: dict[str, list[str]] = {}
    for name in names:
        group = space.ops[name].group
        found.setdefault(f"group {group}" if group else f"op {name}", []).append(name)
    return list(found.values())


def free_stages(space: SearchSpace) -> list[list[Change]]:
    """Return what may be varied at no cost at run time, one part of the configs after the other.

    Smoothing finds ranges that clipping cannot, so where it is offered the clipping algorithms are left out; kl,
    percentile and mse take no smoothed input either. Numbers of bits differ only where the CPU saturates.
    """
    static = [
        config
        for op in space.ops.values()
        for config in op.candidates
        if config.approach == "static" and config.activation is not None and config.weight is not None
    ]
    strengths = sorted({config.smoothing for config in static if config.smoothing})
    algorithms = dict.fromkeys(c.activation.algorithm for c in static if c.activation is not None)
    schemes = dict.fromkeys(c.activation.scheme for c in static if c.activation is not None)
    clipping: list[list[Change]] = [
        [_activation(algorithm=algorithm) for algorithm in algorithms],
        [_activation(scheme=scheme) for scheme in schemes],
    ]
    smoothed: list[list[Change]] = [[_smoothing(strength) for strength in strengths]]
    return [*(smoothed if strengths else clipping), [_bits(*divided) for divided in _divisions(space)]]


def varied(space: SearchSpace, recipe: Recipe, change: Change) -> Recipe:
    """Return the recipe with every static op changed that may be."""
    changes = {}
    for name in recipe.quantized_ops:
        config = recipe.ops[name]
        if config.approach == "static" and config.activation is not None:
            other = change(config)
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


def _smoothing(strength: float) -> Change:
    def change(config: OpConfig) -> OpConfig:
        activation = replace(config.activation or QuantSpec(), algorithm="minmax")
        return replace(config, smoothing=strength, activation=activation)

    return change


def _activation(**values: str) -> Change:
    return lambda config: replace(config, activation=replace(config.activation or QuantSpec(), **values))  # type: ignore[arg-type]  # names of its fields


def _bits(weight: int, activation: int) -> Change:
    return lambda config: replace(
        config,
        weight=replace(config.weight or QuantSpec(), bits=weight),
        activation=replace(config.activation or QuantSpec(), bits=activation),
    )


def _total(errors: Errors, names: Iterable[str]) -> float:
    """Return the sum of the ops' errors; an op without a figure counts as broken."""
    return math.fsum(errors.get(name, math.inf) for name in names)
