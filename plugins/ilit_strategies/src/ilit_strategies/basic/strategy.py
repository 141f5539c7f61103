"""Strategy ``basic``: INT8 throughout where that does, else the most harmful ops repaired, with few evaluations."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ilit.recipe import OpConfig, Recipe
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial
from ilit_strategies.basic.accurate import more_accurate
from ilit_strategies.basic.estimates import (
    Candidate,
    Tried,
    closest_miss,
    enough_distance,
    hidden_harm,
    loss,
    near_distance,
    worth_a_trial,
)
from ilit_strategies.basic.group_testing import harmful_ops
from ilit_strategies.basic.improve import improve, slow_to_float
from ilit_strategies.basic.ranking import RankedOp, foreseen_length, individually_fatal, int8_repairs, rank_ops
from ilit_strategies.basic.thresholds import FATAL_DAMAGE, MAX_NEEDED_IN_FLOAT, SAME_DISTANCE, UNFORESEEN_ONE_IN
from ilit_strategies.basic.uniform import candidates
from ilit_strategies.fallback import Change, float_changes, passes, put_back, shortest_passing, shortest_prefix
from ilit_strategies.probes import Steps, by_own_error, distances

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
    2. After a miss, give the ops that gain most more accurate INT8 configs, which cost speed, then all that gain
       (``accurate``). A recipe is evaluated only where its distance is clearly less than that of what missed: others
       would pass by chance alone.
    3. Rank the INT8 ops of the closest miss by the damage each does alone (``ranking.rank_ops``), foresee by probes how
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
        yield from _Search(space, baseline, self.options).steps()


@dataclass(frozen=True)
class _Diagnosis:
    """What probes found about a recipe that missed.

    Attributes:
        base: that recipe.
        enough: the distance at which the criterion should be met.
        ranked: its INT8 ops, the most harmful first.
        harmful: the first of them, as many as should have to change.
        repairs: harmful op -> the INT8 config that repairs it.
    """

    base: Recipe
    enough: float
    ranked: Sequence[RankedOp]
    harmful: Sequence[RankedOp]
    repairs: Mapping[str, OpConfig]

    def harmless(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes that may be worth taking back, the least harmful op first."""
        damage = {op.name: op.damage for op in self.ranked}
        return [change for change in reversed(changes) if damage[change.op] <= FATAL_DAMAGE * self.enough]


