"""What a data loader must be, checked before any work is done with it: only ``iter()`` is ever called on one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ilit.errors import DataError, IlitError, one_line

KEPT_BATCHES = 3


def first_batch(loader: Any, place: str) -> Any:
    """Return the first ``(input, label)`` batch of ``loader``.

    Args:
        loader: what the user gave, wrapped by a plugin or not.
        place: the argument's name, for errors: ``q_dataloader`` or ``eval_dataloader``.

    Raises:
        DataError: not iterable, iterable only once, empty, or its batches are not pairs.
    """
    try:
        iterator = iter(loader)
    except TypeError as error:
        raise DataError(f"{place}: a {type(loader).__name__} cannot be iterated; give a list or a loader") from error
    if iterator is loader:
        raise DataError(
            f"{place}: a {type(loader).__name__} can be iterated only once, and every evaluation needs it anew; "
            "give a list, a DataLoader, or an object whose __iter__ starts from the beginning"
        )
    try:
        batch = next(iterator, _NOTHING)
    except IlitError:
        raise
    except Exception as error:
        raise DataError(f"{place}: iterating it raised {one_line(error)}; try next(iter({place}))") from error
    if batch is _NOTHING:
        raise DataError(f"{place}: yields no batch; check its data and its filters")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"{place}: yields {_shape(batch)}, not (input, label) pairs; put all inputs into one dict or tuple, "
            "then the label"
        )
    return batch


def _shape(batch: Any) -> str:
    kind = type(batch).__name__
    return f"a {kind} of {len(batch)}" if isinstance(batch, (tuple, list, dict)) else f"a {kind}"


class WatchedLoader:
    """Yields a loader's batches as they are; notes the digest of every row and keeps a few batches to measure on.

    The kept batches are a random sample of all of them (reservoir sampling, Vitter 1985, algorithm R): a loader
    sorted by length begins with its shortest or longest, which say little about the others.
    """

    def __init__(self, loader: Iterable[Any], row_digests: Callable[[Any], list[str]], rng: random.Random) -> None:
        self._loader, self._row_digests, self._rng = loader, row_digests, rng
        self.digests: list[str] = []
        self.kept: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        self.digests, self.kept = [], []
        for number, batch in enumerate(self._loader):
            self.digests += self._row_digests(batch)
            slot = number if number < KEPT_BATCHES else self._rng.randrange(number + 1)
            if slot < KEPT_BATCHES:
                self.kept[slot : slot + 1] = [batch]
            yield batch


_NOTHING = object()
