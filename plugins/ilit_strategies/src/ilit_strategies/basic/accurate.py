"""INT8 configs that are more accurate and cost some speed: tried before any op goes to float."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ilit.recipe import OpConfig, Recipe
from ilit.space import SearchSpace
from ilit_strategies.basic.op_configs import Errors, groups, mixture, own_errors
from ilit_strategies.probes import Steps, distances

WORTH = 0.9  # an op is given a dearer config where that leaves at most this share of its error
HALF = 0.5  # of the error to be had is the aim of the first, cheaper recipe

log = logging.getLogger("ilit.strategies")


def dearer_recipes(space: SearchSpace, base: Recipe) -> Steps[list[tuple[Recipe, float]]]:
    """Return up to two recipes more accurate than ``base`` by probes, with their distances, the cheaper one first.

    Each group of ops takes the config of least own error among ``dearer_configs``. The second recipe changes all
    groups that gain by it; the first only those that gain most, which together have ``HALF`` of the gain.
    """
    errors, *found = yield from own_errors(
        [base, *(others := dearer_variants(space, base))], "each op's own error in a dearer INT8 config"
    )
    full, least = mixture(space, (base, errors), list(zip(others, found, strict=True)), WORTH)
    gains = _gains(space, base, full, errors, least)
    if not gains:
        return []
    some, gained, wanted = dict[str, OpConfig](), 0.0, HALF * sum(gain for gain, _ in gains)
    for gain, names in gains:
        if gained < wanted:
            some.update({name: full.ops[name] for name in names})
            gained += gain
    recipes = list(dict.fromkeys([base.with_ops(some), full]))
    figures = yield from distances(recipes, "dearer INT8 configs")
    log.info(
        "basic: dearer INT8 configs for %d and for %d ops",
        len(some),
        len(set(full.ops.items()) - set(base.ops.items())),
    )
    return list(zip(recipes, figures, strict=True))


def _gains(
    space: SearchSpace, base: Recipe, full: Recipe, errors: Errors, least: Errors
) -> list[tuple[float, list[str]]]:
    """Return how much each changed group's errors fall, the most first."""
    changed = [names for names in groups(space, base.quantized_ops) if any(base.ops[n] != full.ops[n] for n in names)]
    gains = [(sum(errors.get(n, 0.0) - least.get(n, 0.0) for n in names), names) for names in changed]
    return sorted(gains, key=lambda pair: -pair[0])


def dearer_variants(space: SearchSpace, base: Recipe) -> list[Recipe]:
    """Return for each dearer kind of config the recipe in which every INT8 op has its first config of that kind.

    One scale per token, one for the batch, and weights clipped by mse, which costs nothing at run time but takes long
    to find.
    """
    kinds = ("per_token", "per_tensor", "mse weight")
    recipes = []
    for kind in kinds:
        changes = {name: other for name in base.quantized_ops if (other := _of_kind(space, base, name, kind))}
        recipes.append(base.with_ops(changes))
    return [recipe for recipe in dict.fromkeys(recipes) if recipe != base]


def _of_kind(space: SearchSpace, base: Recipe, name: str, kind: str) -> OpConfig | None:
    config, candidates = base.ops[name], space.ops[name].candidates
    if kind == "mse weight":
        return _first(c for c in candidates if _mse_weight(c, config))
    return _first(
        c
        for c in candidates
        if c.approach == "dynamic" and c.activation is not None and c.activation.granularity == kind
    )


def _mse_weight(candidate: OpConfig, config: OpConfig) -> bool:
    """Whether a candidate is ``config`` but for the weight's algorithm, and that is mse."""
    if candidate.weight is None or config.weight is None or candidate.weight.algorithm != "mse":
        return False
    same = (candidate.approach, candidate.activation, candidate.smoothing, candidate.weight.bits)
    rest = candidate.weight.granularity == config.weight.granularity
    return rest and same == (config.approach, config.activation, config.smoothing, config.weight.bits)


def _first(found: Iterator[OpConfig]) -> OpConfig | None:
    return next(found, None)
