"""Which ops do the damage, judged by probes: rank them, repair them in INT8, foresee how many must change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import SearchSpace
from ilit_strategies.basic.neighbours import variants
from ilit_strategies.basic.op_configs import Errors, own_errors
from ilit_strategies.probes import Steps, by_own_error, distances

CHUNK = 8  # ops probed alone before it is looked at how much harm is left in the others
AS_MANY = 2.0  # times as much harm as if all were like the middle one: own errors order ops only roughly
LITTLE = 0.5  # times the distance that is enough: what the others may do together without being ranked
HARMFUL = 2.0  # an op that alone does this many times the distance that is enough is not tried in INT8 again
NOTABLE = 0.1  # of the distance that is enough, from one op
REPAIRED = 0.25  # another INT8 config counts as a repair where it does at most this share of the damage
MOST_REPAIRED = 8  # more suspects than this are quicker put into float than probed config by config


@dataclass(frozen=True)
class Suspect:
    """An INT8 op and the distance it causes alone, every other op in float; ``inf`` where that recipe failed."""

    name: str
    damage: float


def suspects(space: SearchSpace, base: Recipe, limit: int, enough: float = 0.0) -> Steps[list[Suspect]]:
    """Return the INT8 ops of ``base``, the most harmful first.

    Their own output errors order them at no cost. ``CHUNK`` after ``CHUNK`` is then probed with the whole model: that
    op as in ``base``, every other op in float32 where the space allows it; and all ops not probed yet together, until
    those do next to nothing, or no more than if each were like the middle one of the chunk, or ``limit`` ops are
    probed. The ops not probed follow in the order of their own errors, each with an even part of what they do together.

    Why not the base with that op in float, and the drop of distance? Both agree in expectation, since the
    output errors of ops add up. But the drop holds the op's error times everybody else's as well, which on some
    dozen rows drowns all but the worst ops, and where two ops wreck the model it shows neither.
    """
    order = yield from by_own_error(base)
    damages: dict[str, float] = {}
    left, rest = list(order), math.inf
    alike = 0.0
    while left and rest > max(LITTLE * enough, alike) and len(damages) < limit:
        size = min(CHUNK, limit - len(damages))
        chunk, left = left[:size], left[size:]
        recipes = [only(space, base, [name]) for name in chunk] + ([only(space, base, left)] if left else [])
        figures = yield from distances(recipes, "one op alone in INT8, and all that are not ranked yet")
        damages.update(zip(chunk, figures[: len(chunk)], strict=True))
        rest = figures[-1] if left else 0.0
        middle = statistics.median(figures[: len(chunk)])
        alike = AS_MANY * middle * len(left) if middle <= HARMFUL * enough else 0.0
    each = rest / len(left) if left and math.isfinite(rest) else 0.0
    ranked = sorted(damages.items(), key=lambda pair: -pair[1])
    return [Suspect(name, damage) for name, damage in ranked] + [Suspect(name, each) for name in left]


def only(space: SearchSpace, base: Recipe, kept: Sequence[str], config: OpConfig | None = None) -> Recipe:
    """Return ``base`` with all ops but ``kept`` in float32 where the space allows it; ``config`` is for ``kept``."""
    others = [name for name, op in space.ops.items() if name not in kept and FLOAT32 in op.candidates]
    recipe = base.in_float(others)
    return recipe.with_ops(dict.fromkeys(kept, config)) if config is not None else recipe


def foreseen_length(ranked: Sequence[Suspect], enough: float) -> int:
    """Return how many of ``ranked`` must change for the others' damage to add up to ``enough`` or less, at least 1.

    Distances are mean squares, and the output errors of ops are all but uncorrelated, so damages add up. Only ops that
    do a ``NOTABLE`` part of ``enough`` count where there are such: the harm of many small errors is not what a few ops
    more can take away. Where more than a quarter of the ops (and more than 6) would have to change, no length can be
    foreseen: then the ``wreckers`` alone, and 0 where there are none, or too many.
    """
    most = max(6, len(ranked) // 4)
    notable = sum(suspect.damage > NOTABLE * enough for suspect in ranked)
    for length in range(1, most + 1):
        if math.fsum(suspect.damage for suspect in ranked[length:]) <= enough:
            return min(length, notable or length)
    count = wreckers(ranked, enough)
    return count if count <= most else 0


def wreckers(ranked: Sequence[Suspect], enough: float) -> int:
    """Return how many of ``ranked``, its first, each do ``HARMFUL`` times ``enough``, so cannot stay as they are."""
    return sum(suspect.damage > HARMFUL * enough for suspect in ranked)


def int8_repairs(
    space: SearchSpace, base: Recipe, harmful: Sequence[Suspect], limit: int
) -> Steps[dict[str, OpConfig]]:
    """Return for each of ``harmful`` that another INT8 config repairs its name and that config.

    The first ``limit`` of each op's ``variants`` are compared by own error, for at most ``MOST_REPAIRED`` ops; the
    best of them is probed with the whole model. It counts as a repair where it does at most ``REPAIRED`` of the damage,
    or any less where the op cannot be in float32.
    """
    damage = {suspect.name: suspect.damage for suspect in harmful[:MOST_REPAIRED]}
    options = {name: _options(space, base, name, limit) for name in damage}
    if not any(options.values()):
        return {}
    recipes = [
        only(space, base, list(damage)).with_ops({name: near[i] for name, near in options.items() if i < len(near)})
        for i in range(max(map(len, options.values())))
    ]
    found = yield from own_errors(recipes, "harmful ops' own errors in other INT8 configs")
    best = {name: best for name in damage if (best := _least(name, recipes, found, options[name])) is not None}
    figures = yield from distances(
        [only(space, base, [name], config) for name, config in best.items()], "another INT8 config of one op"
    )
    return {
        name: config
        for (name, config), distance in zip(best.items(), figures, strict=True)
        if distance < damage[name] * (REPAIRED if FLOAT32 in space.ops[name].candidates else 1.0)
    }


def _options(space: SearchSpace, base: Recipe, name: str, limit: int) -> list[OpConfig]:
    """Return the configs to compare, in the space's order of preference."""
    allowed = space.ops[name].candidates
    return sorted(variants(base.ops[name], allowed)[:limit], key=allowed.index)


def _least(
    name: str, recipes: Sequence[Recipe], found: Sequence[Errors], options: Sequence[OpConfig]
) -> OpConfig | None:
    """Return the config of least own error, the first of equals; None where no error is known."""
    errors: Mapping[OpConfig, float] = {
        recipe.ops[name]: errors[name]
        for recipe, errors in zip(recipes, found, strict=True)
        if name in errors and recipe.ops[name] in options
    }
    return min((config for config in options if config in errors), key=lambda config: errors[config], default=None)
