"""The evaluation rows of a run: cached as the loader gave them, told apart, and split for a holdout.

The first pass over the loader, for the float32 model's score, caches them (``WatchedLoader``). Where they take too much
memory the loader is iterated anew for each recipe, and watched for giving other rows (``UncachedLoader``).
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, RegroupsRows
from ilit.errors import DataError, one_line

MOST_BYTES = 256 << 20  # of cached evaluation rows, and likewise of their labels
COST_BATCHES = 3
Place = tuple[int, int]  # a row's batch, and its number there
_log = logging.getLogger(__name__)


@dataclass
class CachedRows:
    """The rows of one pass over the loader, in its order.

    Attributes:
        batches: the loader's batches; None once they take more than ``MOST_BYTES``.
        counts: rows of each batch.
        bytes: of the batches seen.
        shapes: each row's shape, where rows may be put into other batches; else None.
        batch_dependence: why rows stay in their own batches: outputs that depend on the batch; else empty.
    """

    batches: list[Any] | None = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    bytes: int = 0
    shapes: list[Hashable] | None = None
    batch_dependence: str = ""
    _labels: list[NDArray[Any]] | None = field(default_factory=list)
    _label_bytes: int = 0

    def add(self, batch: Any) -> None:
        """Cache a batch, unless that takes too much memory."""
        self.bytes += _bytes(batch)
        self._add_labels(batch[1])
        if self.batches is not None:
            self.batches.append(batch)
        if self.bytes > MOST_BYTES and self.batches is not None:
            self.drop_batches(f"they take more than {MOST_BYTES >> 20} MiB")

    def drop_batches(self, why: str) -> None:
        """Let go of the batches cached so far, and cache none any more; the labels stay."""
        _log.info("evaluation rows stay in the loader's order: %s", why)
        self.batches = None

    def note_batch_dependence(self, why: str) -> None:
        """Leave every row in its own batch from now on."""
        _log.info("evaluation rows stay in the loader's batches: %s", why)
        self.shapes, self.batch_dependence = None, why

    def _add_labels(self, labels: Any) -> None:
        """Cache a copy, since a loader may fill the same array anew for each batch."""
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
        """Return the numbers of some rows, given in the loader's order, grouped by the loader's batches."""
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
    """Return the bytes of a batch: of arrays and tensors those of their elements, of anything else its own, about."""
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    return int(getattr(value, "nbytes", sys.getsizeof(value)))


class WatchedLoader:
    """Yields a loader's batches as they are, caches their rows, and samples a few batches to measure costs on.

    The few are a random sample of all batches (reservoir sampling, Vitter 1985, algorithm R): a loader sorted by length
    begins with its shortest or longest, which say little about the others.

    Attributes:
        digests: the digests of each batch's rows, in the latest pass.
        cached: the rows of that pass.
        cost_batches: the sample, of up to ``COST_BATCHES``.
    """

    def __init__(self, loader: Iterable[Any], row_digests: Callable[[Any], list[str]], rng: random.Random) -> None:
        self._loader, self._row_digests, self._rng = loader, row_digests, rng
        self.digests: list[list[str]] = []
        self.cost_batches: list[Any] = []
        self.cached = CachedRows()

    def count_rows(self, rows: int) -> None:
        """Take note of the rows of the latest batch, as ``Adapter.evaluate``'s ``on_batch``."""
        self.cached.counts.append(rows)

    def __iter__(self) -> Iterator[Any]:
        self.digests, self.cost_batches, self.cached = [], [], CachedRows()
        for number, batch in enumerate(self._loader):
            self.digests.append(self._row_digests(batch))
            self.cached.add(batch)
            slot = number if number < COST_BATCHES else self._rng.randrange(number + 1)
            if slot < COST_BATCHES:
                self.cost_batches[slot : slot + 1] = [batch]
            yield batch
        if self.cached.batches and self._row_digests(self.cached.batches[0]) != self.digests[0]:
            self.cached.drop_batches("eval_dataloader fills the same memory anew for each batch")


class UncachedLoader:
    """A loader whose rows are not cached: iterated anew each time, and watched for giving other rows than at first.

    Attributes:
        changed_rows: in the present iteration, a batch had other rows than the float32 model's pass saw in its place.
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
            self._note(list(known) != self._row_digests(batch))
            yield batch
        self._note(number + 1 != len(self._first_pass))

    def _note(self, changed: bool) -> None:
        if changed and not self.changed_rows:
            _log.info(
                "eval_dataloader gives other rows than in the float32 model's pass, or the same ones in another order: "
                "this trial is evaluated to its end, and not compared row by row"
            )
        self.changed_rows = self.changed_rows or changed


def shapes_of(adapter: Adapter, cached: CachedRows) -> list[Hashable] | None:
    """Return each row's shape; None, with a line in the log, where rows are not cached or cannot be told apart."""
    if cached.batches is None:
        return None
    if not isinstance(adapter, RegroupsRows):
        _log.info("evaluation rows stay in the loader's order: adapter %s cannot regroup them", adapter.name)
        return None
    try:
        shapes = [shape for batch in cached.batches for shape in adapter.row_shapes(batch)]
    except DataError as error:
        _log.info("evaluation rows stay in the loader's order: %s", one_line(error))
        return None
    if len(shapes) != sum(cached.counts):
        _log.info("evaluation rows stay in the loader's order: a batch has more or fewer rows than predictions")
        return None
    return shapes


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the rows to search on and those held out, by the loader's numbers and in its order; drawn by a seed."""
    held = np.sort(np.random.default_rng(seed).permutation(count)[: round(count * share)])
    return np.setdiff1d(np.arange(count), held).tolist(), held.tolist()
