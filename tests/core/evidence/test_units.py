"""Paired units: as many predictions as labels, and what changed between the two models."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest

from ilit.errors import EvaluationError
from ilit.evidence.units import PairedUnits
from ilit.testing import FakeAccuracy


class Error(FakeAccuracy):
    """The share of wrong units: lower is better."""

    higher_is_better: ClassVar[bool] = False

    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return 1 - super().scores(predictions, labels, weights)


def units(ours: list[Any], theirs: list[Any], labels: list[Any], dtype: Any = np.uint8, **options: Any) -> PairedUnits:
    """Units of these predictions, the baseline as it is."""
    metric = options.get("metric", FakeAccuracy())
    sides = [np.array(side, dtype) for side in (ours, theirs, labels)]
    return PairedUnits(sides[0], sides[1], sides[2], metric, options.get("baseline", 0.5))


@pytest.mark.parametrize(
    ("sides", "text"),
    [
        pytest.param(([], [], []), "0 float32 and 0 INT8 predictions for 0 labels cannot be compared", id="none"),
        pytest.param(([0, 1], [0], [0, 1]), "2 float32 and 1 INT8 predictions for 2 labels", id="of other lengths"),
    ],
)
def test_units_that_cannot_be_paired_are_refused(sides: tuple[list[int], ...], text: str) -> None:
    """One line instead of a number that means nothing."""
    with pytest.raises(EvaluationError, match=f"metric fake_accuracy: {text}") as caught:
        units(*sides)
    assert len(str(caught.value).splitlines()) == 1


def test_flips_are_counted_of_classes_alone() -> None:
    """Gained is wrong in float32 and right in INT8; scores are neither right nor wrong."""
    sides = ([0, 0, 1, 1, 2], [1, 0, 1, 0, 0], [1, 0, 1, 1, 1])
    assert units(*sides).flips() == (1, 1)
    assert units(*sides, dtype=np.float32).flips() is None


@pytest.mark.parametrize("metric", [FakeAccuracy(), Error()], ids=["a share", "an error"])
def test_a_drop_is_in_the_metrics_direction(metric: Any) -> None:
    """A quarter right instead of half is worse by 0.25, and so are three quarters wrong; relative is half of 0.5."""
    found = units([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], metric=metric)
    assert found.drop(relative=False) == 0.25
    assert found.drop(relative=True) == 0.5


@pytest.mark.parametrize(("baseline", "relative"), [(0.0, True), (math.nan, False)], ids=["of zero", "NaN"])
def test_a_drop_without_meaning_is_an_error(baseline: float, relative: bool) -> None:
    """It names the cure."""
    with pytest.raises(EvaluationError, match=r"no drop is defined on these 2 units; .*accuracy_criterion.absolute"):
        units([0, 0], [0, 0], [1, 1], baseline=baseline).drop(relative)
