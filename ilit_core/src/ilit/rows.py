"""The evaluation rows of a run: kept as the loader gave them, split, and put into an order in which misses show early.

Evaluations are stopped once their outcome is certain (``pruning.py``). How soon that is depends on the order: rows that
float32 gets wrong cannot be lost, rows that it is hardly sure of are lost first. So these two kinds go first.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter
from ilit.errors import DataError, one_line
from ilit.recipe import Recipe

MOST_BYTES = 256 << 20  # of evaluation rows kept in memory
CHUNK = 8  # batches' worth of rows within which rows of one shape are put together
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Course:
    """What one evaluation runs over.

    Attributes:
        batches: iterable again and again.
        labels: every row's label in running order, (rows, ...); None where labels are no arrays of one shape.
        order: the loader's number of each row in running order; None where that is the loader's own order.
    """

    batches: Iterable[Any]
    labels: NDArray[Any] | None = None
    order: NDArray[np.int64] | None = None

    def in_loaders_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value a row, given in running order, in the loader's."""
        return values if self.order is None else values[np.argsort(self.order)]


@dataclass(frozen=True)
class Courses:
    """The two ways to go over the same rows.

    Attributes:
        plain: the loader's own batches.
        ordered: the same rows in an order in which misses show early; None where they cannot be reordered.
    """

    plain: Course
    ordered: Course | None = None

    def fitting(self, recipe: Recipe | None) -> Course:
        """Return the ordered course, but the loader's own batches for a recipe whose outputs depend on its batches."""
        if self.ordered is None or recipe is None or depends_on_batch(recipe):
            return self.plain
        return self.ordered


def depends_on_batch(recipe: Recipe) -> bool:
    """Return whether a row's output depends on what is beside it: a dynamic op takes one range for the whole batch."""
    return any(
        config.approach == "dynamic" and config.activation is not None and config.activation.granularity != "per_token"
        for config in recipe.ops.values()
    )


@dataclass
class Kept:
    """What one pass over the loader gave, in its order.

    Attributes:
        batches: the batches; None once they take more than ``MOST_BYTES``.
        labels: the batches' labels as they came.
        counts: rows of each batch.
    """

    batches: list[Any] | None = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    bytes: int = 0

    def take(self, batch: Any) -> None:
        """Keep a batch, unless that takes too much memory."""
        self.labels.append(batch[1])
        self.bytes += _bytes(batch)
        if self.batches is not None:
            self.batches.append(batch)
        if self.bytes > MOST_BYTES and self.batches is not None:
            _log.info("the evaluation rows take more than %d MiB, so they are not kept", MOST_BYTES >> 20)
            self.batches = None

    @property
    def places(self) -> list[tuple[int, int]]:
        """Each row's batch and its number there."""
        return [(batch, row) for batch, count in enumerate(self.counts) for row in range(count)]

    def all_labels(self) -> NDArray[Any] | None:
        """Return every row's label, (rows, ...); None where they are no arrays of one shape."""
        try:
            together = np.concatenate([np.asarray(labels) for labels in self.labels])
        except (ValueError, TypeError, RuntimeError):
            return None
        return together if len(together) == sum(self.counts) and together.dtype != object else None


def _bytes(value: Any) -> int:
    """Return the bytes of the arrays and tensors in a batch."""
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    return int(getattr(value, "nbytes", 0))


def misses_first(wrong: NDArray[np.bool_], margins: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows' numbers: those that float32 gets wrong first, then by its margin, the smallest first."""
    return np.lexsort((margins, ~wrong))


def batched(order: Sequence[int], shapes: Sequence[Hashable], size: int) -> Iterator[list[int]]:
    """Yield batches of at most ``size`` rows of one shape each, the order kept but for ``CHUNK`` batches' worth."""
    for start in range(0, len(order), CHUNK * size):
        by_shape: dict[Hashable, list[int]] = {}
        for row in order[start : start + CHUNK * size]:
            by_shape.setdefault(shapes[row], []).append(int(row))
        for rows in by_shape.values():
            yield from (rows[at : at + size] for at in range(0, len(rows), size))


def course_of(adapter: Adapter, kept: Kept, order: Sequence[int]) -> Course | None:
    """Return a course over the loader's rows of these numbers, about in this order; None where that cannot be made."""
    regroup: Any = getattr(adapter, "regroup", None)
    row_shapes: Any = getattr(adapter, "row_shapes", None)
    if kept.batches is None or regroup is None or row_shapes is None:
        return None
    places = kept.places
    try:
        shapes = [shape for batch in kept.batches for shape in row_shapes(batch)]
        groups = list(batched(order, shapes, max(kept.counts)))
        batches = regroup(kept.batches, [[places[row] for row in rows] for rows in groups])
    except (DataError, IndexError) as error:
        _log.info("evaluation rows stay in the loader's order: %s", one_line(error))
        return None
    running = np.concatenate([np.asarray(rows, np.int64) for rows in groups])
    labels = kept.all_labels()
    return Course(batches, None if labels is None else labels[running], running)


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the rows to search on and of those held out, each in the loader's order."""
    held = np.sort(np.random.default_rng(seed).permutation(count)[: round(count * share)])
    return np.setdiff1d(np.arange(count), held).tolist(), held.tolist()
