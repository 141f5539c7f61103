"""Which ops do the damage, judged by probes: rank them, repair them in INT8, foresee how many must change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import SearchSpace
from ilit_strategies.probes import Steps, by_own_error, distances
from ilit_strategies.variants import variants

REPAIRED = 0.25  # another INT8 config counts as a repair where it does at most this share of the damage
MOST_REPAIRED = 8  # more suspects than this are quicker put into float than probed config by config


@dataclass(frozen=True)
class Suspect:
    """An INT8 op and the distance it causes alone, every other op in float; ``inf`` where that recipe failed."""

    name: str
    damage: float


def suspects(space: SearchSpace, base: Recipe, limit: int) -> Steps[list[Suspect]]:
    """Return the INT8 ops of ``base``, the most harmful first.

    One instrumented pass orders them by their own output error. The first ``limit`` are then probed with the whole
    model: that op as in ``base``, every other op in float32 where the space allows it. Those not probed follow with
    damage 0 in the order of their own errors.

    Why not the base with that op in float, and the drop of distance? Both agree in expectation, since the
    output errors of ops add up. But the drop holds the op's error times everybody else's as well, which on some
    dozen rows drowns all but the worst ops, and where two ops wreck the model it shows neither.
    """
    order = yield from by_own_error(base)
    probed = order[:limit]
    figures = yield from distances([only(space, base, name) for name in probed], "one op alone in INT8")
    ranked = sorted(zip(probed, figures, strict=True), key=lambda pair: -pair[1])
    return [Suspect(name, damage) for name, damage in ranked] + [Suspect(name, 0.0) for name in order[limit:]]


def only(space: SearchSpace, base: Recipe, kept: str, config: OpConfig | None = None) -> Recipe:
    """Return ``base`` with all ops but ``kept`` in float32 where the space allows it; ``config`` is for ``kept``."""
    others = [name for name, op in space.ops.items() if name != kept and FLOAT32 in op.candidates]
    recipe = base.in_float(others)
    return recipe.with_ops({kept: config}) if config is not None else recipe


def foreseen_length(ranked: Sequence[Suspect], enough: float) -> int:
    """Return how many of ``ranked`` must change for the others' damage to add up to ``enough`` or less, at least 1.

    Distances are mean squares, and the output errors of ops are all but uncorrelated, so damages add up. Where more
    than a quarter of the ops (and more than 6) would have to change, the damage is everywhere and no length can be
    foreseen: then an eighth, which misses double.
    """
    for length in range(1, max(6, len(ranked) // 4) + 1):
        if math.fsum(suspect.damage for suspect in ranked[length:]) <= enough:
            return length
    return max(1, len(ranked) // 8)


def int8_repairs(
    space: SearchSpace, base: Recipe, harmful: Sequence[Suspect], limit: int
) -> Steps[dict[str, OpConfig]]:
    """Return for each of ``harmful`` that another INT8 config repairs its name and that config.

    The first ``limit`` of each op's ``variants`` are probed, for at most ``MOST_REPAIRED`` ops. The closest one counts
    as a repair where it does at most ``REPAIRED`` of the damage, or any less where the op cannot be in float32.
    """
    tried = []
    for suspect in harmful[:MOST_REPAIRED]:
        allowed = space.ops[suspect.name].candidates
        near = variants(base.ops[suspect.name], allowed)[:limit]
        tried += [(suspect, config) for config in sorted(near, key=allowed.index)]
    recipes = [only(space, base, suspect.name, config) for suspect, config in tried]
    figures = yield from distances(recipes, "another INT8 config of one op")
    closest: dict[str, float] = {}
    repairs: dict[str, OpConfig] = {}
    for (suspect, config), distance in zip(tried, figures, strict=True):
        share = REPAIRED if FLOAT32 in space.ops[suspect.name].candidates else 1.0
        if distance < min(share * suspect.damage, closest.get(suspect.name, math.inf)):
            closest[suspect.name], repairs[suspect.name] = distance, config
    return repairs
