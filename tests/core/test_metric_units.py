"""Units are stored in few bytes, and sums of weights are what repeating units gives."""

from __future__ import annotations

import numpy as np
import pytest

from ilit.metric_units import Units, class_sums, logit_margins, share_right, smallest

TYPES = {
    "none": ([], np.uint8),
    "classes": ([0, 255], np.uint8),
    "more classes": ([0, 256], np.int16),
    "negative": ([-1, 3], np.int16),
    "many classes": ([0, 40_000], np.int32),
    "huge": ([0, 2**40], np.int64),
    "scores": ([0.5, 3.8], np.float32),
}


@pytest.mark.parametrize("name", TYPES)
def test_the_smallest_type_is_taken(name: str) -> None:
    """A million rows of two classes are a megabyte."""
    values, wanted = TYPES[name]
    given = np.array(values, np.int64 if wanted != np.float32 else np.float64)
    found = smallest(given)
    assert found.dtype == wanted
    assert found == pytest.approx(given)


def test_units_are_copied_in_order() -> None:
    """What is added is copied and joined; the joined type holds every part."""
    units, first = Units(), np.array([1, 0])
    assert len(units.predictions()) == len(units.labels()) == len(units.margins()) == 0
    units.add(first, np.array([1, 1]), np.array([0.5, 0.25]))
    units.add(np.array([300]), np.array([2]), np.array([1.5]))
    first[:] = 9
    assert units.predictions().tolist() == [1, 0, 300]
    assert units.predictions().dtype == np.int16
    assert units.labels().tolist() == [1, 1, 2]
    assert units.margins().tolist() == [0.5, 0.25, 1.5]


def test_margins_are_given_for_all_units_or_none() -> None:
    """One batch of class numbers among batches of scores leaves no margins that could be taken for those of others."""
    units = Units()
    units.add(np.array([1, 0]), np.array([1, 1]), np.array([0.5, 0.25]))
    units.add(np.array([1]), np.array([1]))
    assert units.margins().shape == (0,)


def test_margins_of_logits() -> None:
    """The largest minus the second; an infinite logit is infinitely far ahead, one that is no number not at all."""
    logits = np.array([[1.0, 3.0, 2.5], [4.0, 4.0, 0.0], [np.inf, 0.0, 1.0], [np.inf, np.inf, 0.0], [np.nan, 1.0, 0.0]])
    margins = logit_margins(logits)
    assert margins.dtype == np.float32
    assert margins[:4].tolist() == [0.5, 0.0, np.inf, 0.0]
    assert not np.isnan(margins).any()


def test_weights_are_summed() -> None:
    """Each row of weights is summed over the right units, and over each class, absent ones included."""
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [0.5, 0.0, 2.0, 1.5]])
    ours, truth = np.array([2, 0, 2, 0]), np.array([2, 2, 2, 2])
    assert share_right(ours, truth, weights).tolist() == [0.5, 0.625]
    assert class_sums(ours, 4, weights).tolist() == [[2, 0, 2, 0], [1.5, 0, 2.5, 0]]
