"""The criterion: target, pass or miss, and distance, by the metric's direction and sign."""

from __future__ import annotations

import math

import pytest

from ilit.criterion import Criterion
from ilit.errors import ConfigError

RELATIVE, ABSOLUTE = Criterion("relative", 0.01), Criterion("absolute", 0.5)
LOWER = Criterion("relative", 0.01, higher_is_better=False)


@pytest.mark.parametrize(
    ("criterion", "baseline", "target", "sentence"),
    [
        pytest.param(RELATIVE, 0.9, 0.891, "1 % relative of 0.9000: at least 0.8910", id="relative"),
        pytest.param(RELATIVE, -2.0, -2.02, "1 % relative of -2.0000: at least -2.0200", id="negative baseline"),
        pytest.param(LOWER, 2.0, 2.02, "1 % relative of 2.0000: at most 2.0200", id="lower is better"),
        pytest.param(LOWER, -2.0, -1.98, "1 % relative of -2.0000: at most -1.9800", id="lower, negative"),
        pytest.param(ABSOLUTE, 80.0, 79.5, "0.5 off 80.0000: at least 79.5000", id="absolute"),
        pytest.param(ABSOLUTE, 0.0, -0.5, "0.5 off 0.0000: at least -0.5000", id="absolute of 0"),
    ],
)
def test_the_target_is_worse_than_the_baseline_by_the_tolerance(
    criterion: Criterion, baseline: float, target: float, sentence: str
) -> None:
    """Whatever the sign; the target itself passes, what is a little worse does not."""
    worse = -1e-9 if criterion.higher_is_better else 1e-9

    assert criterion.target(baseline) == pytest.approx(target)
    assert criterion.sentence(baseline) == sentence
    assert criterion.is_met(criterion.target(baseline), baseline)
    assert not criterion.is_met(criterion.target(baseline) + worse, baseline)


@pytest.mark.parametrize(
    ("criterion", "accuracy", "baseline", "shortfall"),
    [
        pytest.param(ABSOLUTE, 79.0, 80.0, 0.5, id="missed"),
        pytest.param(ABSOLUTE, 79.75, 80.0, -0.25, id="passed"),
        pytest.param(Criterion("absolute", 0.5, False), 81.0, 80.0, 0.5, id="missed, lower is better"),
        pytest.param(ABSOLUTE, math.nan, 80.0, math.inf, id="NaN"),
    ],
)
def test_the_shortfall_is_above_0_where_the_criterion_is_missed(
    criterion: Criterion, accuracy: float, baseline: float, shortfall: float
) -> None:
    """In the metric's unit; a NaN never passes and is the furthest off."""
    assert criterion.shortfall(accuracy, baseline) == pytest.approx(shortfall)
    assert criterion.is_met(accuracy, baseline) == (shortfall <= 0)


def test_relative_to_a_baseline_of_0_is_refused() -> None:
    """It would allow no loss at all."""
    with pytest.raises(ConfigError, match="the float32 model scores 0, so a relative loss has no meaning; use"):
        RELATIVE.target(0.0)
