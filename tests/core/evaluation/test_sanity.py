"""A score that is not of the model is found out: of a metric before the search, of an ``eval_func`` after it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
import pytest

from ilit.errors import EvaluationError, IlitWarning
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders
from ilit.evaluation.sanity import check_metric_moves, ignores_model
from ilit.evaluation.scoring import FunctionScorer, MetricScorer
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model


def scorer(metric: type[Any], data: Iterable[Any], adapter: FakeAdapter | None = None) -> MetricScorer:
    """Return the scorer by a metric over these batches."""
    return MetricScorer("deaf", adapter or FakeAdapter(), EvaluationOrders(EvaluationOrder(data)), metric)


class Deaf:
    """A metric that ignores the outputs."""

    name: ClassVar[str] = "deaf"
    higher_is_better: ClassVar[bool] = True

    def update(self, outputs: Any, labels: Any) -> None: ...

    def result(self) -> float:
        return 0.75


class NeedsMany(FakeAccuracy):
    """A metric that gives predictions of any rows, but a score only of more than one batch has."""

    def result(self) -> float:
        if self._rows < 64:
            raise EvaluationError("metric needs_many: too few rows")
        return super().result()


def moves(metric: type[Any], data: Iterable[Any], baseline: float) -> None:
    """Run the check on the fake model."""
    check_metric_moves(scorer(metric, data), fake_model(), baseline)


def test_a_metric_that_ignores_the_outputs_is_refused() -> None:
    """The same score for the model and for one of zeros is an error that says how many rows were compared."""
    data = fake_data(fake_model(), 64)
    with pytest.raises(EvaluationError, match=r"metric deaf: gives 0.75 for the model and 0.75 .* over 64 rows"):
        moves(Deaf, data, 0.75)


def test_on_few_rows_it_is_a_warning() -> None:
    """Equal scores on a handful of rows may be chance."""
    with pytest.warns(IlitWarning, match="over 32 rows, so it cannot judge"):
        moves(Deaf, fake_data(fake_model(), 32), 0.75)


@pytest.mark.parametrize("metric", [FakeAccuracy, NeedsMany])
def test_a_metric_that_moves_passes(metric: type[FakeAccuracy]) -> None:
    """An honest metric passes, one that is not defined on single batches too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moves(metric, fake_data(fake_model(), 128), 0.9)


class Counting(FakeAdapter):
    """Notes the rows of every evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def evaluate(self, model: Any, loader: Any, metric: Any, on_batch: Any = None) -> float:
        batches = list(loader)
        self.rows.append(sum(len(batch[1]) for batch in batches))
        return super().evaluate(model, batches, metric, on_batch)


@pytest.mark.parametrize("metric", [FakeAccuracy, NeedsMany])
def test_known_predictions_settle_it_on_a_few_rows(metric: type[FakeAccuracy]) -> None:
    """One small forward of the zeroed model, on rows that the model answers differently; no score is needed."""
    adapter, model = Counting(), fake_model()
    data = fake_data(model, 128)
    known = np.concatenate([model(inputs).argmax(axis=1) for inputs, _ in data])
    check_metric_moves(scorer(metric, data, adapter), model, 0.9, known)
    assert adapter.rows == [len(np.unique(known[:32]))]


class SameAnswers(FakeAccuracy):
    """A metric whose predictions ignore the outputs."""

    def update(self, outputs: Any, labels: Any) -> None:
        super().update(np.eye(4)[np.zeros(len(labels), int)], labels)


def test_predictions_that_ignore_the_outputs_are_refused() -> None:
    """Where a few rows settle nothing all of them decide."""
    adapter, model, metric = Counting(), fake_model(), SameAnswers()
    data = fake_data(model, 128)
    adapter.evaluate(model, data, metric)
    with pytest.raises(EvaluationError, match="so it cannot judge"):
        check_metric_moves(scorer(SameAnswers, data, adapter), model, metric.result(), metric.predictions())
    assert adapter.rows[-1] == 128


def test_data_sorted_by_label_are_no_reason_to_refuse() -> None:
    """Where the first batches hold only the class a zeroed model answers, the whole data decide."""
    model = fake_model()
    inputs, labels = (np.concatenate(part) for part in zip(*fake_data(model, 512, wrong=0.0), strict=True))
    order = np.argsort(labels, kind="stable")
    batches = [(inputs[order[at : at + 4]], labels[order[at : at + 4]]) for at in range(0, 512, 4)]
    assert not labels[order[:32]].any()
    moves(FakeAccuracy, batches, 1.0)


def raises(model: Any) -> float:
    """An ``eval_func`` that does not take a model of zeros."""
    raise ValueError("no class is ever predicted")


@pytest.mark.parametrize(
    ("eval_func", "ignores"),
    [
        pytest.param(lambda model: 0.5, True, id="a constant"),
        pytest.param(lambda model: float(model(fake_data(model)[0][0]).max()), False, id="a score of the model"),
        pytest.param(raises, False, id="raises"),
    ],
)
def test_a_function_that_scores_zeros_alike_ignores_its_model(eval_func: Callable[[Any], float], ignores: bool) -> None:
    """The float model's very score for a model of zeros; another score, or none, is of the model."""
    zeroed = FakeAdapter().zeroed(fake_model())
    assert ignores_model(FunctionScorer(eval_func), zeroed, 0.5) is ignores
