"""The evaluation rows of a run: kept as the loader gave them, split, and put into an order in which misses show early.

Evaluations are stopped once their outcome is certain (``pruning.py``). How soon that is depends on the order: rows that
float32 gets wrong cannot be lost, rows that it is hardly sure of are lost first. So these two kinds go first.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, RegroupsRows
from ilit.errors import DataError, one_line
from ilit.recipe import Recipe

MOST_BYTES = 256 << 20  # of evaluation rows kept in memory, and likewise of their labels
STRETCHES = (0.25, 0.5, 1.0)  # where stretches end within which rows of one shape are put together
Place = tuple[int, int]
_log = logging.getLogger(__name__)


# --- What an evaluation runs over ------------------------------------------------------------------------------------


class UncachedLoader:
    """A loader whose rows are not kept, iterated anew each time, and watched for giving other rows than at first.

    Attributes:
        strayed: in the present iteration, a batch had other rows than the float32 model's pass saw in its place.
    """

    def __init__(
        self, loader: Iterable[Any], row_digests: Callable[[Any], list[str]], first_pass: Sequence[Sequence[str]]
    ) -> None:
        self._loader, self._row_digests, self._first_pass = loader, row_digests, first_pass
        self.changed_rows = False

    def __iter__(self) -> Iterator[Any]:
        self.changed_rows = False
        number = -1
        for number, batch in enumerate(self._loader):
            known = self._first_pass[number] if number < len(self._first_pass) else ()
            self._stray(list(known) != self._row_digests(batch))
            yield batch
        self._stray(number + 1 != len(self._first_pass))

    def _stray(self, strays: bool) -> None:
        if strays and not self.changed_rows:
            _log.info(
                "eval_dataloader gives other rows than in the float32 model's pass, or the same ones in another order: "
                "this trial is evaluated to its end, and not compared row by row"
            )
        self.changed_rows = self.changed_rows or strays


@dataclass(frozen=True)
class Regrouped:
    """Kept rows in new batches, each made when it is its turn, so that there is no second copy of all rows."""

    adapter: RegroupsRows
    batches: Sequence[Any]
    groups: Sequence[Sequence[Place]]

    def __iter__(self) -> Iterator[Any]:
        for group in self.groups:
            yield from self.adapter.regroup(self.batches, [group])


@dataclass(frozen=True)
class EvaluationOrder:
    """What one evaluation runs over.

    Attributes:
        batches: iterable again and again.
        labels: every row's label in running order, (rows, ...); None where labels are no arrays of one shape.
        order: the loader's number of each row in running order; None where that is the loader's own order.
    """

    batches: Iterable[Any]
    labels: NDArray[Any] | None = None
    order: NDArray[np.int64] | None = None

    @property
    def changed_rows(self) -> bool:
        """True where the evaluation that runs, or ran last, saw other rows than ``labels`` and ``order`` speak of."""
        return isinstance(self.batches, UncachedLoader) and self.batches.changed_rows

    def in_loaders_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value a row, given in running order, in the loader's."""
        return values if self.order is None else values[np.argsort(self.order)]


@dataclass(frozen=True)
class EvaluationOrders:
    """The two ways to go over the same rows.

    Attributes:
        plain: the loader's own batches.
        ordered: the same rows in an order in which misses show early; None where they cannot be reordered.
    """

    plain: EvaluationOrder
    ordered: EvaluationOrder | None = None

    def fitting(self, recipe: Recipe | None) -> EvaluationOrder:
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


# --- Keeping ---------------------------------------------------------------------------------------------------------


