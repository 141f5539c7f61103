"""Evaluations that end early: never one that would pass, and none that goes on when its time is up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.criterion import Criterion
from ilit.errors import EvaluationError
from ilit.evaluation.early_stop import OutcomeCertainError, Stop, Watcher
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders
from ilit.evaluation.scoring import MetricScorer, Score
from ilit.metric import Metric
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model

MODEL = fake_model()
DATA = fake_data(MODEL, 96, batch_size=16)
LABELS = np.concatenate([labels for _, labels in DATA])


class Precision(FakeAccuracy):
    """Another shape of metric: the share of right rows among those predicted as class 0, 1 where there are none."""

    share_of_right = False

    def __init__(self) -> None:
        super().__init__()
        self._zeros = self._hits = 0

    def update(self, outputs: Any, labels: Any) -> None:
        super().update(outputs, labels)
        zeros = outputs.argmax(axis=1) == 0
        self._zeros += int(zeros.sum())
        self._hits += int((zeros & (labels == 0)).sum())

    def result(self) -> float:
        return self._hits / self._zeros if self._zeros else 1.0

    def reachable(self, rest: Any) -> float:
        more = int((np.asarray(rest) == 0).sum())
        return (self._hits + more) / (self._zeros + more) if self._zeros + more else 1.0


class Errors(FakeAccuracy):
    """A metric of which less is better: the share of wrong rows."""

    higher_is_better: ClassVar[bool] = False

    def result(self) -> float:
        return 1 - super().result()

    def reachable(self, rest: Any) -> float:
        return 1 - super().reachable(rest)


class Unbounded(FakeAccuracy):
    """A metric that does not know what is still reachable."""

    def reachable(self, rest: Any) -> None:  # type: ignore[override]
        return None


class Bare:
    """A metric of a score alone, always 0."""

    name: ClassVar[str] = "bare"
    higher_is_better: ClassVar[bool] = True

    def update(self, outputs: Any, labels: Any) -> None: ...

    def result(self) -> float:
        return 0.0


def hopeless_below(target: float) -> Callable[[float], bool]:
    """Return what says that a score misses the target."""
    return lambda best: best < target


def score(metric: Callable[[], Metric], model: Any, order: EvaluationOrder, stop: Stop) -> Score:
    """Evaluate one model in one order."""
    return MetricScorer("metric", FakeAdapter(), EvaluationOrders(order), metric).score(model, None, stop)


@given(
    metric=st.sampled_from([FakeAccuracy, Precision, Errors]),
    seed=st.integers(0, 2**16),
    target=st.floats(0, 1),
    size=st.integers(1, 20),
)
def test_what_would_pass_is_never_pruned(metric: type[Any], seed: int, target: float, size: int) -> None:
    """Whatever metric, order and target: pruned is only what misses, and the bound says no less than the end would."""
    rng = np.random.default_rng(seed)
    inputs, order = np.concatenate([inputs for inputs, _ in DATA]), rng.permutation(96)
    labels = rng.integers(0, 4, 96)
    batches = [(inputs[order[at : at + size]], labels[order[at : at + size]]) for at in range(0, 96, size)]
    criterion = Criterion("absolute", 0.0, higher_is_better=metric.higher_is_better)
    stop = Stop(lambda best: not criterion.is_met(best, target))
    whole = score(metric, MODEL, EvaluationOrder(batches), Stop())
    found = score(metric, MODEL, EvaluationOrder(batches, labels[order]), stop)
    if found.complete:
        assert (found.accuracy, found.rows) == (whole.accuracy, 96)
    else:
        assert not criterion.is_met(whole.accuracy, target)
        assert not criterion.is_met(found.accuracy, target)
        assert criterion.is_met(found.accuracy, whole.accuracy)
        assert found.rows < 96


def test_a_hopeless_evaluation_ends_at_once() -> None:
    """A target out of reach costs one batch, and the score is what could still have been reached."""
    zeroed = FakeAdapter().zeroed(MODEL)
    found = score(FakeAccuracy, zeroed, EvaluationOrder(DATA, LABELS), Stop(hopeless_below(1.0)))
    wrong = int((LABELS[:16] != 0).sum())
    assert wrong > 0
    assert (found.rows, found.complete, found.predictions) == (16, False, None)
    assert found.accuracy == pytest.approx(1 - wrong / 96)


@pytest.mark.parametrize(
    ("metric", "labels"),
    [
        pytest.param(FakeAccuracy, None, id="labels unknown"),
        pytest.param(Unbounded, LABELS, id="no bound"),
        pytest.param(Bare, LABELS, id="no paired metric"),
    ],
)
def test_without_a_bound_an_evaluation_runs_to_its_end(metric: Callable[[], Metric], labels: Any) -> None:
    """Nothing is guessed."""
    found = score(metric, FakeAdapter().zeroed(MODEL), EvaluationOrder(DATA, labels), Stop(hopeless_below(1.0)))
    assert (found.rows, found.complete) == (96, True)


class Changed(EvaluationOrder):
    """An order that turned out to be of other rows."""

    changed_rows = True  # type: ignore[assignment]  # a property in the class


def test_on_other_rows_than_known_nothing_is_pruned_or_compared() -> None:
    """A shuffling loader's labels to come are not known, and its predictions are not in their places."""
    found = score(FakeAccuracy, FakeAdapter().zeroed(MODEL), Changed(DATA, LABELS), Stop(hopeless_below(1.0)))
    assert (found.rows, found.complete, found.predictions) == (96, True, None)


def test_the_last_batch_is_never_pruned() -> None:
    """What was seen to its end has a score, however bad."""
    found = score(
        FakeAccuracy, FakeAdapter().zeroed(MODEL), EvaluationOrder([DATA[0]], LABELS[:16]), Stop(hopeless_below(1.0))
    )
    assert found.complete


@pytest.mark.parametrize(
    ("expired_at", "labels", "ends"),
    [
        pytest.param(1, LABELS, 16, id="first batch"),
        pytest.param(4, LABELS, 64, id="in the middle"),
        pytest.param(6, LABELS, None, id="at the end"),
        pytest.param(2, None, 32, id="labels unknown"),
    ],
)
def test_time_ends_an_evaluation_in_the_middle(expired_at: int, labels: Any, ends: int | None) -> None:
    """The error says after how many rows; one that has just seen its last row counts."""
    asked = iter(range(1, 99))
    stop = Stop(expired=lambda: next(asked) >= expired_at)
    if ends is None:
        assert score(FakeAccuracy, MODEL, EvaluationOrder(DATA, labels), stop).complete
        return
    with pytest.raises(
        EvaluationError, match=rf"^tuning.timeout is reached after {ends} evaluation rows of this trial$"
    ):
        score(FakeAccuracy, MODEL, EvaluationOrder(DATA, labels), stop)


def test_the_exception_says_what_it_knows() -> None:
    """In a traceback of an adapter that lets it through to nowhere, bound and rows can be read."""
    watcher = Watcher(FakeAccuracy(), EvaluationOrder([], np.zeros(9)), Stop(hopeless_below(math.inf)))
    watcher.metric.update(np.eye(2), np.zeros(2, np.int64))
    with pytest.raises(OutcomeCertainError, match=r"at best 0\.888889 after 2 rows") as caught:
        watcher(2)
    assert caught.value.rows == 2
