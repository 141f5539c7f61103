"""Ending an evaluation early: when even a perfect rest could not pass any more, or when the time is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ilit.errors import EvaluationError
from ilit.evaluation.order import EvaluationOrder
from ilit.metric import Metric, PairedMetric


class OutcomeCertainError(Exception):
    """Raised from ``on_batch`` to end an evaluation that cannot pass; ``best`` is what it could still reach."""

    def __init__(self, best: float, rows: int) -> None:
        super().__init__(f"at best {best:g} after {rows} rows")
        self.best, self.rows = best, rows


@dataclass(frozen=True)
class Stop:
    """When an evaluation ends early.

    Attributes:
        hopeless: true of a best reachable score that misses the target, and not by rounding alone.
        expired: true when the run's time is up.
    """

    hopeless: Callable[[float], bool] = lambda _: False
    expired: Callable[[], bool] = lambda: False


@dataclass
class Watcher:
    """Watches one evaluation batch by batch, as ``Adapter.evaluate``'s ``on_batch``.

    Exact: the best reachable score is the metric's own, so an evaluation that would pass is never ended. Where the
    metric gives none, or the labels of the rows to come are not known, only time ends it.
    """

    metric: Metric
    order: EvaluationOrder
    stop: Stop
    rows: int = 0

    def __call__(self, rows: int) -> None:
        """Take note of a batch.

        Raises:
            OutcomeCertainError: even a perfect rest would not pass.
            EvaluationError: the run's time is up.
        """
        self.rows += rows
        labels = None if self.order.changed_rows else self.order.labels
        if labels is not None and self.rows >= len(labels):
            return  # complete, so there is nothing to end
        if self.stop.expired():
            raise EvaluationError(f"tuning.timeout is reached after {self.rows} evaluation rows of this trial")
        if labels is None or not isinstance(self.metric, PairedMetric):
            return
        best = self.metric.reachable(labels[self.rows :])
        if best is not None and self.stop.hopeless(best):
            raise OutcomeCertainError(best, self.rows)
