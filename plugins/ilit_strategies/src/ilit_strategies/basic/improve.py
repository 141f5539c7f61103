"""After a hit: what makes the recipe cheaper while it still passes."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import SearchSpace
from ilit.strategy import Baseline, OpSpeedOutcome, OpSpeedProbe, Trial
from ilit_strategies.basic.thresholds import MAX_NEEDED_UPGRADES, SLOW_SPEEDUP
from ilit_strategies.fallback import Change, described, float_changes, put_back
from ilit_strategies.probes import Steps, by_own_error

BFLOAT16 = OpConfig("bfloat16")

log = logging.getLogger("ilit.strategies")


def improve(space: SearchSpace, hit: Recipe, cheap: Recipe, baseline: Baseline) -> Steps[None]:
    """Try cheaper forms of a recipe that passed, each as a trial; only where the search goes on after a hit.

    More accurate INT8 configs are taken back to those of ``cheap`` in halves, the least harmful first; then float32 ops
    try bfloat16 where the space has it; then, where speed counts, ops that timings show to be slower in INT8 than in
    float32 go to float32, which can only make the outputs more exact.

    Evaluations at worst, for n ops in more accurate configs and f in float32 that may be bfloat16:
    2 (1 + ceil(log2 n)) + 2 (1 + ceil(log2 f)) + 1.
    """
    if baseline.stop != "budget":
        return
    hit = yield from _back_to_cheap(hit, cheap)
    hit = yield from _float_to_bfloat16(space, hit)
    if baseline.objective == "performance":
        yield from slow_to_float(space, hit)


def _back_to_cheap(hit: Recipe, cheap: Recipe) -> Steps[Recipe]:
    """Return the recipe with as many ops as still pass in the configs of ``cheap``."""
    upgraded = [name for name in hit.quantized_ops if hit.ops[name] != cheap.ops[name] and cheap.ops[name].quantized]
    if not upgraded:
        return hit
    base = hit.with_ops({name: cheap.ops[name] for name in upgraded})
    order = yield from by_own_error(base)
    changes = [Change(name, hit.ops[name]) for name in reversed(order) if name in set(upgraded)]
    retained = yield from put_back(
        base, changes, changes, misses=base == cheap, most=MAX_NEEDED_UPGRADES, what="cheaper INT8"
    )
    return base.with_ops(dict(retained))


def _float_to_bfloat16(space: SearchSpace, hit: Recipe) -> Steps[Recipe]:
    """Return the recipe with as many float32 ops as still pass in bfloat16."""
    able = [
        name
        for name, config in hit.ops.items()
        if config == FLOAT32 and space.ops[name].allows(BFLOAT16) and space.ops[name].quantizable
    ]
    changes = [Change(name, FLOAT32) for name in able]
    base = hit.with_ops(dict.fromkeys(able, BFLOAT16))
    retained = yield from put_back(base, changes, changes, most=MAX_NEEDED_UPGRADES, what="bfloat16 for float32")
    return base.with_ops(dict(retained))


def slow_to_float(space: SearchSpace, recipe: Recipe) -> Steps[None]:
    """Evaluate the recipe with those ops in float32 that are no faster in INT8, where there are some and not all."""
    outcome: OpSpeedOutcome = yield OpSpeedProbe(recipe, "each op's own speed")
    changes = float_changes(space, slow_ops(recipe, outcome.speedups))
    if not changes or len(changes) == len(recipe.quantized_ops):
        return
    log.info("basic: slower in INT8 than in float32: %s", ", ".join(change.op for change in changes))
    yield Trial(recipe.with_ops(dict(changes)), f"faster in float32, {described(changes)}")


def slow_ops(recipe: Recipe, speedups: Mapping[str, float]) -> list[str]:
    """Return the INT8 ops that a timing showed to be slower than in float32; a NaN shows nothing."""
    return [name for name in recipe.quantized_ops if speedups.get(name, 1.0) <= SLOW_SPEEDUP]