@dataclass
class CachedRows:
    """What one pass over the loader gave, in its order.

    Attributes:
        batches: the batches; None once they take more than ``MOST_BYTES``.
        counts: rows of each batch.
        bytes: of the batches seen.
        shapes: each row's, where rows may be put into other batches; else None.
        bound: why they may not, where their outputs depend on it; else empty.
    """

    batches: list[Any] | None = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    bytes: int = 0
    shapes: list[Hashable] | None = None
    bound: str = ""
    _labels: list[NDArray[Any]] | None = field(default_factory=list)
    _label_bytes: int = 0

    def take(self, batch: Any) -> None:
        """Keep a batch, unless that takes too much memory."""
        self.bytes += _bytes(batch)
        self._take_labels(batch[1])
        if self.batches is not None:
            self.batches.append(batch)
        if self.bytes > MOST_BYTES and self.batches is not None:
            self.give_up(f"they take more than {MOST_BYTES >> 20} MiB")

    def give_up(self, why: str) -> None:
        """Keep no batch any more."""
        _log.info("evaluation rows stay in the loader's order: %s", why)
        self.batches = None

    def bind(self, why: str) -> None:
        """Leave every row in its batch."""
        _log.info("evaluation rows stay in the loader's batches: %s", why)
        self.shapes, self.bound = None, why

    def _take_labels(self, labels: Any) -> None:
        """Keep a copy, since a loader may fill the same array anew for each batch."""
        if self._labels is None:
            return
        try:
            self._labels.append(np.asarray(labels).copy())
        except (ValueError, TypeError, RuntimeError) as error:
            _log.info("evaluations run to their end: the labels are no arrays (%s)", one_line(error))
            self._labels = None
            return
        self._label_bytes += self._labels[-1].nbytes
        if self._label_bytes > MOST_BYTES:
            _log.info("evaluations run to their end: the labels take more than %d MiB", MOST_BYTES >> 20)
            self._labels = None

    @property
    def places(self) -> list[Place]:
        """Each row's batch and its number there."""
        return [(batch, row) for batch, count in enumerate(self.counts) for row in range(count)]

    def own_batches(self, rows: Iterable[int]) -> list[list[int]]:
        """Return the numbers of these rows, which come in the loader's order, batch by batch as the loader has them."""
        by_batch: dict[int, list[int]] = {}
        places = self.places
        for row in rows:
            by_batch.setdefault(places[row][0], []).append(row)
        return list(by_batch.values())

    def labels(self) -> NDArray[Any] | None:
        """Return every row's label, (rows, ...); None where they are no arrays of one shape."""
        if not self._labels:
            return None
        shapes = {part.shape[1:] for part in self._labels if part.ndim}
        if len(shapes) != 1 or [len(part) if part.ndim else -1 for part in self._labels] != self.counts:
            return None
        together = np.concatenate(self._labels)
        return None if together.dtype == object else together


def _bytes(value: Any) -> int:
    """Return the bytes of a batch: of arrays and tensors what their elements take, of anything else about its own."""
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    return int(getattr(value, "nbytes", sys.getsizeof(value)))


# --- Order -----------------------------------------------------------------------------------------------------------


def misses_first(wrong: NDArray[np.bool_], margins: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows' numbers: those that float32 gets wrong first, then by its margin, the smallest first."""
    return np.lexsort((margins, ~wrong))


def batched(order: Sequence[int], shapes: Sequence[Hashable], size: int) -> Iterator[list[int]]:
    """Yield batches of at most ``size`` rows of one shape each, the order kept about.

    Rows of one shape are put together within stretches, so that a batch has no more padding than the loader's own, and
    at most one batch a shape and stretch is not full. Misses show in the first half or hardly before the end, so the
    second half is one stretch. Rows that are all of one shape keep their order.
    """
    start = 0
    for end in (math.ceil(share * len(order) / size) * size for share in STRETCHES):
        by_shape: dict[Hashable, list[int]] = {}
        for row in order[start:end]:
            by_shape.setdefault(shapes[row], []).append(int(row))
        for rows in by_shape.values():
            yield from (rows[at : at + size] for at in range(0, len(rows), size))
        start = end


def course_of(adapter: Adapter, kept: CachedRows, groups: Sequence[Sequence[int]]) -> EvaluationOrder | None:
    """Return a course over batches of these rows, named by the loader's numbers; None where that cannot be."""
    if kept.batches is None or not isinstance(adapter, RegroupsRows):
        return None
    places = kept.places
    running = np.concatenate([np.asarray(rows, np.int64) for rows in groups])
    batches = Regrouped(adapter, kept.batches, [[places[row] for row in rows] for rows in groups])
    labels = kept.labels()
    return EvaluationOrder(batches, None if labels is None else labels[running], running)


def reordered(adapter: Adapter, kept: CachedRows, rows: Sequence[int] | None) -> EvaluationOrder | None:
    """Return a course over these rows in about this order, in batches of one shape; None where that cannot be."""
    if rows is None or kept.shapes is None:
        return None
    return course_of(adapter, kept, list(batched(rows, kept.shapes, max(kept.counts))))


def shapes_of(adapter: Adapter, kept: CachedRows) -> list[Hashable] | None:
    """Return each row's shape; None, with a line in the log, where rows are not kept or cannot be told apart."""
    if kept.batches is None:
        return None
    if not isinstance(adapter, RegroupsRows):
        _log.info("evaluation rows stay in the loader's order: adapter %s cannot regroup them", adapter.name)
        return None
    try:
        shapes = [shape for batch in kept.batches for shape in adapter.row_shapes(batch)]
    except DataError as error:
        _log.info("evaluation rows stay in the loader's order: %s", one_line(error))
        return None
    if len(shapes) != sum(kept.counts):
        _log.info("evaluation rows stay in the loader's order: a batch has more or fewer rows than predictions")
        return None
    return shapes


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the rows to search on and of those held out, each in the loader's order."""
    held = np.sort(np.random.default_rng(seed).permutation(count)[: round(count * share)])
    return np.setdiff1d(np.arange(count), held).tolist(), held.tolist()
