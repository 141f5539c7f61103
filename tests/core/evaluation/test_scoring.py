"""Scores are finite floats, and a metric that notices nothing is refused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest

from ilit.errors import EvaluationError, IlitWarning
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.rows import EvaluationOrder, EvaluationOrders
from ilit.evaluation.sanity import check_metric_moves
from ilit.evaluation.scoring import FunctionScorer, MetricScorer, finite
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model


class Tensor:
    """Something with ``item``, as tensors have."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        if isinstance(self.value, list):
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.value

    def __repr__(self) -> str:
        return f"Tensor(\n{self.value})"


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), np.array([0.5]), Tensor(0.5), Fraction(1, 2)],
    ids=lambda value: type(value).__name__,
)
def test_any_one_number_is_a_score(value: Any) -> None:
    """Floats, ints, numpy scalars, 0-d arrays and tensors become a float."""
    score = finite(value, "eval_func")
    assert (type(score), score) == (float, 0.5)


def test_an_int_is_a_score() -> None:
    """A count of right answers is a number too."""
    assert finite(3, "eval_func") == 3.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(True, r"gave True \(bool\); it must be one finite number", id="bool"),
        pytest.param(np.True_, r"gave (np\.)?True_? \(bool_?\)", id="numpy bool"),  # numpy 1 and 2 say it differently
        pytest.param(None, r"gave None \(NoneType\)", id="None"),
        pytest.param("0.9", r"gave '0.9' \(str\)", id="text"),
        pytest.param({"acc": 0.9}, r"gave {'acc': 0.9} \(dict\)", id="dict"),
        pytest.param(1j, r"gave 1j \(complex\)", id="complex"),
        pytest.param(Tensor([1, 2]), r"gave Tensor\( \[1, 2\]\) \(Tensor\)", id="several"),
        pytest.param(np.zeros(9), r"gave array\(.* \(ndarray\)", id="array"),
        pytest.param("x" * 999, r"gave 'x{56}\.\.\. \(str\)", id="long text"),
        pytest.param(math.nan, "gave nan; it must be one finite number, so check model and data", id="NaN"),
        pytest.param(-math.inf, "gave -inf;", id="infinity"),
        pytest.param(Tensor(math.nan), "gave nan;", id="tensor NaN"),
    ],
)
def test_anything_else_is_refused(value: Any, text: str) -> None:
    """What was returned is shown, in one line, with the place."""
    with pytest.raises(EvaluationError, match=rf"^eval_func: {text}") as caught:
        finite(value, "eval_func")
    assert len(str(caught.value).splitlines()) == 1


def test_a_function_that_raises_is_one_line() -> None:
    """The user's exception is named and kept as the cause."""

    def eval_func(model: Any) -> float:
        raise KeyError("labels")

    with pytest.raises(EvaluationError, match="eval_func: raised KeyError: 'labels'; it must return one") as caught:
        FunctionScorer(eval_func).score(None, None, Stop())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_fresh_metric_scores_each_time() -> None:
    """Two evaluations share no rows."""
    model = fake_model()
    scorer = MetricScorer(
        "fake_accuracy", FakeAdapter(), EvaluationOrders(EvaluationOrder(fake_data(model))), FakeAccuracy
    )
    first, second = (scorer.score(model, None, Stop()) for _ in range(2))
    assert (first.accuracy, first.rows) == (second.accuracy, second.rows)


class Deaf:
    """A metric that ignores the outputs."""

    name: ClassVar[str] = "deaf"
    higher_is_better: ClassVar[bool] = True

    def update(self, outputs: Any, labels: Any) -> None: ...

    def result(self) -> float:
        return 0.75


class OnlyMany(FakeAccuracy):
    """A metric that is not defined on as few rows as one batch has."""

    def result(self) -> float:
        if self._rows < 64:
            raise EvaluationError("metric only_many: too few rows")
        return super().result()


def moves(metric: type[Any], data: Iterable[Any], baseline: float) -> None:
    """Run the check on the fake model."""
    check_metric_moves(FakeAdapter(), fake_model(), data, metric, "deaf", baseline)


def test_a_metric_that_ignores_the_outputs_is_refused() -> None:
    """The same score for the model and for one of zeros is an error that says how many rows were compared."""
    data = fake_data(fake_model(), 64)
    with pytest.raises(EvaluationError, match=r"metric deaf: gives 0.75 for the model and 0.75 .* over 64 rows"):
        moves(Deaf, data, 0.75)


def test_on_few_rows_it_is_a_warning() -> None:
    """Equal scores on a handful of rows may be chance."""
    with pytest.warns(IlitWarning, match="over 32 rows, so it cannot judge"):
        moves(Deaf, fake_data(fake_model(), 32), 0.75)


@pytest.mark.parametrize("metric", [FakeAccuracy, OnlyMany])
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


class NeedsMany(FakeAccuracy):
    """A metric that gives predictions of any rows, but a score only of many."""

    def result(self) -> float:
        if self._rows < 64:
            raise EvaluationError("metric needs_many: too few rows")
        return super().result()


@pytest.mark.parametrize("metric", [FakeAccuracy, NeedsMany])
def test_known_predictions_settle_it_on_a_few_rows(metric: type[FakeAccuracy]) -> None:
    """One small forward of the zeroed model, on rows that the model answers differently; no score is needed."""
    adapter, model = Counting(), fake_model()
    data = fake_data(model, 128)
    known = np.concatenate([model(inputs).argmax(axis=1) for inputs, _ in data])
    check_metric_moves(adapter, model, data, metric, "m", 0.9, known)
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
        check_metric_moves(adapter, model, data, SameAnswers, "m", metric.result(), metric.predictions())
    assert adapter.rows[-1] == 128


def test_data_sorted_by_label_are_no_reason_to_refuse() -> None:
    """Where the first batches hold only the class a zeroed model answers, the whole data decide."""
    model = fake_model()
    inputs, labels = (np.concatenate(part) for part in zip(*fake_data(model, 512, wrong=0.0), strict=True))
    order = np.argsort(labels, kind="stable")
    batches = [(inputs[order[at : at + 4]], labels[order[at : at + 4]]) for at in range(0, 512, 4)]
    assert not labels[order[:32]].any()
    moves(FakeAccuracy, batches, 1.0)
