"""INT8 configs that are more accurate and cost some speed: tried before any op goes to float."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ilit.recipe import OpConfig, Recipe
from ilit.space import SearchSpace
from ilit_strategies.basic.estimates import Candidate
from ilit_strategies.basic.op_configs import Measured, groups, mixture, own_errors
from ilit_strategies.basic.thresholds import FIRST_SHARE_OF_GAIN
from ilit_strategies.probes import Steps, distances

KINDS = ("per_token", "per_tensor", "mse weight")
"""One scale per token, one for the batch, and weights clipped by mse, which costs nothing at run time but takes long to
find."""

log = logging.getLogger("ilit.strategies")


@dataclass(frozen=True)
class Gain:
    """Ops that read one input, and how much their own errors fall together."""

    names: Sequence[str]
    fall: float


def more_accurate(space: SearchSpace, base: Recipe) -> Steps[list[Candidate]]:
    """Return up to two recipes more accurate than ``base`` by own error, with their distances, the cheaper one first.

    Each group of ops takes the config of least own error among ``more_accurate_variants``. The second recipe changes
    all groups that gain by it; the first only those that gain most, with ``FIRST_SHARE_OF_GAIN`` of the gain.
    """
    recipes = [base, *more_accurate_variants(space, base)]
    before, *others = yield from own_errors(recipes, "each op's own error in a dearer INT8 config")
    best = mixture(space, before, others)
    gains = _gains(space, before, best)
    if not gains:
        return []
    first, full = _most_of(gains, FIRST_SHARE_OF_GAIN), best.recipe
    both = list(dict.fromkeys([base.with_ops({name: full.ops[name] for name in first}), full]))
    figures = yield from distances(both, "dearer INT8 configs")
    log.info("basic: dearer INT8 configs for %d and for %d ops", len(first), len(full.ops.items() - base.ops.items()))
    return [Candidate(recipe, distance) for recipe, distance in zip(both, figures, strict=True)]


def _gains(space: SearchSpace, before: Measured, after: Measured) -> list[Gain]:
    """Return the gain of each changed group, the largest first."""
    was, now = before.recipe.ops, after.recipe.ops
    return sorted(
        (
            Gain(names, sum(before.errors.get(name, 0.0) - after.errors.get(name, 0.0) for name in names))
            for names in groups(space, before.recipe.quantized_ops)
            if any(was[name] != now[name] for name in names)
        ),
        key=lambda gain: -gain.fall,
    )


def _most_of(gains: Sequence[Gain], share: float) -> list[str]:
    """Return as few ops as together have that share of all the gain."""
    chosen, gained, wanted = list[str](), 0.0, share * sum(gain.fall for gain in gains)
    for gain in gains:
        if gained < wanted:
            chosen += gain.names
            gained += gain.fall
    return chosen


def more_accurate_variants(space: SearchSpace, base: Recipe) -> list[Recipe]:
    """Return for each of ``KINDS`` the recipe in which every INT8 op has its first config of that kind."""
    recipes = []
    for kind in KINDS:
        changes = {name: other for name in base.quantized_ops if (other := _of_kind(space, base, name, kind))}
        recipes.append(base.with_ops(changes))
    return [recipe for recipe in dict.fromkeys(recipes) if recipe != base]


def _of_kind(space: SearchSpace, base: Recipe, name: str, kind: str) -> OpConfig | None:
    config, candidates = base.ops[name], space.ops[name].candidates
    if kind == "mse weight":
        return next((candidate for candidate in candidates if _mse_weight(candidate, config)), None)
    return next((candidate for candidate in candidates if _dynamic(candidate, kind)), None)


def _dynamic(candidate: OpConfig, granularity: str) -> bool:
    activation = candidate.activation
    return candidate.approach == "dynamic" and activation is not None and activation.granularity == granularity


def _mse_weight(candidate: OpConfig, config: OpConfig) -> bool:
    """Return whether a candidate is ``config`` but for the weight's algorithm, and that is mse."""
    if candidate.weight is None or config.weight is None or candidate.weight.algorithm != "mse":
        return False
    same = (candidate.approach, candidate.activation, candidate.smoothing, candidate.weight.bits)
    rest = candidate.weight.granularity == config.weight.granularity
    return rest and same == (config.approach, config.activation, config.smoothing, config.weight.bits)
