"""Strategy ``basic``: model-wise recipes first, then the most harmful ops are repaired, with few evaluations."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ilit.recipe import Recipe
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial, TrialOutcome
from ilit_strategies.candidates import ALIKE, Candidate, candidates
from ilit_strategies.fallback import Change, float_changes, longest_prefix, passes, put_back, shortest_passing
from ilit_strategies.probes import Steps, distances
from ilit_strategies.ranking import foreseen_length, int8_repairs, suspects

HOPELESS = 4.0  # a recipe whose foreseen loss is more than this many times the tolerated one is not evaluated
HARMFUL = 2.0  # an op that alone does this many times the distance that is enough is not tried in INT8 again
UNKNOWN_SHARE = 0.25  # of the base's distance must go, where no accuracy says how much
UNKNOWN_DISTANCE = 0.05  # is enough, where not even the base's distance is known: most of the model is intact
FINEST_SHARE = 0.01  # nothing finer can be foreseen from some dozen rows

log = logging.getLogger(__name__)


class BasicOptions(BaseModel):
    """Options of ``basic``, given beside the name: ``strategy: {name: basic, model_wise_trials: 3}``.

    Attributes:
        model_wise_trials: evaluations of model-wise recipes that may miss before ops are repaired one by one.
        model_wise_probes: model-wise recipes probed in each of two rounds.
        ranked_ops: ops whose harm is probed with the whole model, those with the largest own error.
        repair_candidates: other INT8 configs probed for each op before it is put into float; 0 allows float only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_wise_trials: int = Field(2, ge=1)
    model_wise_probes: int = Field(16, ge=1)
    ranked_ops: int = Field(48, ge=1)
    repair_candidates: int = Field(6, ge=0)


