"""Errors of numbers: ``mse``, ``rmse`` and ``mae``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ilit_pytorch.metrics.inputs import array_of, differences, some


class MeanSquaredError:
    """Mean of the squared differences of outputs and labels, both of the same shape.

    A row's own mean is its prediction in the sense of ``PairedMetric``, and its label is 0.
    """

    name: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False
    by_row: bool = True
    share_of_right: bool = False

    def __init__(self) -> None:
        """Start with no value seen."""
        self.total, self.values = 0.0, 0
        self._rows: list[np.ndarray] = []

    def update(self, outputs: Any, labels: Any) -> None:
        """Add one batch."""
        self._add(np.square(differences(outputs, labels, self.name)))

    def _add(self, errors: np.ndarray) -> None:
        self.total += float(errors.sum())
        self.values += errors.size
        self._rows.append(errors.reshape(len(errors), -1).sum(axis=1) if errors.ndim else errors.reshape(1))

    def result(self) -> float:
        """Return the mean over all values."""
        return self.total / some(self.values, self.name)

    def predictions(self) -> np.ndarray:
        """Return each row's error, float32 (rows,); their mean is the mean over all values, however many a row has."""
        sums = np.concatenate([np.zeros(0), *self._rows])
        return np.asarray(sums * (len(sums) / max(1, self.values)), np.float32)

    def labels(self) -> np.ndarray:
        """Return zeros, float32 (rows,)."""
        return np.zeros(sum(map(len, self._rows)), np.float32)

    def margins(self) -> np.ndarray:
        """Return an empty array: an error turns into no other one."""
        return np.zeros(0, np.float32)

    def scores(self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the mean error for each row of weights."""
        return np.asarray(weights @ (predictions.astype(np.float64) - labels) / weights.sum(axis=1))

    def reachable(self, rest: Any) -> float:
        """Return the mean if nothing to come had an error."""
        values = array_of(rest, self.name, "label").size
        return self.total / some(self.values + values, self.name)


class RootMeanSquaredError(MeanSquaredError):
    """Square root of ``mse``."""

    name: ClassVar[str] = "rmse"

    def result(self) -> float:
        """Return the root of the mean over all values."""
        return math.sqrt(super().result())

    def scores(self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the root of the mean error for each row of weights."""
        return np.asarray(np.sqrt(super().scores(predictions, labels, weights)))

    def reachable(self, rest: Any) -> float:
        """Return the root of the mean if nothing to come had an error."""
        return math.sqrt(super().reachable(rest))


class MeanAbsoluteError(MeanSquaredError):
    """Mean of the absolute differences of outputs and labels, both of the same shape."""

    name: ClassVar[str] = "mae"

    def update(self, outputs: Any, labels: Any) -> None:
        """Add one batch."""
        self._add(np.abs(differences(outputs, labels, self.name)))
