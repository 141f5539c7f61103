"""The laws of ``ilit.metric`` as a pytest suite for authors of metrics.

A plugin's test file is a few lines::

    class TestMine(MetricContract):
        @pytest.fixture
        def case(self):
            return MetricCase(Mine, outputs=np.array([[0.1, 0.9]]), labels=np.array([1]), expected=1.0)
"""

# ruff: noqa: S101 - a pytest suite; its asserts are its purpose
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ilit.errors import DataError, EvaluationError
from ilit.metric import Metric
from ilit.outputs import identical


@dataclass(frozen=True)
class MetricCase:
    """What a metric is tried with.

    Attributes:
        make: makes a fresh metric.
        outputs: predictions of at least two rows: an array, or a tuple or dict of arrays, first axis the rows.
        labels: the labels of the same rows, of whatever structure the metric takes.
        expected: the score of all rows together, known from elsewhere.
        misfit: ``(outputs, labels)`` that do not fit together; None where everything fits.
        tolerance: how far batches and the whole may differ; the order of summation is another.
    """

    make: Callable[[], Metric]
    outputs: Any
    labels: Any
    expected: float
    misfit: tuple[Any, Any] | None = None
    tolerance: float = 1e-9


def rows_of(values: Any, begin: int, end: int) -> Any:
    """Return rows ``begin`` to ``end`` of an array or of every array in a structure."""
    if isinstance(values, Mapping):
        return {key: rows_of(value, begin, end) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(rows_of(value, begin, end) for value in values)
    return values[begin:end]


def count_rows(values: Any) -> int:
    """Return the rows of an array or of the first array in a structure."""
    if isinstance(values, Mapping):
        return count_rows(next(iter(values.values())))
    return count_rows(values[0]) if isinstance(values, tuple) else len(values)


class MetricContract:
    """The suite. Subclass it, name the subclass ``Test...`` and give it a fixture ``case``."""

    @pytest.fixture
    def case(self) -> MetricCase:
        """Return what to try; every subclass overrides this."""
        raise NotImplementedError("give your subclass of MetricContract a fixture 'case' that returns a MetricCase")

    def test_it_says_its_name_and_direction(self, case: MetricCase) -> None:
        """The criterion reads the direction, the configuration the name, both from the class."""
        metric = case.make()
        assert isinstance(type(metric).name, str)
        assert type(metric).name
        assert isinstance(type(metric).higher_is_better, bool)

    def test_it_gives_the_known_score(self, case: MetricCase) -> None:
        """All rows in one batch give the score known from elsewhere, as a finite float."""
        score = _score(case, [count_rows(case.outputs)])
        assert isinstance(score, float)
        assert math.isfinite(score)
        assert score == pytest.approx(case.expected, abs=case.tolerance)

    @pytest.mark.parametrize("size", [1, 2, 3], ids="batches of {}".format)
    def test_batches_make_no_difference(self, case: MetricCase, size: int) -> None:
        """However the rows are cut into batches, the score is the same."""
        rows = count_rows(case.outputs)
        sizes = [size] * (rows // size) + ([rows % size] if rows % size else [])
        assert _score(case, sizes) == pytest.approx(case.expected, abs=case.tolerance)

    def test_each_one_starts_anew(self, case: MetricCase) -> None:
        """A second metric knows nothing of the rows the first has seen."""
        case.make().update(case.outputs, case.labels)
        assert _score(case, [count_rows(case.outputs)]) == pytest.approx(case.expected, abs=case.tolerance)

    def test_asking_twice_changes_nothing(self, case: MetricCase) -> None:
        """``result`` only reads: asked again it gives the same."""
        metric = case.make()
        metric.update(case.outputs, case.labels)
        assert metric.result() == metric.result()

    def test_what_it_is_given_stays_as_it_was(self, case: MetricCase) -> None:
        """Predictions and labels are not written to."""
        outputs, labels = copy.deepcopy(case.outputs), copy.deepcopy(case.labels)
        case.make().update(outputs, labels)
        assert identical(outputs, case.outputs)
        assert identical(labels, case.labels)

    def test_later_changes_to_a_batch_do_not_reach_it(self, case: MetricCase) -> None:
        """A loader may reuse its buffers, so what ``update`` was given is not kept by reference."""
        metric, outputs = case.make(), copy.deepcopy(case.outputs)
        metric.update(outputs, case.labels)
        before = metric.result()
        _overwrite(outputs)
        assert metric.result() == before

    def test_no_row_is_an_error(self, case: MetricCase) -> None:
        """A score of nothing is refused, in one line."""
        with pytest.raises(EvaluationError) as caught:
            case.make().result()
        assert len(str(caught.value).splitlines()) == 1

    def test_what_does_not_fit_is_refused(self, case: MetricCase) -> None:
        """Labels that do not fit the predictions are the data's mistake, said in one line."""
        if case.misfit is None:
            pytest.skip("the case has no misfit: this metric takes anything")
        metric = case.make()
        with pytest.raises(DataError) as caught:
            metric.update(*case.misfit)
        assert len(str(caught.value).splitlines()) == 1


def _score(case: MetricCase, sizes: list[int]) -> float:
    metric, begin = case.make(), 0
    for size in sizes:
        metric.update(rows_of(case.outputs, begin, begin + size), rows_of(case.labels, begin, begin + size))
        begin += size
    return metric.result()


def _overwrite(values: Any) -> None:
    if isinstance(values, Mapping):
        for value in values.values():
            _overwrite(value)
    elif isinstance(values, tuple):
        for value in values:
            _overwrite(value)
    elif isinstance(values, np.ndarray) and values.flags.writeable:
        values[...] = np.zeros((), values.dtype)
