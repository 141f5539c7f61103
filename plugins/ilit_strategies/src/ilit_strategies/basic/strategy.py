"""Strategy ``basic``: INT8 throughout where that does, else the most harmful ops repaired, with few evaluations."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ilit.recipe import OpConfig, Recipe
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial, TrialOutcome
from ilit_strategies.basic.accurate import dearer_recipes
from ilit_strategies.basic.estimates import accounted_for, enough_distance, loss, near_distance, unmoved
from ilit_strategies.basic.group_testing import harmful_ops
from ilit_strategies.basic.improve import improve, slow_to_float
from ilit_strategies.basic.ranking import HARMFUL, Suspect, foreseen_length, int8_repairs, suspects, wreckers
from ilit_strategies.basic.uniform import ALIKE, Candidate, candidates
from ilit_strategies.fallback import (
    Change,
    float_changes,
    longest_prefix,
    passes,
    put_back,
    shortest_passing,
    shortest_prefix,
)
from ilit_strategies.probes import Steps, by_own_error, distances

HOPELESS = 4.0  # a recipe whose foreseen loss is more than this many times the tolerated one is not evaluated
MOST_NEEDED = 3  # ops of a list that are found to be needed after all; where more are, the list is about right
BETTER = 0.8  # of a missed recipe's distance is what another one may have to be worth an evaluation

Tried = Sequence[tuple[Candidate, TrialOutcome]]
"""Recipes evaluated, with their outcomes."""

log = logging.getLogger("ilit.strategies")


class BasicOptions(BaseModel):
    """Options of ``basic``, given beside the name: ``strategy: {name: basic, model_wise_trials: 3}``.

    Attributes:
        model_wise_trials: evaluations of recipes without float ops that may miss before ops go to float.
        model_wise_probes: whole-model probes before the first evaluation.
        ranked_ops: ops whose harm is probed with the whole model, those with the largest own error.
        repair_candidates: other INT8 configs compared for each op before it is put into float; 0 allows float only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_wise_trials: int = Field(3, ge=1)
    model_wise_probes: int = Field(6, ge=1)
    ranked_ops: int = Field(48, ge=1)
    repair_candidates: int = Field(6, ge=0)


