"""Dependence of a row's outputs on the other rows of its batch: where there is any, every row stays in its batch.

Batch statistics in eval mode, logits that compare the rows of a batch, sequences whose first axis is time and graphs
whose nodes are the rows all do. So the float model is run once on rows of many batches put together, and its outputs
are compared with those that it gave to the same rows in the loader's own batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, RegroupsRows
from ilit.errors import EvaluationError, one_line
from ilit.evaluation.outputs import apart, arrays, off
from ilit.evaluation.rows import CachedRows, Place
from ilit.metric import Metric, PairedMetric

# Of the outputs' spread. Other batch sizes sum in another order, which makes some 1e-6 of it, and is no dependence; the
# spread of a batch's own statistics makes percents.
LEAST_DEPENDENCE = 1e-4
RECORDED_ROWS = 8  # of each batch
MOST_BYTES = 16 << 20  # of recorded outputs
_Answers = list[dict[str, NDArray[Any]]]  # batch by batch, leaf by leaf, the recorded rows
_log = logging.getLogger(__name__)


def recorded_rows(count: int) -> list[int]:
    """Return the numbers of up to ``RECORDED_ROWS`` of a batch's rows, evenly spread, its first and last among them.

    The last, since the first may be served first, as by experts with a capacity.
    """
    return sorted({int(at) for at in np.linspace(0, count - 1, min(count, RECORDED_ROWS)).round()}) if count else []


@dataclass
class Recorder:
    """A metric that also records the outputs of some rows of each batch, ``recorded_rows``, as long as there is room.

    Attributes:
        metric: the metric itself, which is asked for all else.
        answers: batch by batch and leaf by leaf, the number of rows and the outputs of the recorded ones; as many
            batches as there was room for.
    """

    metric: Metric
    answers: list[dict[str, tuple[int, NDArray[Any]]]] = field(default_factory=list)
    _bytes: int = 0

    def update(self, outputs: Any, labels: Any) -> None:
        """Take one batch, as ``Metric.update``."""
        if self._bytes <= MOST_BYTES:
            found = {path: array for path, array in arrays(outputs).items() if array.ndim}
            some = {path: (len(array), array[recorded_rows(len(array))]) for path, array in found.items()}
            self._bytes += sum(rows.nbytes for _, rows in some.values())
            if self._bytes <= MOST_BYTES:
                self.answers.append(some)
        self.metric.update(outputs, labels)

    def result(self) -> float:
        """Return the metric's result."""
        return self.metric.result()

    def __getattr__(self, name: str) -> Any:
        """Return the metric's own attribute."""
        return getattr(self.metric, name)


class _Regrouping(Adapter, RegroupsRows, Protocol):
    """An adapter that can put rows into other batches."""


def dependence(
    adapter: _Regrouping,
    float_model: Any,
    cached: CachedRows,
    recorded: Recorder,
    make: Callable[[], Metric],
) -> str:
    """Return the reason to leave rows in their batches; empty where there is none. Costs a batch at most.

    Args:
        adapter: puts the rows into one batch and runs it.
        float_model: the model whose outputs are recorded.
        cached: the loader's batches, with each row's shape.
        recorded: the float model's outputs, and the metric it went into.
        make: makes a fresh metric, to compare predictions where outputs have no rows or took too much room.
    """
    answers = _rowwise(recorded, cached)
    rows = _mixed_rows(cached, len(answers))
    if len(rows) < 2 and max(cached.counts) < 2:
        return ""
    all_places = cached.places
    places = [all_places[row] for row in rows]
    try:
        (batch,) = adapter.regroup(cached.batches or (), [places])  # never without, where shapes are known
        distance = (
            _outputs_apart(adapter, float_model, batch, cached, answers, places)
            if answers
            else _predictions_apart(adapter, float_model, batch, make(), recorded.metric, rows)
        )
    except Exception as error:  # noqa: BLE001 - whatever it raises, the rows do not run in another batch
        _log.info("rows of several batches in one raised %s", one_line(error), exc_info=True)
        return f"they do not run in other batches than the loader's ({one_line(error)})"
    if distance <= LEAST_DEPENDENCE:
        return ""
    return f"a row's outputs depend on the rows beside it, {off(distance)}"


def _rowwise(recorded: Recorder, cached: CachedRows) -> _Answers:
    """Return the recorded leaves that have an entry a row in every batch; empty where none has."""
    with_rows = [
        {path for path, (count, _) in found.items() if count == rows}
        for found, rows in zip(recorded.answers, cached.counts, strict=False)
    ]
    common = set.intersection(*with_rows) if with_rows else set()
    return [{path: found[path][1] for path in sorted(common)} for found in recorded.answers] if common else []


def _mixed_rows(cached: CachedRows, recorded: int) -> list[int]:
    """Return the rows to put into one batch: of one shape, one of each batch, in another place of each, then the next.

    They are recorded rows of the first ``recorded`` batches, or any rows where no batch is recorded; of the shape that
    most batches have. They come backwards, so that each is in another place than in its own batch, and where they would
    be one of the loader's batches over again, half of them are left out.
    """
    places, shapes = cached.places, cached.shapes or []
    known = [recorded_rows(count) if recorded else list(range(count)) for count in cached.counts]
    ranks = {(batch, at): rank for batch, ats in enumerate(known) for rank, at in enumerate(ats)}
    able = [row for row, place in enumerate(places) if place in ranks and place[0] < (recorded or len(cached.counts))]
    by_shape: dict[Hashable, list[int]] = {}
    for row in sorted(able, key=lambda row: ((ranks[places[row]] - places[row][0]) % RECORDED_ROWS, places[row][0])):
        by_shape.setdefault(shapes[row], []).append(row)
    rows = max(by_shape.values(), key=lambda rows: (len({places[row][0] for row in rows}), len(rows)), default=[])
    rows = rows[: max(cached.counts)]
    home = {places[row][0] for row in rows}
    if len(home) == 1 and len(rows) == cached.counts[home.pop()]:
        rows = rows[: (len(rows) + 1) // 2]
    return rows[::-1]


def _outputs_apart(
    adapter: Adapter, float_model: Any, batch: Any, cached: CachedRows, answers: _Answers, places: Sequence[Place]
) -> float:
    found = arrays(adapter.outputs(float_model, batch))
    where = [(number, recorded_rows(cached.counts[number]).index(at)) for number, at in places]
    wanted = {path: np.stack([answers[number][path][rank] for number, rank in where]) for path in answers[0]}
    return apart({path: found.get(path) for path in wanted}, wanted)


def _predictions_apart(
    adapter: Adapter, float_model: Any, batch: Any, fresh: Metric, scored: Metric, rows: Sequence[int]
) -> float:
    if not isinstance(fresh, PairedMetric) or not isinstance(scored, PairedMetric):
        raise EvaluationError("its outputs have no entry a row, and its metric no predictions")
    try:
        adapter.evaluate(float_model, [batch], fresh)
    except EvaluationError as error:
        _log.debug("no score on so few rows, but there are predictions: %s", one_line(error))
    return apart(fresh.predictions(), scored.predictions()[list(rows)])
