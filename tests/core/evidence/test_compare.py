"""Evidence: the bound that fits the metric, corrected for the recipes compared."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest

from ilit.criterion import Criterion
from ilit.errors import EvaluationError
from ilit.evidence.bounds import drop_upper, mcnemar_p
from ilit.evidence.compare import Claim, evidence
from ilit.evidence.record import Evidence
from ilit.evidence.units import PairedUnits
from ilit.metric_units import share_right
from ilit.testing import FakeAccuracy

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
    units = PairedUnits(FLOAT, INT8, LABELS, metric or FakeAccuracy(), options.pop("baseline", 0.9))
    return evidence(units, Claim(criterion, comparisons, **options))


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
    held_out = shown(holdout=True)
    assert held_out.bound == pytest.approx(drop_upper(5, 7, 1000, 0.95) / 0.9)
    assert held_out.holdout


def test_scores_are_bootstrapped() -> None:
    """Scores have no flips; where lower is better a rise is the drop."""
    rng = np.random.default_rng(2)
    ours = rng.uniform(0.5, 1.5, 800).astype(np.float32)
    theirs = (ours * rng.uniform(0.98, 1.04, 800)).astype(np.float32)
    baseline = float(ours.astype(float).mean())
    units = PairedUnits(ours, theirs, np.zeros(800, np.float32), Errors(), baseline)
    found = evidence(units, Claim(Criterion("relative", 0.02, False), 1))
    assert (found.gained, found.lost, found.p_value) == (None, None, None)
    assert (found.method, found.unit) == ("bootstrap", "units")
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
    sides = [np.tile(side, 6) for side in (FLOAT, INT8, LABELS)]
    claim = Claim(Criterion("relative", 0.006), 1)
    assert evidence(PairedUnits(*sides, FakeAccuracy(), 0.9), claim).settled
    assert not evidence(PairedUnits(*(side[:4000] for side in sides), FakeAccuracy(), 0.9), claim).settled
    assert shown(criterion=Criterion("relative", 0.002)).units_needed is None
    assert shown(criterion=Criterion("relative", 0.05)).units_needed == 0


def test_a_drop_that_is_not_defined_is_said() -> None:
    """One line instead of a share of nothing, or of the resamples that have no score."""

    class Undefined(Errors):
        def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
            return np.full(len(weights), math.nan if len(weights) > 1 else 0.5)

    right, wrong = np.zeros(2, np.uint8), np.ones(2, np.uint8)
    for units in (
        PairedUnits(right, right, wrong, FakeAccuracy(), 0.0),
        PairedUnits(right, right, wrong, Undefined(), 0.5),
    ):
        with pytest.raises(EvaluationError, match="no drop is defined on these 2 units") as caught:
            evidence(units, Claim(Criterion(), 1))
        assert len(str(caught.value).splitlines()) == 1
