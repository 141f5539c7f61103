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
from ilit_strategies.dearer import dearer_recipes
from ilit_strategies.fallback import Change, float_changes, longest_prefix, passes, put_back, shortest_passing
from ilit_strategies.grouptest import harmful_ops
from ilit_strategies.improve import improve
from ilit_strategies.probes import Steps, by_own_error, distances
from ilit_strategies.ranking import foreseen_length, int8_repairs, suspects

HOPELESS = 4.0  # a recipe whose foreseen loss is more than this many times the tolerated one is not evaluated
BETTER = 0.8  # of a missed recipe's distance is what another one may have to be worth an evaluation
HARMFUL = 2.0  # an op that alone does this many times the distance that is enough is not tried in INT8 again
UNKNOWN_SHARE = 0.25  # of the base's distance must go, where no accuracy says how much
UNKNOWN_DISTANCE = 0.05  # is enough, where not even the base's distance is known: most of the model is intact
FINEST_SHARE = 0.01  # nothing finer can be foreseen from some dozen rows
FLIPS = 1.0  # times the root of the distance: the share of answers that flip, seen on BERT at 0.0002 to 0.002

log = logging.getLogger(__name__)


class BasicOptions(BaseModel):
    """Options of ``basic``, given beside the name: ``strategy: {name: basic, model_wise_trials: 3}``.

    Attributes:
        model_wise_trials: evaluations of recipes without float ops that may miss before ops go to float.
        model_wise_probes: whole-model probes before the first evaluation.
        ranked_ops: ops whose harm is probed with the whole model, those with the largest own error.
        repair_candidates: other INT8 configs probed for each op before it is put into float; 0 allows float only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_wise_trials: int = Field(3, ge=1)
    model_wise_probes: int = Field(6, ge=1)
    ranked_ops: int = Field(48, ge=1)
    repair_candidates: int = Field(6, ge=0)


class Basic:
    """Find a recipe that meets the criterion with few evaluations and few ops in float32.

    1. Give each op the INT8 config in which its own error is least, at no cost at run time; probe that mixture, the
       uniform recipes beside it and the preferred one, and evaluate the closest (``candidates``).
    2. After a miss, give the ops that gain most dearer INT8 configs, then all that gain (``dearer``). A recipe is
       evaluated only where its distance is clearly less than that of what missed: others would pass by chance alone.
    3. Rank the INT8 ops of the closest miss by the damage each does alone (``ranking.suspects``), foresee by probes how
       many must change, and evaluate from that length on (``fallback.shortest_passing``). Where probes show that other
       INT8 configs repair some of them, that mixed recipe is evaluated first.
    4. Where the search goes on after a hit (``stop: budget``): bisect to the shortest prefix, put ops of it back into
       INT8, and at last try what makes the hit cheaper (``improve``). Where the loss is larger than the distance
       accounts for, the harm is one that probes do not see: then group testing finds the ops (``grouptest``).

    Evaluations at worst up to the first hit, for m = ``model_wise_trials`` and n ops that may be in float32:
    m + 1 + 2 ceil(log2 n) + 1, and the last two terms up to four times where even the longest fallback misses. With
    ``stop: budget`` and harm that probes do not see: about 1 + k (log2(n / k) + 2) for k harmful ops. Where probes see
    the damage it is far less: 1 + 1 up to the first hit. Probes: at most 8 of all ops' own errors,
    model_wise_probes + 2 + ranked_ops + 8 repair_candidates + 1 with the whole model.
    """

    name: ClassVar[str] = "basic"
    Options: ClassVar[type[BaseModel]] = BasicOptions

    def __init__(self, options: BasicOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield probes and trials as the class says; nothing here is random."""
        ordered = yield from candidates(space, self.options.model_wise_probes)
        tried = yield from self._without_float(space, ordered, baseline)
        base = closest_miss(tried, baseline)
        hits = [candidate.recipe for candidate, outcome in tried if outcome.accepted]
        if hits:
            yield from improve(space, hits[-1], baseline)
        elif base is not None and baseline.stop == "budget" and not accounted_for(*base, baseline):
            log.info("basic: the loss is more than the distance accounts for, so the harmful ops are sought by trials")
            names = yield from by_own_error(base[0].recipe)
            yield from harmful_ops(base[0].recipe, [name for name, _ in float_changes(space, names)])
        elif base is not None:
            yield from self._repair(space, base[0].recipe, enough_distance(*base, baseline), baseline)

    def _without_float(
        self, space: SearchSpace, ordered: Sequence[Candidate], baseline: Baseline
    ) -> Steps[list[tuple[Candidate, TrialOutcome]]]:
        """Evaluate recipes of the model as a whole; return those evaluated with their outcomes."""
        tried: list[tuple[Candidate, TrialOutcome]] = []
        waiting, misses, looked_further = list(ordered), 0, False
        while waiting and misses < self.options.model_wise_trials:
            candidate = waiting.pop(0)
            base = closest_miss(tried, baseline)
            if not worth_a_trial(candidate, base, baseline):
                log.info("basic: a recipe at distance %.3g is not worth a trial", candidate.distance)
                continue
            outcome = yield Trial(candidate.recipe, f"no op in float, distance {candidate.distance:.3g}")
            tried.append((candidate, outcome))
            if outcome.accepted:
                break
            missed = outcome.status in ("missed", "pruned")
            misses += missed
            if missed and not looked_further and accounted_for(candidate, outcome, baseline):
                looked_further = True
                found = yield from dearer_recipes(space, candidate.recipe)
                waiting = [*(Candidate(recipe, distance) for recipe, distance in found), *waiting]
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


def worth_a_trial(candidate: Candidate, missed: tuple[Candidate, TrialOutcome] | None, baseline: Baseline) -> bool:
    """Return whether a recipe may well do better than what missed, and is not hopeless; the first one is tried."""
    if missed is None:
        return True
    if math.isinf(candidate.distance):
        return False
    nearer = candidate.distance <= BETTER * missed[0].distance
    return nearer and candidate.distance <= HOPELESS * enough_distance(*missed, baseline)


def accounted_for(candidate: Candidate, outcome: TrialOutcome, baseline: Baseline) -> bool:
    """Return whether the distance that a probe saw is large enough for the loss that the evaluation saw.

    A distance d flips about ``FLIPS * sqrt(d)`` of the answers, and in the worst case all of them were right. A failed
    recipe accounts for itself.
    """
    lost = loss(outcome, baseline)
    if math.isinf(lost) or math.isinf(candidate.distance):
        return True
    return lost <= FLIPS * math.sqrt(candidate.distance) * max(abs(baseline.accuracy), abs(baseline.target))


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
    """Return how much worse than float32 an outcome is, in the metric's unit; ``inf`` where that is not known.

    A pruned one was at least this much worse.
    """
    if outcome.status == "failed" or outcome.accuracy is None or math.isnan(outcome.accuracy):
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
