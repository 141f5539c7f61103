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
from ilit.evaluation.outputs import identical
from ilit.metric import Metric, PairedMetric


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
        answers: random outputs for labels, used to prove ``reachable``: ``(rng, labels) -> outputs`` of the kind that
            ``outputs`` is. None shuffles the rows of ``outputs``.
    """

    make: Callable[[], Metric]
    outputs: Any
    labels: Any
    expected: float
    misfit: tuple[Any, Any] | None = None
    tolerance: float = 1e-9
    answers: Callable[[np.random.Generator, Any], Any] | None = None


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
        """Return the case to try; every subclass overrides this."""
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
        """A loader may reuse its buffers, so what ``update`` was given is copied."""
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

    # --- Laws of a PairedMetric; skipped for other metrics ---

    def test_units_are_alike(self, case: MetricCase) -> None:
        """Predictions, labels and margins are one a unit, in small types; units in rows' order where ``by_row``."""
        metric = _paired(case)
        metric.update(case.outputs, case.labels)
        ours, truth, margins = metric.predictions(), metric.labels(), metric.margins()
        assert ours.shape == truth.shape == (len(truth),)
        assert margins.dtype == np.float32
        assert margins.shape in ((0,), truth.shape)
        assert not (margins < 0).any()
        for units in (ours, truth):
            assert units.dtype == _smallest(units)
        if metric.by_row:
            rows = count_rows(case.outputs)
            assert len(truth) == rows
            for row in range(rows):
                alone = _paired(case)
                alone.update(rows_of(case.outputs, row, row + 1), rows_of(case.labels, row, row + 1))
                assert alone.predictions()[0] == pytest.approx(ours[row], rel=1e-6)
                assert alone.labels()[0] == truth[row]

    def test_scores_of_the_units_are_the_result(self, case: MetricCase) -> None:
        """``scores`` with ones gives ``result``; 32-bit predictions cost it the seventh figure at most."""
        metric = _paired(case)
        metric.update(case.outputs, case.labels)
        ones = np.ones((2, len(metric.labels())))
        scores = metric.scores(metric.predictions(), metric.labels(), ones)
        exact = np.issubdtype(metric.predictions().dtype, np.integer)
        assert scores.shape == (2,)
        assert scores.dtype == np.float64
        assert scores == pytest.approx(metric.result(), rel=1e-12 if exact else 1e-6, abs=case.tolerance)

    def test_weights_are_repetitions(self, case: MetricCase) -> None:
        """A unit of weight 2 is one seen twice, one of weight 0 is not seen, and only proportions matter."""
        metric = _paired(case)
        metric.update(case.outputs, case.labels)
        ours, truth = metric.predictions(), metric.labels()
        weights = np.random.default_rng(3).integers(0, 4, (5, len(truth))).astype(np.float64)
        weights[:, 0] += 1
        repeated = []
        for row in weights.astype(int):
            units = np.repeat(ours, row), np.repeat(truth, row)
            repeated.append(metric.scores(*units, np.ones((1, row.sum())))[0])
        assert metric.scores(ours, truth, weights) == pytest.approx(repeated, rel=1e-6, abs=1e-9, nan_ok=True)
        assert metric.scores(ours, truth, weights / 7) == pytest.approx(repeated, rel=1e-6, abs=1e-9, nan_ok=True)

    def test_a_share_of_right_units_is_one(self, case: MetricCase) -> None:
        """Where ``share_of_right``, the score goes as the number of predictions that equal their label."""
        metric = _paired(case)
        if not metric.share_of_right:
            pytest.skip("the metric is no share of right units")
        metric.update(case.outputs, case.labels)
        ours, truth = metric.predictions(), metric.labels()
        ones = np.ones((1, len(truth)))
        all_right = metric.scores(truth, truth, ones)[0]
        assert all_right > 0
        assert metric.scores(ours, truth, ones)[0] == pytest.approx(all_right * (ours == truth).mean())

    def test_nothing_better_than_reachable_is_reached(self, case: MetricCase) -> None:
        """Whatever the remaining rows bring, the result is no better than ``reachable`` said, not by a rounding."""
        _paired(case)
        rng, rows = np.random.default_rng(11), count_rows(case.outputs)
        for _ in range(60):
            metric, seen = _paired(case), int(rng.integers(1, rows + 1))
            answers = case.answers(rng, case.labels) if case.answers else _shuffled(rng, case.outputs)
            metric.update(rows_of(answers, 0, seen), rows_of(case.labels, 0, seen))
            bound = metric.reachable(rows_of(case.labels, seen, rows))
            if bound is None:
                continue
            if seen < rows:
                metric.update(rows_of(answers, seen, rows), rows_of(case.labels, seen, rows))
            result = metric.result()
            assert result <= bound if metric.higher_is_better else result >= bound
            if seen == rows:
                assert bound == pytest.approx(result, abs=1e-9)


def _paired(case: MetricCase) -> PairedMetric:
    metric = case.make()
    if not isinstance(metric, PairedMetric):
        pytest.skip("the metric gives no predictions: it is no PairedMetric")
    return metric


def _smallest(units: Any) -> np.dtype[Any]:
    """The type that the law asks for, stated here anew rather than taken from what metrics use."""
    if np.issubdtype(units.dtype, np.floating):
        return np.dtype(np.float32)
    low, high = min(0, *units.tolist()), max(0, *units.tolist())
    if low >= 0 and high < 2**8:
        return np.dtype(np.uint8)
    return np.dtype(np.int16 if low >= -(2**15) and high < 2**15 else np.int32)


def _shuffled(rng: np.random.Generator, outputs: Any) -> Any:
    order = rng.permutation(count_rows(outputs))

    def taken(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: taken(value) for key, value in values.items()}
        return tuple(map(taken, values)) if isinstance(values, tuple) else values[order]

    return taken(outputs)


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
