"""What metrics need to be a ``PairedMetric``: units stored in few bytes, and sums of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Units", "class_sums", "logit_margins", "share_right", "smallest"]

_WHOLE = (np.uint8, np.int16, np.int32, np.int64)


class Units:
    """One prediction, one label and one margin a unit, in the order they were added."""

    def __init__(self) -> None:
        self._predictions: list[NDArray[Any]] = []
        self._labels: list[NDArray[Any]] = []
        self._margins: list[NDArray[np.float32]] = []

    def add(self, predictions: NDArray[Any], labels: NDArray[Any], margins: NDArray[Any] | None = None) -> None:
        """Copy some units, shape (units,) each; without ``margins`` none are given for any unit."""
        self._predictions.append(smallest(predictions))
        self._labels.append(smallest(labels))
        if margins is not None:
            self._margins.append(margins.astype(np.float32))

    def predictions(self) -> NDArray[Any]:
        """Return all predictions, in the smallest type that holds them."""
        return _joined(self._predictions)

    def labels(self) -> NDArray[Any]:
        """Return all labels, in the smallest type that holds them."""
        return _joined(self._labels)

    def margins(self) -> NDArray[np.float32]:
        """Return all margins; empty where some unit has none."""
        margins = np.concatenate([np.zeros(0, np.float32), *self._margins])
        return margins if len(margins) == sum(map(len, self._predictions)) else margins[:0]


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of whole numbers as uint8, int16, int32 or int64, the first that holds them; others as float32."""
    if not np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    fitting = (kind for kind in _WHOLE if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fitting))


def logit_margins(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Return by how much each row's largest logit exceeds the second, from (rows, 2 or more classes); 0 where NaN."""
    best = -np.partition(-logits.astype(np.float32), 1, axis=1)[:, :2]  # (rows, 2), largest first
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return np.asarray(np.nan_to_num(best[:, 0] - best[:, 1], nan=0.0, posinf=np.inf), np.float32)


def share_right(predictions: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return the share of the weight on right units, (resamples,), from weights of shape (resamples, units)."""
    return np.asarray(weights @ (predictions == labels).astype(np.float64) / weights.sum(axis=1), np.float64)


def class_sums(numbers: NDArray[Any], classes: int, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weight on each class, (resamples, classes).

    Args:
        numbers: (units,), each unit's class, 0 to classes - 1.
        classes: how many there are; far fewer sums than ``weights @ one_hot`` where they are many.
        weights: (resamples, units).
    """
    order = np.argsort(numbers, kind="stable")
    present, starts = np.unique(numbers[order], return_index=True)
    sums = np.zeros((len(weights), classes))
    sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)