@dataclass
class _Search:
    """One search: what is asked for, and the model-wise recipes evaluated so far. The methods stand in their order."""

    space: SearchSpace
    baseline: Baseline
    options: BasicOptions
    tried: list[Tried] = field(default_factory=list)

    def steps(self) -> Requests:
        """Yield the whole search: INT8 throughout, then what the outcomes call for."""
        yield from self._all_in_int8()
        if not self.tried:
            return
        missed = closest_miss(self.tried, self.baseline)
        hits = [each.recipe for each in self.tried if each.outcome.accepted]
        if hits:
            yield from improve(self.space, hits[-1], self.cheap, self.baseline)
        elif missed is None:
            yield from slow_to_float(self.space, self.cheap)
        elif self._harm_is_hidden():
            log.info("basic: the loss is not what the distance tells, so the harmful ops are sought by trials")
            yield from self._group_tests(missed, (yield from by_own_error(missed.recipe)))
        else:
            yield from self._some_in_float(missed)

    @property
    def cheap(self) -> Recipe:
        """The recipe evaluated first: of all, its INT8 configs cost least at run time."""
        return self.tried[0].recipe

    def _harm_is_hidden(self) -> bool:
        return self.baseline.stop == "budget" and hidden_harm(self.tried, self.baseline)

    # --- INT8 throughout -------------------------------------------------------------------------------------------

    def _all_in_int8(self) -> Steps[None]:
        """Evaluate recipes without a float op until one is accepted, harm shows to be hidden, or enough have missed."""
        near = near_distance(self.baseline)
        waiting = yield from candidates(self.space, self.options.model_wise_probes, near)
        misses = 0
        while waiting and misses < self.options.model_wise_trials:
            candidate, *waiting = waiting
            if not worth_a_trial(candidate, closest_miss(self.tried, self.baseline), self.baseline):
                log.info("basic: a recipe at distance %.3g is not worth a trial", candidate.distance)
                continue
            outcome = yield Trial(candidate.recipe, f"no op in float, distance {candidate.distance:.3g}")
            self.tried.append(Tried(candidate.recipe, candidate.distance, outcome))
            if outcome.accepted or self._harm_is_hidden():
                return
            if outcome.status in ("missed", "pruned"):
                misses += 1
                if misses == 1:
                    waiting = yield from self._after_first_miss(candidate, waiting)

    def _after_first_miss(self, missed: Candidate, waiting: list[Candidate]) -> Steps[list[Candidate]]:
        """Return the recipes to evaluate next: more accurate ones, then what more probes of uniform ones tell."""
        if len(self.tried) == 1:
            others = yield from candidates(self.space, self.options.model_wise_probes)
            waiting = [other for other in others if other.recipe != missed.recipe]
        if not self.options.repair_candidates:
            return waiting
        return [*(yield from more_accurate(self.space, missed.recipe)), *waiting]

    # --- Harm that probes see: repairs in INT8, then some ops in float ---------------------------------------------

    def _some_in_float(self, missed: Tried) -> Requests:
        """Find the ops that must change by probes, change them, then try what makes the recipe cheaper."""
        base, enough = missed.recipe, enough_distance(missed, self.baseline)
        ranked = yield from rank_ops(self.space, base, self.options.ranked_ops, enough)
        log.info("basic: most harmful ops: %s", ", ".join(f"{op.name} {op.damage:.3g}" for op in ranked[:5]))
        length = foreseen_length(ranked, enough)
        harmful = ranked[: length or max(1, len(ranked) // UNFORESEEN_ONE_IN)]
        repairs = yield from int8_repairs(self.space, base, harmful, self.options.repair_candidates)
        if not length and not repairs and self.baseline.stop == "budget":
            log.info("basic: no few ops do the damage, so those that must be in float are sought by trials")
            yield from self._group_tests(missed, [op.name for op in ranked])
            return
        diagnosis = _Diagnosis(base, enough, ranked, harmful, repairs)
        hit = yield from self._repaired(diagnosis)
        if hit is None:
            hit = yield from self._fallen_back(diagnosis)
        if hit is not None:
            yield from improve(self.space, hit, self.cheap, self.baseline)

    def _repaired(self, found: _Diagnosis) -> Steps[Recipe | None]:
        """Evaluate the repairs, with the other harmful ops in float, where that is close enough by a probe."""
        if not found.repairs:
            return None
        in_float = self._to_float([op for op in found.harmful if op.name not in found.repairs])
        changes = [*in_float, *(Change(name, config) for name, config in found.repairs.items())]
        (distance,) = yield from distances([found.base.with_ops(dict(changes))], "repairs together")
        if distance > SAME_DISTANCE * found.enough and self._to_float(found.ranked):  # else nothing else can be tried
            return None
        if not (yield from passes(found.base, changes, "repair")):
            return None
        return (yield from _put_back(found, found.base, changes, in_float))

    def _fallen_back(self, found: _Diagnosis) -> Steps[Recipe | None]:
        """Put the most harmful ops into float, as few as pass; those that cannot be in float take their repairs."""
        to_float, start = self._to_float(found.ranked), len(self._to_float(found.harmful))
        fatal = len(self._to_float(found.ranked[: individually_fatal(found.ranked, found.enough)]))
        able = dict(to_float)
        base = found.base.with_ops({name: config for name, config in found.repairs.items() if name not in able})
        least = min(start, max(1, fatal))
        changes = yield from shortest_passing(base, to_float, start, self.baseline.stop, least)
        return (yield from _put_back(found, base, changes, changes[:-1])) if changes else None

    def _to_float(self, ops: Sequence[RankedOp]) -> list[Change]:
        """Return the changes to float32 of those ops that may be."""
        return float_changes(self.space, [op.name for op in ops])

    # --- Harm that probes do not see -------------------------------------------------------------------------------

    def _group_tests(self, missed: Tried, names: Sequence[str]) -> Requests:
        """Find by trials which ops must be in float, or, where harm adds up over all ops, how many of ``names`` must.

        Nothing is tried beyond single ops that are found: probes could not foresee what it does.
        """
        changes = float_changes(self.space, names)
        able, lost, spent = [change.op for change in changes], loss(missed.outcome, self.baseline), len(self.tried) - 1
        found = yield from harmful_ops(missed.recipe, able, self.baseline, lost, spent)
        if found is not None:
            return
        log.info("basic: ops that are harmless alone add up, so the shortest list of them that does is bisected")
        shortest = yield from shortest_prefix(missed.recipe, changes, len(changes) // 2, self.baseline.stop)
        if shortest:
            hit = missed.recipe.with_ops(dict(shortest))
            yield from improve(self.space, hit, self.cheap, self.baseline)


def _put_back(found: _Diagnosis, base: Recipe, changes: Sequence[Change], pool: Sequence[Change]) -> Steps[Recipe]:
    """Return ``base`` with the changes but for those of the pool that a few trials show not to be needed."""
    retained = yield from put_back(base, changes, found.harmless(pool), most=MAX_NEEDED_IN_FLOAT)
    return base.with_ops(dict(retained))
