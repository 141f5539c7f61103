"""Ending an evaluation early: when even a perfect rest could not pass any more, or when the time is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ilit.errors import EvaluationError
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
        passes: whether a score meets the criterion.
        expired: whether the run's time is up.
    """

    passes: Callable[[float], bool] = lambda _: True
    expired: Callable[[], bool] = lambda: False


@dataclass
class Watcher:
    """Hears of each batch of one evaluation, as ``Adapter.evaluate``'s ``on_batch``.

    Exact: the bound is the metric's own, so an evaluation that would pass is never ended. Where the metric has no
    bound, or its labels are not known, only time ends it.
    """

    metric: Metric
    labels: NDArray[Any] | None
    stop: Stop
    rows: int = 0

    def __call__(self, rows: int) -> None:
        """Take note of a batch.

        Raises:
            OutcomeCertainError: even a perfect rest would not pass.
            EvaluationError: the run's time is up.
        """
        self.rows += rows
        if self.stop.expired():
            raise EvaluationError(f"tuning.timeout is reached after {self.rows} evaluation rows of this trial")
        if self.labels is None or self.rows >= len(self.labels) or not isinstance(self.metric, PairedMetric):
            return
        best = self.metric.reachable(self.labels[self.rows :])
        if best is not None and not self.stop.passes(best):
            raise OutcomeCertainError(best, self.rows)
