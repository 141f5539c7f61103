"""What outcomes foretell."""

from __future__ import annotations

import math

import pytest

from ilit.recipe import Recipe
from ilit.strategy import Baseline, TrialOutcome
from ilit_strategies.basic.estimates import (
    Candidate,
    Tried,
    accounted_for,
    closest_miss,
    enough_distance,
    hidden_harm,
    loss,
    near_distance,
    unmoved,
    worth_a_trial,
)

BASELINE = Baseline(0.9, 0.891)
LOWER = Baseline(0.10, 0.11, higher_is_better=False)


def tried(distance: float, outcome: TrialOutcome) -> Tried:
    """Return some recipe that was evaluated."""
    return Tried(Recipe(), distance, outcome)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (TrialOutcome("missed", 0.8), 0.1),
        (TrialOutcome("passed", 0.95), -0.05),
        (TrialOutcome("failed", None), math.inf),
        (TrialOutcome("pruned", 0.89), 0.01),
        (TrialOutcome("pruned", None), math.inf),
        (TrialOutcome("missed", math.nan), math.inf),
    ],
    ids=["missed", "better-than-float", "failed", "pruned-lost-at-least-this", "pruned-unknown", "nan"],
)
def test_loss(outcome: TrialOutcome, expected: float) -> None:
    """The loss is in the metric's unit, infinite where it is not known."""
    assert loss(outcome, BASELINE) == pytest.approx(expected)


def test_loss_where_lower_is_better() -> None:
    """A metric that rose by 0.05 lost 0.05."""
    assert loss(TrialOutcome("missed", 0.15), LOWER) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("distance", "outcome", "expected"),
    [
        (0.2, TrialOutcome("missed", 0.88), 0.09),
        (0.2, TrialOutcome("missed", 0.0), 0.002),
        (0.2, TrialOutcome("missed", None), 0.05),
        (0.2, TrialOutcome("pruned", 0.8909), 0.05),
        (1.4, TrialOutcome("pruned", 0.8909), 0.05),
        (1.4, TrialOutcome("failed"), 0.05),
        (math.inf, TrialOutcome("missed", None), 0.05),
        (0.2, TrialOutcome("missed", 0.9), 0.05),
    ],
    ids=[
        "proportional",
        "never-finer-than-a-hundredth",
        "accuracy-unknown",
        "a-pruned-one-says-nothing-of-how-much",
        "nothing-left-of-the-model",
        "failed-and-nothing-left",
        "distance-unknown",
        "lost-nothing",
    ],
)
def test_enough_distance(distance: float, outcome: TrialOutcome, expected: float) -> None:
    """The distance that should do is the tolerated share of the loss, where both are known."""
    assert enough_distance(tried(distance, outcome), BASELINE) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("distance", "accuracy", "expected"),
    [
        (0.0025, 0.87, True),
        (0.0025, 0.85, False),
        (0.0025, None, True),
        (math.inf, 0.1, True),
        (0.3, 0.0, True),
        (0.0, 0.89, False),
    ],
    ids=["few-flips", "too-many-for-the-distance", "unknown-loss", "failed-probe", "wrecked", "exact-outputs"],
)
def test_accounted_for(distance: float, accuracy: float | None, expected: bool) -> None:
    """A distance of 0.0025 may flip a twentieth of the answers and no more."""
    assert accounted_for(tried(distance, TrialOutcome("missed", accuracy)), BASELINE) == expected


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ((0.001, TrialOutcome("missed", 0.8)), True),
        ((0.001, TrialOutcome("missed", 0.85)), False),
        ((0.0099, TrialOutcome("missed", 0.8)), False),
        ((0.001, TrialOutcome("pruned", 0.8)), False),
        ((0.001, TrialOutcome("failed")), False),
    ],
    ids=["lost-as-much", "lost-less", "hardly-nearer", "pruned", "failed"],
)
def test_unmoved(later: tuple[float, TrialOutcome], expected: bool) -> None:
    """A recipe much nearer to float32 that loses as much shows harm that the distance is blind to."""
    assert unmoved(tried(0.01, TrialOutcome("missed", 0.8)), tried(*later), BASELINE) == expected


def test_a_loss_near_the_tolerated_one_is_no_sign() -> None:
    """Evaluations are noisy: 0.01 twice, where 0.009 is tolerated, says nothing."""
    outcome = TrialOutcome("missed", 0.89)

    assert not unmoved(tried(0.01, outcome), tried(0.001, outcome), BASELINE)


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [(BASELINE, 0.0004), (LOWER, 0.2**2 / 1.1**2), (Baseline(0.9, 0.9), 0.0), (Baseline(0.0, 0.0), 0.0)],
    ids=["one-percent", "lower-is-better", "nothing-tolerated", "zero"],
)
def test_near_flips_twice_what_is_tolerated(baseline: Baseline, expected: float) -> None:
    """The root of the distance is the share of answers that flip; without tolerance no distance is near."""
    assert near_distance(baseline) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("distance", "missed", "expected"),
    [
        (1.0, None, True),
        (0.003, (0.01, 0.88), True),
        (0.0081, (0.01, 0.89), False),
        (0.0079, (0.01, 0.89), True),
        (0.005, (0.01, 0.7), False),
        (math.inf, (math.inf, 0.5), False),
    ],
    ids=["the-first", "much-nearer", "hardly-nearer", "clearly-nearer", "hopeless", "failed-probe"],
)
def test_worth_a_trial(distance: float, missed: tuple[float, float] | None, expected: bool) -> None:
    """After a miss only what is clearly nearer, and near enough for the loss that was seen, is evaluated."""
    before = None if missed is None else tried(missed[0], TrialOutcome("missed", missed[1]))
    assert worth_a_trial(Candidate(Recipe(), distance), before, BASELINE) == expected


def test_the_closest_miss_is_the_one_that_lost_least() -> None:
    """One that passed is none, one that failed is taken where nothing else missed."""
    passed, failed = tried(0.1, TrialOutcome("passed", 0.9)), tried(0.1, TrialOutcome("failed"))
    far, close = tried(0.1, TrialOutcome("missed", 0.7)), tried(0.1, TrialOutcome("pruned", 0.8))

    assert closest_miss([passed, failed, far, close], BASELINE) is close
    assert closest_miss([passed, failed], BASELINE) is failed
    assert closest_miss([passed], BASELINE) is None


@pytest.mark.parametrize(
    ("misses", "expected"),
    [
        ([], False),
        ([(0.01, 0.85)], False),
        ([(0.0001, 0.85)], True),
        ([(0.01, 0.85), (0.005, 0.87)], False),
        ([(0.01, 0.85), (0.005, 0.85)], True),
    ],
    ids=["none", "accounted-for", "too-large", "falls-with-the-distance", "does-not-fall"],
)
def test_hidden_harm(misses: list[tuple[float, float]], expected: bool) -> None:
    """A loss that no distance accounts for, or that does not fall with it; what passed says nothing of it."""
    evaluated = [tried(0.0, TrialOutcome("passed", 0.9)), *(tried(d, TrialOutcome("missed", a)) for d, a in misses)]
    assert hidden_harm(evaluated, BASELINE) == expected
