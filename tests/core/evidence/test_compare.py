"""Bounds are those of the score test, and hold together over a search."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.criterion import Criterion
from ilit.errors import EvaluationError
from ilit.evidence.bounds import drop_upper, error_share, mcnemar_p, tango_upper
from ilit.evidence.compare import evidence
from ilit.evidence.record import Evidence
from ilit.metric_units import share_right
from ilit.testing import FakeAccuracy

Z95 = 1.6448536269514722


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Gained, lost and all units."""
    units = draw(st.integers(2, 3000))
    changed = draw(st.integers(0, min(units, draw(st.sampled_from([3, 60, 3000])))))
    gained = draw(st.integers(0, changed))
    return gained, changed - gained, units


# --- Tango's bound ---------------------------------------------------------------------------------------------------


def slow_tango(gained: int, lost: int, units: int) -> float:
    """The 95 % bound by brute force: the likelihood is maximised by search, not by its closed form."""

    def log_likelihood(share: float, difference: float) -> float:
        cells = ((lost, share + difference), (gained, share), (units - gained - lost, 1 - 2 * share - difference))
        return sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    def statistic(difference: float) -> float:
        low, high = max(0.0, -difference), (1 - difference) / 2
        for _ in range(200):  # ternary search: the log-likelihood is concave
            third = (high - low) / 3
            if log_likelihood(low + third, difference) < log_likelihood(high - third, difference):
                low += third
            else:
                high -= third
        share = (low + high) / 2
        return (units * difference - lost + gained) / math.sqrt(units * (2 * share + difference - difference**2))

    low, high = (lost - gained) / units, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) < Z95 else (low, middle)
    return low


SEEN = [(12, 15, 1725), (2, 12, 50), (12, 2, 50), (0, 3, 277), (3, 0, 277), (1, 1, 10), (40, 60, 872), (4, 6, 10)]


@pytest.mark.parametrize("seen", SEEN, ids="{0[0]} gained, {0[1]} lost of {0[2]}".format)
def test_the_closed_form_is_the_score_test_inverted(seen: tuple[int, int, int]) -> None:
    """The bound is where a score test with a numerically maximised likelihood turns over."""
    assert tango_upper(*seen, 0.95) == pytest.approx(slow_tango(*seen), abs=1e-6)


EXTREMES = {
    "nothing changed": ((0, 0, 300), Z95**2 / (300 + Z95**2)),
    "one unit, unchanged": ((0, 0, 1), Z95**2 / (1 + Z95**2)),
    "all lost": ((0, 30, 30), 1.0),
    "all gained": ((30, 0, 30), (Z95**2 - 30) / (Z95**2 + 30)),
    "all changed, half each": ((15, 15, 30), Z95 / math.sqrt(30 + Z95**2)),  # a sign test's Wilson interval
}


@pytest.mark.parametrize("name", EXTREMES)
def test_the_extremes_are_exact(name: str) -> None:
    """Where the closed form degenerates the bound is what the algebra gives."""
    seen, wanted = EXTREMES[name]
    assert tango_upper(*seen, 0.95) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("bound", [tango_upper, drop_upper])
@given(seen=counts())
def test_bounds_are_monotone(bound: Any, seen: tuple[int, int, int]) -> None:
    """More lost, fewer gained units or more confidence raise the bound; it lies between the drop seen and 1."""
    gained, lost, units = seen
    found = bound(gained, lost, units, 0.95)
    assert (lost - gained) / units <= found <= 1
    assert bound(gained, lost, units, 0.99) >= found
    if gained + lost < units:
        assert bound(gained, lost + 1, units, 0.95) >= found
        assert bound(gained + 1, lost, units, 0.95) <= found


def error_rate(units: int, lost: int, confidence: float) -> float:
    """How often the bound lies below the truth where a share of lost / units is lost and none is gained; exact."""
    p = lost / units
    chances = ((math.comb(units, k) * p**k * (1 - p) ** (units - k), k) for k in range(lost + 1))
    return sum(chance for chance, k in chances if drop_upper(0, k, units, confidence) < p)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.975])
