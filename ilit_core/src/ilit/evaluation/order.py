"""The order in which one evaluation goes over its rows: the loader's own, or one in which misses show early.

Evaluations are stopped once their outcome is certain (``early_stop.py``). How soon that is depends on the order: rows
that float32 gets wrong cannot be lost, rows that it is hardly sure of are lost first. So these two kinds go first.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, RegroupsRows
from ilit.evaluation.rows import CachedRows, Place, UncachedLoader
from ilit.recipe import Recipe

STRETCHES = (0.25, 0.5, 1.0)  # where stretches end within which rows of one shape are put together


@dataclass(frozen=True)
class EvaluationOrder:
    """The rows of one evaluation, in the order in which it goes over them: its running order.

    Attributes:
        batches: iterable again and again.
        labels: every row's label in running order, (rows, ...); None where labels are no arrays of one shape.
        rows: the loader's number of each row in running order; None where that is the loader's own order.
    """

    batches: Iterable[Any]
    labels: NDArray[Any] | None = None
    rows: NDArray[np.int64] | None = None

    @property
    def changed_rows(self) -> bool:
        """True where the evaluation that runs, or ran last, saw other rows than ``labels`` and ``rows`` speak of."""
        return isinstance(self.batches, UncachedLoader) and self.batches.changed_rows

    def in_loaders_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value a row in the loader's order, given in running order."""
        return values if self.rows is None else values[np.argsort(self.rows)]


@dataclass(frozen=True)
class EvaluationOrders:
    """The two orders of the same rows.

    Attributes:
        plain: the loader's own batches.
        misses_first: an order in which misses show early; None where rows cannot be put into other batches.
    """

    plain: EvaluationOrder
    misses_first: EvaluationOrder | None = None

    def for_recipe(self, recipe: Recipe | None) -> EvaluationOrder:
        """Return misses first, but the loader's own batches for a recipe whose outputs depend on its batches."""
        if self.misses_first is None or recipe is None or depends_on_batch(recipe):
            return self.plain
        return self.misses_first


def depends_on_batch(recipe: Recipe) -> bool:
    """Return whether a row's output depends on the rows beside it: a dynamic op takes one range for a whole batch."""
    return any(
        config.approach == "dynamic" and config.activation is not None and config.activation.granularity != "per_token"
        for config in recipe.ops.values()
    )


def misses_first(wrong: NDArray[np.bool_], margins: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows' numbers, those first that float32 gets wrong; within both kinds the smallest margin first."""
    return np.lexsort((margins, ~wrong))


def batched(order: Sequence[int], shapes: Sequence[Hashable], size: int) -> Iterator[list[int]]:
    """Yield batches of at most ``size`` rows of one shape each, about in their order.

    Rows of one shape are put together within stretches, so that a batch has no more padding than the loader's own, and
    at most one batch a shape and stretch is not full. Misses show in the first half or hardly before the end, so the
    second half is one stretch. The order of rows that are all of one shape stays.
    """
    start = 0
    for end in (math.ceil(share * len(order) / size) * size for share in STRETCHES):
        by_shape: dict[Hashable, list[int]] = {}
        for row in order[start:end]:
            by_shape.setdefault(shapes[row], []).append(int(row))
        for rows in by_shape.values():
            yield from (rows[at : at + size] for at in range(0, len(rows), size))
        start = end


def order_over(adapter: Adapter, cached: CachedRows, groups: Sequence[Sequence[int]]) -> EvaluationOrder | None:
    """Return the order over batches of the rows that ``groups`` number; None where rows cannot be regrouped."""
    if cached.batches is None or not isinstance(adapter, RegroupsRows):
        return None
    places = cached.places
    rows = np.concatenate([np.asarray(group, np.int64) for group in groups])
    batches = _Regrouped(adapter, cached.batches, [[places[row] for row in group] for group in groups])
    labels = cached.labels()
    return EvaluationOrder(batches, None if labels is None else labels[rows], rows)


def reordered(adapter: Adapter, cached: CachedRows, rows: Sequence[int] | None) -> EvaluationOrder | None:
    """Return the order over some rows, about as they are given, in batches of one shape; None where that cannot be."""
    if rows is None or cached.shapes is None:
        return None
    return order_over(adapter, cached, list(batched(rows, cached.shapes, max(cached.counts))))


@dataclass(frozen=True)
class _Regrouped:
    """Cached rows in new batches, each made when it is its turn, so that there is no second copy of all rows."""

    adapter: RegroupsRows
    batches: Sequence[Any]
    groups: Sequence[Sequence[Place]]

    def __iter__(self) -> Iterator[Any]:
        for group in self.groups:
            yield from self.adapter.regroup(self.batches, [group])
