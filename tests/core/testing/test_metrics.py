"""The metric suite finds metrics that break a law."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from ilit.testing import FakeAccuracy, MetricCase, MetricContract

OUTPUTS = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
LABELS = np.array([0, 1, 1])


class LastBatchOnly(FakeAccuracy):
    def update(self, outputs: Any, labels: Any) -> None:
        self._right = self._rows = 0
        super().update(outputs, labels)


class ForgetsWhenAsked(FakeAccuracy):
    def result(self) -> float:
        value = super().result()
        self._right = 0
        return value


class WritesItsInput(FakeAccuracy):
    def update(self, outputs: Any, labels: Any) -> None:
        super().update(outputs, labels)
        outputs[...] = 0


class KeepsReferences(FakeAccuracy):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def update(self, outputs: Any, labels: Any) -> None:
        self.kept.append((outputs, labels))

    def result(self) -> float:
        self._right = self._rows = 0
        for outputs, labels in self.kept:
            super().update(outputs, labels)
        return super().result()


class ZeroOfNothing(FakeAccuracy):
    def result(self) -> float:
        return super().result() if self._rows else 0.0


class TakesAnything(FakeAccuracy):
    def update(self, outputs: Any, labels: Any) -> None:
        super().update(outputs[: len(labels)], labels)


class ScoresOfAnotherKind(FakeAccuracy):
    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return 1 - super().scores(predictions, labels, weights)


class WastesBytes(FakeAccuracy):
    def predictions(self) -> Any:
        return super().predictions().astype(np.int64)


class ForgetsOrder(FakeAccuracy):
    def labels(self) -> Any:
        return np.sort(super().labels())[::-1]


class IgnoresWeights(FakeAccuracy):
    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return super().scores(predictions, labels, np.ones_like(weights))


class CountsWeights(FakeAccuracy):
    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return super().scores(predictions, labels, weights) * weights.sum(axis=1) / np.ceil(weights.sum(axis=1))


class NoShare(FakeAccuracy):
    def scores(self, predictions: Any, labels: Any, weights: Any) -> Any:
        return super().scores(predictions, labels, weights) ** 2


class GivesUpTooSoon(FakeAccuracy):
    def reachable(self, rest: Any) -> float:
        return super().reachable(rest[1:])


class PromisesAfterTheEnd(FakeAccuracy):
    def reachable(self, rest: Any) -> float:
        return 1.0


BREAKS: dict[str, tuple[type[FakeAccuracy], str]] = {
    "last batch only": (LastBatchOnly, "test_batches_make_no_difference"),
    "forgets when asked": (ForgetsWhenAsked, "test_asking_twice_changes_nothing"),
    "writes its input": (WritesItsInput, "test_what_it_is_given_stays_as_it_was"),
    "keeps references": (KeepsReferences, "test_later_changes_to_a_batch_do_not_reach_it"),
    "zero of nothing": (ZeroOfNothing, "test_no_row_is_an_error"),
    "takes anything": (TakesAnything, "test_what_does_not_fit_is_refused"),
    "wastes bytes": (WastesBytes, "test_units_are_alike"),
    "forgets the order": (ForgetsOrder, "test_units_are_alike"),
    "scores of another kind": (ScoresOfAnotherKind, "test_scores_of_the_units_are_the_result"),
    "ignores weights": (IgnoresWeights, "test_weights_are_repetitions"),
    "takes weights for whole": (CountsWeights, "test_weights_are_repetitions"),
    "no share of right": (NoShare, "test_a_share_of_right_units_is_one"),
    "gives up too soon": (GivesUpTooSoon, "test_nothing_better_than_reachable_is_reached"),
    "promises after the end": (PromisesAfterTheEnd, "test_nothing_better_than_reachable_is_reached"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_law_is_found(broken: str) -> None:
    """The test of that law fails for the metric that breaks it, and passes for the sound one."""
    metric, law = BREAKS[broken]
    _check(FakeAccuracy, law)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        _check(metric, law)


class Plain:
    """A metric without the methods of a paired one."""

    name: ClassVar[str] = "plain"
    higher_is_better: ClassVar[bool] = True

    def update(self, outputs: Any, labels: Any) -> None:
        """Take anything."""

    def result(self) -> float:
        return 1.0


def test_other_metrics_are_not_held_to_the_laws_of_pairing() -> None:
    """The methods are optional: a metric without them skips their laws."""
    case = MetricCase(Plain, OUTPUTS, LABELS, 1.0)
    with pytest.raises(pytest.skip.Exception, match="it is no PairedMetric"):
        MetricContract().test_units_are_alike(case)


def _check(metric: type[FakeAccuracy], law: str) -> None:
    case = MetricCase(metric, OUTPUTS.copy(), LABELS.copy(), 2 / 3, misfit=(OUTPUTS.copy(), LABELS[:2].copy()))
    test = getattr(MetricContract(), law)
    test(case, 1) if law == "test_batches_make_no_difference" else test(case)
