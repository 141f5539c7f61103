"""What outcomes foretell: how much was lost, whether a distance accounts for it, and which distance should do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ilit.recipe import Recipe
from ilit.strategy import Baseline, TrialOutcome
from ilit_strategies.basic.thresholds import (
    CLEAR_LOSS,
    CLEARLY_LESS_DISTANCE,
    CLEARLY_LESS_LOSS,
    ENOUGH_DISTANCE_UNKNOWN_LOSS,
    ENOUGH_SHARE_UNKNOWN_LOSS,
    FLIPPED_PER_ROOT_DISTANCE,
    MAX_TRIAL_DISTANCE,
    MIN_ENOUGH_SHARE,
    NEAR_FLIPS,
    WRECKED_DISTANCE,
)


@dataclass(frozen=True)
class Candidate:
    """A recipe and how far the probe saw its outputs from float32's; ``inf`` where the recipe failed."""

    recipe: Recipe
    distance: float


@dataclass(frozen=True)
class Tried:
    """A recipe that was evaluated: the distance that the probe saw, and the outcome of the trial."""

    recipe: Recipe
    distance: float
    outcome: TrialOutcome


def loss(outcome: TrialOutcome, baseline: Baseline) -> float:
    """Return the loss of an outcome against float32, in the metric's unit; ``inf`` where that is not known.

    A pruned one was at least this much worse.
    """
    if outcome.status == "failed" or outcome.accuracy is None or math.isnan(outcome.accuracy):
        return math.inf
    drop = baseline.accuracy - outcome.accuracy
    return drop if baseline.higher_is_better else -drop


def tolerated_loss(baseline: Baseline) -> float:
    """Return the loss against float32 that a recipe may have, in the metric's unit."""
    return abs(baseline.accuracy - baseline.target)


def near_distance(baseline: Baseline) -> float:
    """Return the distance below which a recipe is as good as sure to meet the criterion, so that none needs beat it.

    Below it at most ``NEAR_FLIPS`` times the tolerated share of answers flips, and flips go both ways.
    """
    tolerated = tolerated_loss(baseline) / max(abs(baseline.accuracy), abs(baseline.target), 1e-12)
    return (NEAR_FLIPS * tolerated / FLIPPED_PER_ROOT_DISTANCE) ** 2


def enough_distance(missed: Tried, baseline: Baseline) -> float:
    """Return the distance at which the criterion should be met, given a recipe that missed it.

    The loss is taken to be proportional to the distance. Real losses fall more slowly at first (the share of answers
    that flip goes with the root of the distance), so this asks for too few changes rather than too many.
    """
    if not math.isfinite(missed.distance):
        return ENOUGH_DISTANCE_UNKNOWN_LOSS
    lost = loss(missed.outcome, baseline)
    if missed.outcome.status == "pruned" or not 0 < lost < math.inf:
        return min(ENOUGH_SHARE_UNKNOWN_LOSS * missed.distance, ENOUGH_DISTANCE_UNKNOWN_LOSS)
    return missed.distance * min(1.0, max(tolerated_loss(baseline) / lost, MIN_ENOUGH_SHARE))


def worth_a_trial(candidate: Candidate, missed: Tried | None, baseline: Baseline) -> bool:
    """Return whether a recipe may well do better than what missed, and is not hopeless; the first one is tried."""
    if missed is None:
        return True
    if math.isinf(candidate.distance):
        return False
    nearer = candidate.distance <= CLEARLY_LESS_DISTANCE * missed.distance
    return nearer and candidate.distance <= MAX_TRIAL_DISTANCE * enough_distance(missed, baseline)


def closest_miss(tried: Sequence[Tried], baseline: Baseline) -> Tried | None:
    """Return the recipe to repair: the one that missed by least, else one that failed; never one that passed."""
    missed = [each for each in tried if each.outcome.status != "passed"]
    return min(missed, key=lambda each: loss(each.outcome, baseline), default=None)


def hidden_harm(tried: Sequence[Tried], baseline: Baseline) -> bool:
    """Return whether the loss is not what probes tell: too large for the distance, or not falling with it."""
    missed = [each for each in tried if each.outcome.status != "passed"]
    return bool(missed) and (
        not accounted_for(missed[0], baseline) or any(unmoved(missed[0], later, baseline) for later in missed[1:])
    )


def accounted_for(missed: Tried, baseline: Baseline) -> bool:
    """Return whether the distance that a probe saw is large enough for the loss that the evaluation saw.

    A distance d flips about ``FLIPPED_PER_ROOT_DISTANCE * sqrt(d)`` of the answers, and in the worst case all of them
    were right. At ``WRECKED_DISTANCE`` any loss is accounted for, and so it is where the probe failed.
    """
    lost = loss(missed.outcome, baseline)
    if math.isinf(lost) or missed.distance >= WRECKED_DISTANCE:
        return True
    flipped = FLIPPED_PER_ROOT_DISTANCE * math.sqrt(missed.distance)
    return lost <= flipped * max(abs(baseline.accuracy), abs(baseline.target))


def unmoved(first: Tried, later: Tried, baseline: Baseline) -> bool:
    """Return whether a recipe at clearly less distance lost as much, so that the distance is not what it lost by.

    Only losses well beyond the tolerated one tell; a pruned recipe's is not known.
    """
    if first.outcome.status != "missed" or later.outcome.status != "missed":
        return False
    if later.distance > CLEARLY_LESS_DISTANCE * first.distance:
        return False
    before, after = loss(first.outcome, baseline), loss(later.outcome, baseline)
    return math.inf > after > max(CLEARLY_LESS_LOSS * before, CLEAR_LOSS * tolerated_loss(baseline))
