"""Finding the few ops that hurt where probes say nothing: group testing with whole evaluations.

A set of ops is tested by one trial in which it and the ops known to be harmless are in INT8 and all others in float:
the trial passes where none of the set hurts (R. Dorfman, The Detection of Defective Members of Large Populations,
1943). A set that hurts is halved until one op is left, and what was left over of it is unknown again, as in
F. K. Hwang, A Method for Detecting All Defective Members in a Population by Group Testing, JASA 67 (1972). His
procedure has to know the number of harmful ops; here ``splits`` decides how many ops to test next without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ilit.recipe import FLOAT32, Recipe
from ilit.strategy import Baseline, Trial
from ilit_strategies.basic.estimates import loss
from ilit_strategies.basic.group_plan import splits
from ilit_strategies.fallback import described
from ilit_strategies.probes import Steps

ALL_ALIKE = 0.9  # of all the loss from one op alone: the score tells good from bad, not how bad
UNEVEN = 0.1  # from a whole number: then losses do not count the harmful ops
FEW = 8  # ops like the one just found are worth a trial or more each; where more must be in float, they are not


def harmful_ops(
    base: Recipe, names: Sequence[str], baseline: Baseline, lost: float = math.inf, spent: int = 0
) -> Steps[list[str] | None]:
    """Return those of ``names`` that must be in float for the criterion to be met, given that ``base`` misses it.

    Harm is taken to be monotone: more ops in float never hurt. Then the recipe with the returned ops in float and all
    else as in ``base`` was evaluated and has passed, and with any of them back in INT8 it misses. Where ops that
    cannot be in float are to blame, nothing is returned after one trial. Evaluations: ``splits.Splits``.

    None is returned where no few ops are to blame: one that was found passes alone, since it only was one too many
    beside those that had passed, and more than ``FEW`` of its kind would have to be in float. To find op after op of
    harm that adds up like this would take a trial or more for each.

    Args:
        base: the recipe with all of them in INT8, evaluated and missed.
        names: the ops that may go to float, the most suspicious first.
        baseline: what the losses of trials are taken from.
        lost: the loss of ``base``; with the losses that follow it only tells how large the groups should be.
        spent: trials since that of ``base``.
    """
    if set(names) != set(base.quantized_ops) and not (yield from _tested(base, names, baseline))[0]:
        return []
    suspected, unknown = list(names), list[str]()
    harmless, harmful, steps = set[str](), list[str](), list[float]()
    latest, trusted, used, tolerated = lost, True, 0.0, abs(baseline.accuracy - baseline.target)
    while suspected or unknown:
        if len(suspected) == 1:
            others = [name for name in names if name not in suspected]
            adds_up = latest - used <= tolerated and lost - tolerated > FEW * (latest - used)
            if adds_up and (yield from _tested(base, others, baseline))[0]:
                return None
            harmful, suspected, steps = harmful + suspected, [], [*steps, latest]
            continue
        likely = likely_number(lost, steps) if trusted else 0
        sizes = splits(len(names), likely, spent)
        size = sizes.size(len(suspected), len(unknown), len(harmful))
        tested, rest = (suspected or unknown)[:size], (suspected or unknown)[size:]
        passed, found = yield from _tested(base, [n for n in names if n not in harmless.union(tested)], baseline)
        latest, used = (latest, found) if passed else (found, used)
        harmless.update(tested if passed else ())
        trusted = trusted and (passed or not likely or len(harmful) < likely)  # one more than likely: no steps to count
        if not suspected:
            suspected, unknown = ([] if passed else tested), rest
        elif passed:
            suspected = rest
        else:
            suspected, unknown = tested, rest + unknown
    return harmful


def likely_number(lost: float, steps: Sequence[float]) -> int:
    """Return how many ops hurt if losses add up, or 0 where the losses do not tell.

    Args:
        lost: the loss with all of them in INT8.
        steps: the loss with each harmful op found so far as the only one.
    """
    if not steps or not math.isfinite(lost + math.fsum(steps)):
        return 0
    step = math.fsum(steps) / len(steps)
    if step <= 0 or step > ALL_ALIKE * lost or abs(lost / step - round(lost / step)) > UNEVEN:
        return 0
    return max(len(steps), round(lost / step))


def _tested(base: Recipe, in_float: Sequence[str], baseline: Baseline) -> Steps[tuple[bool, float]]:
    """Evaluate ``base`` with these ops in float; return whether that passed, and its loss."""
    outcome = yield Trial(base.in_float(in_float), f"group test, {described([(name, FLOAT32) for name in in_float])}")
    return outcome.status == "passed", loss(outcome, baseline)