class Basic:
    """Find a recipe that meets the criterion with few evaluations and few ops in float32.

    1. Probe the model-wise recipes and evaluate them from the closest on. One whose foreseen loss is hopeless is
       skipped. The loss is foreseen in proportion to the distance, from the closest evaluated so far.
    2. Rank the INT8 ops of the closest recipe by the damage each does alone (``ranking.suspects``).
    3. Foresee by probes how many of them must change, and evaluate from that length on (``fallback.shortest_passing``).
       Where probes show that other INT8 configs repair some of them, that mixed recipe is evaluated first.
    4. Where the search goes on after a hit (``stop: budget``, or a hit that the objective rejects): bisect to the
       shortest prefix, then put ops of it back into INT8.

    Evaluations at worst up to the first hit, for m = ``model_wise_trials`` and n ops that may be in float32:
    m + 1 + 2 ceil(log2 n) + 1, and the last two terms up to four times where even the longest fallback misses. With
    ``stop: budget``: model-wise recipes until m have missed; where none passed, 2 + ceil(log2 n) (again up to four
    times) to the shortest fallback, and 1 + k (1 + ceil(log2 n)) to put back all but k ops. Recipes that fail or that
    the objective rejects do not count towards m. Where probes see the damage it is far less: 1 + 1 up to the first
    hit. Probes: at most 2 model_wise_probes + 1 + ranked_ops + 8 repair_candidates + 1.
    """

    name: ClassVar[str] = "basic"
    Options: ClassVar[type[BaseModel]] = BasicOptions

    def __init__(self, options: BasicOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield probes and trials as the class says; nothing here is random."""
        ordered = yield from candidates(space, self.options.model_wise_probes)
        tried = yield from self._model_wise(ordered, baseline)
        base = closest_miss(tried, baseline)
        if base is None or any(outcome.accepted for _, outcome in tried):
            return
        enough = enough_distance(*base, baseline)
        yield from self._repair(space, base[0].recipe, enough, baseline)

    def _model_wise(
        self, ordered: Sequence[Candidate], baseline: Baseline
    ) -> Steps[list[tuple[Candidate, TrialOutcome]]]:
        """Evaluate model-wise recipes; return those evaluated with their outcomes."""
        tried: list[tuple[Candidate, TrialOutcome]] = []
        misses = 0
        for candidate in ordered:
            if misses >= self.options.model_wise_trials:
                break
            if tried and math.isinf(candidate.distance):
                break  # it failed as a probe, so would it as a trial; these come last
            base = closest_miss(tried, baseline)
            if base and misses and candidate.distance > HOPELESS * enough_distance(*base, baseline):
                log.info("basic: skipped a model-wise recipe at distance %.3g as hopeless", candidate.distance)
                continue
            outcome = yield Trial(candidate.recipe, f"model-wise, distance {candidate.distance:.3g}")
            tried.append((candidate, outcome))
            misses += outcome.status in ("missed", "pruned")
        return tried

    def _repair(self, space: SearchSpace, base: Recipe, enough: float, baseline: Baseline) -> Requests:
        """Change the most harmful ops of ``base`` until the criterion is met, then change back what need not be."""
        ranked = yield from suspects(space, base, self.options.ranked_ops)
        log.info("basic: most harmful ops: %s", ", ".join(f"{s.name} {s.damage:.3g}" for s in ranked[:5]))
        harmful = ranked[: foreseen_length(ranked, enough)]
        repairs = yield from int8_repairs(space, base, harmful, self.options.repair_candidates)
        to_float = float_changes(space, [suspect.name for suspect in ranked])
        damage = {suspect.name: suspect.damage for suspect in ranked}
        if repairs:
            in_float = float_changes(space, [s.name for s in harmful if s.name not in repairs])
            mixed = [*in_float, *repairs.items()]
            if (yield from self._passes_mixed(base, mixed, ALIKE * enough if to_float else math.inf)):
                yield from put_back(base, mixed, harmless(in_float, damage, enough))
                return
            base = base.with_ops({name: config for name, config in repairs.items() if name not in dict(to_float)})
        start = len(float_changes(space, [suspect.name for suspect in harmful]))
        changes = yield from shortest_passing(base, to_float, start, baseline.stop)
        if changes:
            yield from put_back(base, changes, harmless(changes[:-1], damage, enough))

    def _passes_mixed(self, base: Recipe, mixed: Sequence[Change], enough: float) -> Steps[bool]:
        """Evaluate repairs in INT8 and float together where the probed distance is at most ``enough``."""
        if longest_prefix(base, mixed) != len(mixed):
            return False
        (distance,) = yield from distances([base.with_ops(dict(mixed))], "repairs together")
        if distance > enough:
            return False
        return (yield from passes(base, mixed, "repair"))


def harmless(changes: Sequence[Change], damage: Mapping[str, float], enough: float) -> list[Change]:
    """Return the changes that may be worth taking back, the least harmful op first."""
    return [change for change in reversed(changes) if damage[change[0]] <= HARMFUL * enough]


def closest_miss(
    tried: Sequence[tuple[Candidate, TrialOutcome]], baseline: Baseline
) -> tuple[Candidate, TrialOutcome] | None:
    """Return the recipe to repair: the one that missed by least, else one that failed; never one that passed."""
    missed = [pair for pair in tried if pair[1].status != "passed"]
    return min(missed, key=lambda pair: loss(pair[1], baseline), default=None)


def loss(outcome: TrialOutcome, baseline: Baseline) -> float:
    """Return how much worse than float32 an outcome is, in the metric's unit; ``inf`` where that is not known."""
    if outcome.status not in ("passed", "missed") or outcome.accuracy is None or math.isnan(outcome.accuracy):
        return math.inf
    drop = baseline.accuracy - outcome.accuracy
    return drop if baseline.higher_is_better else -drop


def enough_distance(candidate: Candidate, outcome: TrialOutcome, baseline: Baseline) -> float:
    """Return the distance at which the criterion should be met, given one recipe that missed.

    The loss is taken to be proportional to the distance. Real losses fall more slowly at first (the share of answers
    that flip goes with the root of the distance), so this asks for too few changes rather than too many.
    """
    if not math.isfinite(candidate.distance):
        return UNKNOWN_DISTANCE
    lost, tolerated = loss(outcome, baseline), abs(baseline.accuracy - baseline.target)
    share = tolerated / lost if 0 < lost < math.inf else UNKNOWN_SHARE
    return candidate.distance * min(1.0, max(share, FINEST_SHARE))
