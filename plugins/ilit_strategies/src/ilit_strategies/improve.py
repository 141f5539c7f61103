"""After a hit: what makes the recipe cheaper while it still passes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Probe, Trial
from ilit_strategies.fallback import Change, described, put_back
from ilit_strategies.probes import Steps

SLOWER = 0.95  # an op that is at most this many times as fast in INT8 as in float32 is better off in float32

log = logging.getLogger(__name__)


def improve(space: SearchSpace, hit: Recipe, baseline: Baseline) -> Steps[None]:
    """Try cheaper forms of an accepted recipe, each as a trial; only where the search goes on after a hit.

    First the dearer INT8 configs are taken back to static ones in halves, then, where speed counts, ops that timings
    show to be slower in INT8 than in float32 go to float32, which can only make the outputs more exact.
    """
    if baseline.stop != "budget":
        return
    cheap = {name: config for name in hit.quantized_ops if (config := cheaper(space, hit, name)) is not None}
    if cheap:
        base = hit.with_ops(cheap)
        changes: list[Change] = [(name, hit.ops[name]) for name in cheap]
        kept = yield from put_back(base, changes, changes)
        hit = base.with_ops(dict(kept))
    if baseline.objective == "performance":
        yield from _slow_ops_to_float(space, hit)


def cheaper(space: SearchSpace, recipe: Recipe, name: str) -> OpConfig | None:
    """Return the static config to try in place of a dynamic or bfloat16 one; None where there is none."""
    config = recipe.ops[name]
    if config.approach == "static" or config.dtype == "float32":
        return None
    static = [other for other in space.ops[name].candidates if other.approach == "static"]
    smoothed = [other for other in static if other.smoothing]
    return next(iter((*smoothed, *static)), None)


def _slow_ops_to_float(space: SearchSpace, hit: Recipe) -> Steps[None]:
    outcome = yield Probe(hit, timed=True, why="each op's own speed")
    slow = [name for name in slow_ops(hit, outcome.speedups) if FLOAT32 in space.ops[name].candidates]
    if not slow or len(slow) == len(hit.quantized_ops):
        return
    log.info("basic: slower in INT8 than in float32: %s", ", ".join(slow))
    changes: list[Change] = [(name, FLOAT32) for name in slow]
    yield Trial(hit.with_ops(dict(changes)), f"faster in float32, {described(changes)}")


def slow_ops(recipe: Recipe, speedups: dict[str, float]) -> Sequence[str]:
    """Return the INT8 ops that a timing showed to be slower than in float32."""
    return [name for name in recipe.quantized_ops if speedups.get(name, 1.0) <= SLOWER]
