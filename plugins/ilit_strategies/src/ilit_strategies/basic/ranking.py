"""Which ops do the damage, judged by probes: rank them, repair them in INT8, foresee how many must change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import SearchSpace
from ilit_strategies.basic.neighbours import neighbours
from ilit_strategies.basic.op_configs import Measured, own_errors
from ilit_strategies.basic.thresholds import (
    ALIKE_REST,
    FATAL_DAMAGE,
    FORESEEN_ONE_IN,
    MAX_REPAIRED_OPS,
    MIN_FORESEEN_OPS,
    NEGLIGIBLE_REST,
    NOTABLE_DAMAGE,
    RANKING_CHUNK,
    REPAIRED_DAMAGE,
)
from ilit_strategies.probes import Steps, by_own_error, distances


@dataclass(frozen=True)
class RankedOp:
    """An INT8 op and the distance it causes alone, every other op in float; ``inf`` where that recipe failed."""

    name: str
    damage: float


def rank_ops(space: SearchSpace, base: Recipe, limit: int, enough: float = 0.0) -> Steps[list[RankedOp]]:
    """Return the INT8 ops of ``base``, the most harmful first.

    Their own output errors order them at no cost. ``RANKING_CHUNK`` after ``RANKING_CHUNK`` is then probed with the
    whole model: that op as in ``base``, every other op in float32 where the space allows it; and all ops not probed yet
    together, until those do next to nothing, or no more than if each were like the middle one of the chunk, or
    ``limit`` ops are probed. The ops not probed follow in the order of their own errors, each with an even part of
    what they do together.

    Why not the base with that op in float, and the drop of distance? Both agree in expectation, since the
    output errors of ops add up. But the drop holds the op's error times everybody else's as well, which on some
    dozen rows drowns all but the worst ops, and where two ops wreck the model it shows neither.
    """
    left = yield from by_own_error(base)
    ranked, rest, negligible = list[RankedOp](), math.inf, NEGLIGIBLE_REST * enough
    while left and rest > negligible and len(ranked) < limit:
        size = min(RANKING_CHUNK, limit - len(ranked))
        chunk, left = left[:size], left[size:]
        damages, rest = yield from _damages(space, base, chunk, left)
        ranked += [RankedOp(name, damage) for name, damage in zip(chunk, damages, strict=True)]
        middle = statistics.median(damages)
        alike = ALIKE_REST * middle * len(left) if middle <= FATAL_DAMAGE * enough else 0.0
        negligible = max(NEGLIGIBLE_REST * enough, alike)
    each = rest / len(left) if left and math.isfinite(rest) else 0.0
    return sorted(ranked, key=lambda op: -op.damage) + [RankedOp(name, each) for name in left]


def _damages(
    space: SearchSpace, base: Recipe, chunk: Sequence[str], left: Sequence[str]
) -> Steps[tuple[list[float], float]]:
    """Return the distance that each op of ``chunk`` causes alone, and the one that all of ``left`` cause together."""
    recipes = [only(space, base, [name]) for name in chunk] + ([only(space, base, left)] if left else [])
    figures = yield from distances(recipes, "one op alone in INT8, and all that are not ranked yet")
    return figures[: len(chunk)], figures[-1] if left else 0.0


def only(space: SearchSpace, base: Recipe, names: Sequence[str], config: OpConfig | None = None) -> Recipe:
    """Return ``base`` with all ops but ``names`` in float32 where the space allows it; ``config`` is for ``names``."""
    others = [name for name, op in space.ops.items() if name not in names and FLOAT32 in op.candidates]
    recipe = base.in_float(others)
    return recipe.with_ops(dict.fromkeys(names, config)) if config is not None else recipe


def foreseen_length(ranked: Sequence[RankedOp], enough: float) -> int:
    """Return the number of ``ranked`` to change for the others' damage to add up to ``enough`` or less, at least 1.

    Distances are mean squares, and the output errors of ops are all but uncorrelated, so damages add up. Only ops that
    do a ``NOTABLE_DAMAGE`` count where there are such: the harm of many small errors is not what a few ops more can
    take away. Where more than a quarter of the ops (``FORESEEN_ONE_IN``, ``MIN_FORESEEN_OPS``) would have to change,
    no length can be foreseen: then the ``individually_fatal`` alone, and 0 where there are none, or too many.
    """
    most = max(MIN_FORESEEN_OPS, len(ranked) // FORESEEN_ONE_IN)
    notable = sum(op.damage > NOTABLE_DAMAGE * enough for op in ranked)
    for length in range(1, most + 1):
        if math.fsum(op.damage for op in ranked[length:]) <= enough:
            return min(length, notable or length)
    count = individually_fatal(ranked, enough)
    return count if count <= most else 0


def individually_fatal(ranked: Sequence[RankedOp], enough: float) -> int:
    """Return the number of ``ranked``, its first, that each do ``FATAL_DAMAGE``, so cannot stay as they are."""
    return sum(op.damage > FATAL_DAMAGE * enough for op in ranked)


def int8_repairs(
    space: SearchSpace, base: Recipe, harmful: Sequence[RankedOp], limit: int
) -> Steps[dict[str, OpConfig]]:
    """Return for each of ``harmful`` that another INT8 config repairs its name and that config.

    The first ``limit`` of each op's ``neighbours`` are compared by own error, for at most ``MAX_REPAIRED_OPS`` ops; the
    best of them is probed with the whole model. It counts as a repair where it does less than ``REPAIRED_DAMAGE``, or
    any less damage where the op cannot be in float32.
    """
    damage = {op.name: op.damage for op in harmful[:MAX_REPAIRED_OPS]}
    options = {name: _options(space, base, name, limit) for name in damage}
    if not any(options.values()):
        return {}
    recipes = [
        only(space, base, list(damage)).with_ops({name: near[i] for name, near in options.items() if i < len(near)})
        for i in range(max(map(len, options.values())))
    ]
    found = yield from own_errors(recipes, "harmful ops' own errors in other INT8 configs")
    best = {name: best for name in damage if (best := _least(name, found, options[name])) is not None}
    figures = yield from distances(
        [only(space, base, [name], config) for name, config in best.items()], "another INT8 config of one op"
    )
    return {
        name: config
        for (name, config), distance in zip(best.items(), figures, strict=True)
        if distance < damage[name] * (REPAIRED_DAMAGE if FLOAT32 in space.ops[name].candidates else 1.0)
    }


def _options(space: SearchSpace, base: Recipe, name: str, limit: int) -> list[OpConfig]:
    """Return the configs to compare, in the space's order of preference."""
    allowed = space.ops[name].candidates
    return sorted(neighbours(base.ops[name], allowed)[:limit], key=allowed.index)


def _least(name: str, found: Sequence[Measured], options: Sequence[OpConfig]) -> OpConfig | None:
    """Return the config of least own error, the first of equals; None where no error is known."""
    errors: Mapping[OpConfig, float] = {
        measured.recipe.ops[name]: measured.errors[name]
        for measured in found
        if name in measured.errors and measured.recipe.ops[name] in options
    }
    return min((config for config in options if config in errors), key=lambda config: errors[config], default=None)