def test_where_units_are_only_lost_the_error_rate_is_kept(confidence: float) -> None:
    """Tango's bound alone would err in 6.2 % of the cases with 277 units; the one used errs no more than it says."""
    assert max(error_rate(277, lost, confidence) for lost in range(1, 15)) <= 1 - confidence + 1e-9


REFUSED = {
    "no units": ((0, 0, 0, 0.95), "0 gained and 0 lost units of 0 cannot be"),
    "negative": ((-1, 0, 9, 0.95), "-1 gained"),
    "more than all": ((5, 5, 9, 0.95), "5 gained and 5 lost units of 9 cannot be"),
    "certainty": ((1, 1, 9, 1.0), "confidence 1.0 is not between 0.5 and 1"),
    "percent": ((1, 1, 9, 95), "confidence 95 is not between 0.5 and 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_impossible_counts_are_refused(name: str) -> None:
    """A caller's slip gives no number."""
    given_values, text = REFUSED[name]
    with pytest.raises(ValueError, match=text):
        tango_upper(*given_values)


# --- McNemar's p, and comparisons ------------------------------------------------------------------------------------


@given(gained=st.integers(0, 40), lost=st.integers(0, 40))
def test_mcnemar_is_exact(gained: int, lost: int) -> None:
    """The p is the binomial sum in whole numbers, symmetric, and 1 where nothing speaks for either side."""
    n, least = gained + lost, min(gained, lost)
    whole = min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)
    assert mcnemar_p(gained, lost) == pytest.approx(whole, rel=1e-12)
    assert mcnemar_p(lost, gained) == mcnemar_p(gained, lost)


def test_mcnemar_of_thousands() -> None:
    """Neither overflow nor underflow; checked against whole numbers of any size."""
    wanted = 2 * sum(math.comb(9000, k) for k in range(4401)) / 2**9000
    assert mcnemar_p(4400, 4600) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar_p(0, 20_000) == 0.0
    assert mcnemar_p(7, 7) == 1.0


def test_shares_of_the_error_sum_to_one() -> None:
    """However many recipes are evaluated, their bounds spend no more than the error allowed."""
    shares = [error_share(comparisons) for comparisons in range(1, 10_001)]
    assert shares == sorted(shares, reverse=True)
    assert 1 - 1e-3 < math.fsum(shares) < 1
    with pytest.raises(ValueError, match="so it is 1 or more, not 0"):
        error_share(0)


# --- Evidence --------------------------------------------------------------------------------------------------------

LABELS = np.tile([0, 1], 500).astype(np.uint8)
FLOAT = LABELS.copy()
FLOAT[:100] ^= 1  # 90 % right
INT8 = FLOAT.copy()
INT8[95:100] ^= 1  # 5 gained
INT8[100:107] ^= 1  # 7 lost


class Errors:
    """A paired metric of scores: their mean, lower is better."""

    name: ClassVar[str] = "errors"
    higher_is_better: ClassVar[bool] = False
    by_row = share_of_right = False

    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return weights @ (predictions.astype(float) - labels) / weights.sum(axis=1)


class Percent(FakeAccuracy):
    """A share of right units times 100."""

    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return 100 * share_right(predictions, labels, weights)


def shown(metric: Any = None, criterion: Criterion = Criterion(), comparisons: int = 1, **options: Any) -> Evidence:  # noqa: B008 - frozen
    """Evidence of ``INT8`` against ``FLOAT``."""
    given_options = {"baseline": 0.9, "confidence": 0.95, **options}
    return evidence(
        FLOAT,
        INT8,
        LABELS,
        metric=metric or FakeAccuracy(),
        criterion=criterion,
        comparisons=comparisons,
        **given_options,
    )


def test_a_share_of_right_rows_is_judged_by_tango() -> None:
    """Flips are counted, the drop is one of the baseline, and the first recipe may spend half of the error."""
    found = shown()
    assert (found.units, found.gained, found.lost, found.method) == (1000, 5, 7, "tango")
    assert found.p_value == pytest.approx(mcnemar_p(5, 7))
    assert found.drop == pytest.approx(0.002 / 0.9)
    assert found.bound == pytest.approx(drop_upper(5, 7, 1000, 0.975) / 0.9)
    assert (found.confidence, found.tolerance, found.comparisons, found.holdout) == (0.95, 0.01, 1, False)
    assert (found.relative, found.unit, found.settled) == (True, "rows", False)


def test_absolute_drops_are_in_the_metrics_unit() -> None:
    """A metric in percent with an absolute tolerance of 1 has bounds in percent."""
    found = shown(Percent(), Criterion("absolute", 1.0), baseline=90.0)
    assert found.drop == pytest.approx(0.2)
    assert found.bound == pytest.approx(100 * drop_upper(5, 7, 1000, 0.975))
    assert not found.relative


def test_each_further_recipe_is_asked_more_of() -> None:
    """Bounds rise with the recipes tried; on the holdout there is nothing to correct for."""
    bounds = [shown(comparisons=comparisons).bound for comparisons in (1, 2, 5, 50)]
    assert bounds == sorted(set(bounds))
    kept = shown(holdout=True)
    assert kept.bound == pytest.approx(drop_upper(5, 7, 1000, 0.95) / 0.9)
    assert kept.holdout


def test_scores_are_bootstrapped() -> None:
    """Scores have no flips; where lower is better a rise is the drop."""
    rng = np.random.default_rng(2)
    ours = rng.uniform(0.5, 1.5, 800).astype(np.float32)
    theirs = (ours * rng.uniform(0.98, 1.04, 800)).astype(np.float32)
    baseline = float(ours.astype(float).mean())
    found = evidence(
        ours, theirs, np.zeros(800, np.float32), metric=Errors(), criterion=Criterion("relative", 0.02, False),
        baseline=baseline, comparisons=1,
    )  # fmt: skip
    assert (found.gained, found.lost, found.p_value, found.method, found.unit) == (
        None,
        None,
        None,
        "bootstrap",
        "units",
    )
    assert found.drop == pytest.approx(0.01, abs=0.002)
    # The normal approximation, of the mean ratio's numerator, is good here.
    spread = float((theirs - ours).std()) / math.sqrt(800) / baseline
    assert found.bound == pytest.approx(found.drop + 1.96 * spread, rel=0.03)


def test_units_needed_bring_the_bound_to_the_tolerance() -> None:
    """The bound's distance shrinks as 1 / sqrt(units); how many more are needed is told in two figures, rounded up."""
    found = shown(criterion=Criterion("relative", 0.006))
    needed = 1000 * ((found.bound - found.drop) / (0.006 - found.drop)) ** 2 - 1000
    assert needed == pytest.approx(4524, abs=1)
    assert found.units_needed == 4600
    both = [np.tile(side, 6) for side in (FLOAT, INT8, LABELS)]
    options: Any = {
        "metric": FakeAccuracy(),
        "criterion": Criterion("relative", 0.006),
        "baseline": 0.9,
        "comparisons": 1,
    }
    assert evidence(*both, **options).settled
    assert not evidence(*(side[:4000] for side in both), **options).settled
    assert shown(criterion=Criterion("relative", 0.002)).units_needed is None
    assert shown(criterion=Criterion("relative", 0.05)).units_needed == 0


INCOMPARABLE = {
    "no units": ([], [], [], 0.9, "0 float32 and 0 INT8 predictions for 0 labels cannot be compared"),
    "of other lengths": ([0, 1], [0], [0, 1], 0.9, "2 float32 and 1 INT8 predictions for 2 labels"),
    "relative to nothing": ([0, 0], [0, 0], [1, 1], 0.0, "no drop is defined on these 2 units"),
}


@pytest.mark.parametrize("name", INCOMPARABLE)
def test_what_cannot_be_compared_is_said(name: str) -> None:
    """One line instead of a number that means nothing."""
    *sides, baseline, text = INCOMPARABLE[name]
    arrays = [np.array(side, np.uint8) for side in sides]
    with pytest.raises(EvaluationError, match=text) as caught:
        evidence(*arrays, metric=FakeAccuracy(), criterion=Criterion(), baseline=baseline, comparisons=1)
    assert len(str(caught.value).splitlines()) == 1