class Basic:
    """Find a recipe that meets the criterion with few evaluations and few ops in float32.

    1. Give each op the INT8 config in which its own error is least, at no cost at run time; probe that mixture and the
       best uniform recipes up to one whose distance leaves no doubt, and evaluate the closest (``uniform``).
    2. After a miss, give the ops that gain most dearer INT8 configs, then all that gain (``accurate``). A recipe is
       evaluated only where its distance is clearly less than that of what missed: others would pass by chance alone.
    3. Rank the INT8 ops of the closest miss by the damage each does alone (``ranking.suspects``), foresee by probes how
       many must change, and evaluate from that length on (``fallback.shortest_passing``). Where probes show that other
       INT8 configs repair some of them, that mixed recipe is evaluated first.
    4. Where the search goes on after a hit (``stop: budget``): bisect to the shortest prefix, put ops of it back into
       INT8, and at last try what makes the hit cheaper (``improve``). Where the loss is larger than the distance
       accounts for, or does not fall with it, the harm is one that probes do not see: then group testing finds the ops
       (``group_testing``), as it does where harm is everywhere.

    Evaluations at worst up to the first hit, for m = ``model_wise_trials`` and n ops that may be in float32: m + 1
    + 2 ceil(log2 n) + 1, and the last two terms up to four times where even the longest fallback misses. Where
    probes see the damage it is far less: 1 + 1. With ``stop: budget`` and harm that probes do not see, for k
    harmful ops: 1 + k (ceil(log2(n / k)) + 2) (``group_plan``), one more where the loss became suspicious only with the
    second recipe; where all ops lose a little and it adds up, about 3 + 2 ceil(log2 n) to a short list that passes.
    Probes: some 12 of all ops' own errors, which cost no pass of the model; with the whole model model_wise_probes
    + 2 before ops are ranked, then at most 9/8 ranked_ops + 8 + 1.
    """

    name: ClassVar[str] = "basic"
    Options: ClassVar[type[BaseModel]] = BasicOptions

    def __init__(self, options: BasicOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield probes and trials as the class says; nothing here is random."""
        ordered = yield from candidates(space, self.options.model_wise_probes, near_distance(baseline))
        tried = yield from self._without_float(space, ordered, baseline)
        if not tried:
            return
        base = closest_miss(tried, baseline)
        hits = [candidate.recipe for candidate, outcome in tried if outcome.accepted]
        if hits:
            yield from improve(space, hits[-1], ordered[0].recipe, baseline)
        elif base is None:
            yield from slow_to_float(space, tried[0][0].recipe)
        else:
            yield from self._with_float(space, base, tried, baseline)

    def _without_float(self, space: SearchSpace, ordered: Sequence[Candidate], baseline: Baseline) -> Steps[Tried]:
        """Evaluate recipes of the model as a whole; return those evaluated with their outcomes."""
        tried: list[tuple[Candidate, TrialOutcome]] = []
        waiting, misses, looked_further = list(ordered), 0, not self.options.repair_candidates
        while waiting and misses < self.options.model_wise_trials:
            candidate = waiting.pop(0)
            if not worth_a_trial(candidate, closest_miss(tried, baseline), baseline):
                log.info("basic: a recipe at distance %.3g is not worth a trial", candidate.distance)
                continue
            outcome = yield Trial(candidate.recipe, f"no op in float, distance {candidate.distance:.3g}")
            tried.append((candidate, outcome))
            if outcome.accepted or (baseline.stop == "budget" and unseen_harm(tried, baseline)):
                break
            missed = outcome.status in ("missed", "pruned")
            misses += missed
            if missed and len(tried) == 1:
                others = yield from candidates(space, self.options.model_wise_probes)
                waiting = [other for other in others if other.recipe != candidate.recipe]
            if missed and not looked_further:
                looked_further = True
                found = yield from dearer_recipes(space, candidate.recipe)
                waiting = [*(Candidate(recipe, distance) for recipe, distance in found), *waiting]
        return tried

    def _with_float(
        self, space: SearchSpace, missed: tuple[Candidate, TrialOutcome], tried: Tried, baseline: Baseline
    ) -> Requests:
        """Find the ops that must be in float, then what else makes the recipe cheaper."""
        base, outcome, cheap = missed[0].recipe, missed[1], tried[0][0].recipe
        if baseline.stop == "budget" and unseen_harm(tried, baseline):
            log.info("basic: the loss is not what the distance tells, so the harmful ops are sought by trials")
            names = yield from by_own_error(base)
            yield from _group_tests(space, missed, names, tried, baseline)
            return
        enough = enough_distance(missed[0].distance, outcome, baseline)
        ranked = yield from suspects(space, base, self.options.ranked_ops, enough)
        log.info("basic: most harmful ops: %s", ", ".join(f"{s.name} {s.damage:.3g}" for s in ranked[:5]))
        length = foreseen_length(ranked, enough)
        harmful = ranked[: length or max(1, len(ranked) // 8)]
        repairs = yield from int8_repairs(space, base, harmful, self.options.repair_candidates)
        if not length and not repairs and baseline.stop == "budget":
            log.info("basic: no few ops do the damage, so those that must be in float are sought by trials")
            names = [suspect.name for suspect in ranked]
            yield from _group_tests(space, missed, names, tried, baseline)
            return
        hit = yield from self._fallback(space, base, ranked, len(harmful), repairs, enough, baseline)
        if hit is not None:
            yield from improve(space, hit, cheap, baseline)

    def _fallback(
        self,
        space: SearchSpace,
        base: Recipe,
        ranked: Sequence[Suspect],
        length: int,
        repairs: Mapping[str, OpConfig],
        enough: float,
        baseline: Baseline,
    ) -> Steps[Recipe | None]:
        """Repair or put into float the first ``length`` of ``ranked``, then more; return what passed, or None."""
        damage, harmful = {suspect.name: suspect.damage for suspect in ranked}, ranked[:length]
        to_float = float_changes(space, list(damage))
        if repairs:
            in_float = float_changes(space, [s.name for s in harmful if s.name not in repairs])
            mixed = [*in_float, *repairs.items()]
            if (yield from self._passes_mixed(base, mixed, ALIKE * enough if to_float else math.inf)):
                kept = yield from put_back(base, mixed, harmless(in_float, damage, enough), most=MOST_NEEDED)
                return base.with_ops(dict(kept))
            base = base.with_ops({name: config for name, config in repairs.items() if name not in dict(to_float)})
        start = len(float_changes(space, [suspect.name for suspect in harmful]))
        needed = float_changes(space, [suspect.name for suspect in ranked[: wreckers(ranked, enough)]])
        changes = yield from shortest_passing(base, to_float, start, baseline.stop, min(start, max(1, len(needed))))
        if not changes:
            return None
        kept = yield from put_back(base, changes, harmless(changes[:-1], damage, enough), most=MOST_NEEDED)
        return base.with_ops(dict(kept))

    def _passes_mixed(self, base: Recipe, mixed: Sequence[Change], enough: float) -> Steps[bool]:
        """Evaluate repairs in INT8 and float together where the probed distance is at most ``enough``."""
        if longest_prefix(base, mixed) != len(mixed):
            return False
        (distance,) = yield from distances([base.with_ops(dict(mixed))], "repairs together")
        if distance > enough:
            return False
        return (yield from passes(base, mixed, "repair"))


def _group_tests(
    space: SearchSpace,
    missed: tuple[Candidate, TrialOutcome],
    names: Sequence[str],
    tried: Tried,
    baseline: Baseline,
) -> Requests:
    """Find by trials which ops must be in float, or, where harm adds up over all ops, how many of ``names`` must.

    Nothing is tried beyond single ops that are found: probes could not foresee what it does.
    """
    changes = float_changes(space, names)
    base, lost = missed[0].recipe, loss(missed[1], baseline)
    found = yield from harmful_ops(base, [name for name, _ in changes], baseline, lost, len(tried) - 1)
    if found is not None:
        return
    log.info("basic: ops that are harmless alone add up, so the shortest list of them that does is bisected")
    kept = yield from shortest_prefix(base, changes, len(changes) // 2, baseline.stop)
    if kept:
        yield from improve(space, base.with_ops(dict(kept)), tried[0][0].recipe, baseline)


def worth_a_trial(candidate: Candidate, missed: tuple[Candidate, TrialOutcome] | None, baseline: Baseline) -> bool:
    """Return whether a recipe may well do better than what missed, and is not hopeless; the first one is tried."""
    if missed is None:
        return True
    if math.isinf(candidate.distance):
        return False
    nearer = candidate.distance <= BETTER * missed[0].distance
    return nearer and candidate.distance <= HOPELESS * enough_distance(missed[0].distance, missed[1], baseline)


def unseen_harm(tried: Tried, baseline: Baseline) -> bool:
    """Return whether the loss is not what probes tell: too large for the distance, or not falling with it."""
    missed = [(candidate.distance, outcome) for candidate, outcome in tried if outcome.status != "passed"]
    return bool(missed) and (
        not accounted_for(*missed[0], baseline) or any(unmoved(missed[0], later, baseline) for later in missed[1:])
    )


def harmless(changes: Sequence[Change], damage: Mapping[str, float], enough: float) -> list[Change]:
    """Return the changes that may be worth taking back, the least harmful op first."""
    return [change for change in reversed(changes) if damage[change[0]] <= HARMFUL * enough]


def closest_miss(tried: Tried, baseline: Baseline) -> tuple[Candidate, TrialOutcome] | None:
    """Return the recipe to repair: the one that missed by least, else one that failed; never one that passed."""
    missed = [pair for pair in tried if pair[1].status != "passed"]
    return min(missed, key=lambda pair: loss(pair[1], baseline), default=None)
