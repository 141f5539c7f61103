"""What outcomes foretell: how much was lost, whether a distance accounts for it, and which distance should do."""

from __future__ import annotations

import math

from ilit.strategy import Baseline, TrialOutcome

UNKNOWN_SHARE = 0.25  # of the distance is enough, where no accuracy says how much
UNKNOWN_DISTANCE = 0.05  # at most is enough, where that is all that is known: most of the model is intact
FINEST_SHARE = 0.01  # nothing finer can be foreseen from some dozen rows
FLIPS = 1.0  # times the root of the distance: the share of answers that flip, seen on BERT at 0.0002 to 0.002
BOTH_WAYS = 2.0  # times the tolerated loss may flip: some answers become wrong, others right
WRECKED = 0.25  # a distance at which so little of the model is left that it may lose anything
CLEARLY_NEARER = 0.8  # of a distance: rows on which it is measured move it by less
AS_MUCH = 0.9  # of a loss is no improvement
BEYOND = 2.0  # times the tolerated loss is not noise of the evaluation


def loss(outcome: TrialOutcome, baseline: Baseline) -> float:
    """Return how much worse than float32 an outcome is, in the metric's unit; ``inf`` where that is not known.

    A pruned one was at least this much worse.
    """
    if outcome.status == "failed" or outcome.accuracy is None or math.isnan(outcome.accuracy):
        return math.inf
    drop = baseline.accuracy - outcome.accuracy
    return drop if baseline.higher_is_better else -drop


def accounted_for(distance: float, outcome: TrialOutcome, baseline: Baseline) -> bool:
    """Return whether the distance that a probe saw is large enough for the loss that the evaluation saw.

    A distance d flips about ``FLIPS * sqrt(d)`` of the answers, and in the worst case all of them were right. At
    ``WRECKED`` any loss is accounted for, and so it is where the probe failed.
    """
    lost = loss(outcome, baseline)
    if math.isinf(lost) or distance >= WRECKED:
        return True
    return lost <= FLIPS * math.sqrt(distance) * max(abs(baseline.accuracy), abs(baseline.target))


def enough_distance(distance: float, outcome: TrialOutcome, baseline: Baseline) -> float:
    """Return the distance at which the criterion should be met, given one at which it was missed.

    The loss is taken to be proportional to the distance. Real losses fall more slowly at first (the share of answers
    that flip goes with the root of the distance), so this asks for too few changes rather than too many.
    """
    if not math.isfinite(distance):
        return UNKNOWN_DISTANCE
    lost, tolerated = loss(outcome, baseline), abs(baseline.accuracy - baseline.target)
    if outcome.status == "pruned" or not 0 < lost < math.inf:
        return min(UNKNOWN_SHARE * distance, UNKNOWN_DISTANCE)
    return distance * min(1.0, max(tolerated / lost, FINEST_SHARE))


def near_distance(baseline: Baseline) -> float:
    """Return the distance below which a recipe is as good as sure to meet the criterion, so that none needs beat it.

    Below it at most twice the tolerated share of answers flips, and flips go both ways.
    """
    tolerated = abs(baseline.accuracy - baseline.target) / max(abs(baseline.accuracy), abs(baseline.target), 1e-12)
    return (BOTH_WAYS * tolerated / FLIPS) ** 2


def unmoved(first: tuple[float, TrialOutcome], later: tuple[float, TrialOutcome], baseline: Baseline) -> bool:
    """Return whether a recipe at clearly less distance lost as much, so that the distance is not what it lost by.

    Each is a distance and an outcome. Only losses well beyond the tolerated one tell; a pruned recipe's is not known.
    """
    if first[1].status != "missed" or later[1].status != "missed" or later[0] > CLEARLY_NEARER * first[0]:
        return False
    before, after = loss(first[1], baseline), loss(later[1], baseline)
    return math.inf > after > max(AS_MUCH * before, BEYOND * abs(baseline.accuracy - baseline.target))
