"""Finding the few ops that hurt where probes say nothing: group testing with whole evaluations.

A set of ops is tested by one trial in which it and the ops known to be harmless are in INT8 and all others in float:
the trial passes where none of the set hurts (R. Dorfman, The Detection of Defective Members of Large Populations,
1943). A set that hurts is halved until one op is left, and what was left over of it is unknown again, as in
F. K. Hwang, A Method for Detecting All Defective Members in a Population by Group Testing, JASA 67 (1972). His
procedure has to know the number of harmful ops; here ``group_plan`` decides how many ops to test next without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ilit.recipe import FLOAT32, Recipe
from ilit.strategy import Baseline, Trial
from ilit_strategies.basic.estimates import loss, tolerated_loss
from ilit_strategies.basic.group_plan import group_plan
from ilit_strategies.basic.thresholds import ALL_OR_NOTHING_LOSS, FEW_HARMFUL_OPS, UNEVEN_COUNT
from ilit_strategies.fallback import Change, described
from ilit_strategies.probes import Steps


def harmful_ops(
    base: Recipe, names: Sequence[str], baseline: Baseline, lost: float = math.inf, spent: int = 0
) -> Steps[list[str] | None]:
    """Return those of ``names`` that must be in float for the criterion to be met, given that ``base`` misses it.

    Harm is taken to be monotone: more ops in float never hurt. Then the recipe with the returned ops in float and all
    else as in ``base`` was evaluated and has passed, and with any of them back in INT8 it misses. Where ops that
    cannot be in float are to blame, nothing is returned after one trial. Evaluations: ``group_plan.GroupPlan``.

    None is returned where no few ops are to blame: one that was found passes alone, since it only was one too many
    beside those that had passed, and more than ``FEW_HARMFUL_OPS`` of its kind would have to be in float. To find op
    after op of harm that adds up like this would take a trial or more for each.

    Args:
        base: the recipe with all of them in INT8, evaluated and missed.
        names: the ops that may go to float, the most suspicious first.
        baseline: what the losses of trials are taken from.
        lost: the loss of ``base``; with the losses that follow it only tells how large the groups should be.
        spent: trials since that of ``base``.
    """
    if set(names) != set(base.quantized_ops) and not (yield from _tested(base, names, baseline))[0]:
        return []
    known = _Knowledge(names, lost, tolerated_loss(baseline))
    while known.suspected or known.unknown:
        if len(known.suspected) != 1:
            group = known.next_group(spent)
            passed, left = yield from _tested(base, known.in_float_beside(group), baseline)
            known.learn(group, passed, left)
        elif known.adds_up() and (yield from _tested(base, known.others(), baseline))[0]:
            return None
        else:
            known.convict()
    return known.harmful


def _tested(base: Recipe, in_float: Sequence[str], baseline: Baseline) -> Steps[tuple[bool, float]]:
    """Evaluate ``base`` with these ops in float; return whether that passed, and its loss."""
    changes = [Change(name, FLOAT32) for name in in_float]
    outcome = yield Trial(base.in_float(in_float), f"group test, {described(changes)}")
    return outcome.status == "passed", loss(outcome, baseline)


@dataclass
class _Knowledge:
    """What the trials have told so far.

    Attributes:
        names: all ops, the most suspicious first.
        lost: the loss with all of them in INT8.
        tolerated: the loss that still passes.
        suspected: ops of which at least one hurts.
        unknown: ops of which nothing is known.
        harmless: ops that passed.
        harmful: ops found to hurt.
        losses: the loss with each harmful op as the only one in INT8, beside harmless ones.
        missed_loss: the loss of the last trial that missed.
        passed_loss: the loss of the last trial that passed.
        counted: whether the losses found so far may still count the harmful ops.
    """

    names: Sequence[str]
    lost: float
    tolerated: float
    suspected: list[str] = field(init=False)
    unknown: list[str] = field(default_factory=list)
    harmless: set[str] = field(default_factory=set)
    harmful: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    missed_loss: float = field(init=False)
    passed_loss: float = 0.0
    counted: bool = True

    def __post_init__(self) -> None:
        self.suspected, self.missed_loss = list(self.names), self.lost

    def likely(self) -> int:
        """Return the number of harmful ops that the losses tell, 0 where they do not."""
        return likely_number(self.lost, self.losses) if self.counted else 0

    def next_group(self, spent: int) -> list[str]:
        """Return the ops to test together, taken from the suspected ones where there are any."""
        plan = group_plan(len(self.names), self.likely(), spent)
        return (self.suspected or self.unknown)[: plan.size(len(self.suspected), len(self.unknown), len(self.harmful))]

    def in_float_beside(self, group: Sequence[str]) -> list[str]:
        """Return the ops that are in float while ``group`` is tested: all but those and the harmless ones."""
        in_int8 = self.harmless.union(group)
        return [name for name in self.names if name not in in_int8]

    def learn(self, group: list[str], passed: bool, lost: float) -> None:
        """Take in the trial of ``group``."""
        likely, rest = self.likely(), (self.suspected or self.unknown)[len(group) :]
        if passed:
            self.passed_loss = lost
            self.harmless.update(group)
        else:
            self.missed_loss = lost
            self.counted = self.counted and not (likely and len(self.harmful) >= likely)  # one more than there were
        if not self.suspected:
            self.suspected, self.unknown = ([] if passed else group), rest
        elif passed:
            self.suspected = rest
        else:
            self.suspected, self.unknown = group, rest + self.unknown

    def others(self) -> list[str]:
        """Return all ops but the suspected ones."""
        return [name for name in self.names if name not in self.suspected]

    def adds_up(self) -> bool:
        """Return whether the one op suspected adds so little that many of its kind would have to be in float."""
        added = self.missed_loss - self.passed_loss
        return added <= self.tolerated and self.lost - self.tolerated > FEW_HARMFUL_OPS * added

    def convict(self) -> None:
        """Take the one op suspected for harmful."""
        self.harmful += self.suspected
        self.losses.append(self.missed_loss)
        self.suspected = []


def likely_number(lost: float, losses: Sequence[float]) -> int:
    """Return the number of ops that hurt if losses add up, or 0 where the losses do not tell.

    Args:
        lost: the loss with all of them in INT8.
        losses: the loss with each harmful op found so far as the only one.
    """
    if not losses or not math.isfinite(lost + math.fsum(losses)):
        return 0
    step = math.fsum(losses) / len(losses)
    if step <= 0 or step > ALL_OR_NOTHING_LOSS * lost or abs(lost / step - round(lost / step)) > UNEVEN_COUNT:
        return 0
    return max(len(losses), round(lost / step))
