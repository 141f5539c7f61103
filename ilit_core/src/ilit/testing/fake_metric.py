"""The metric of the fake framework."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ilit.errors import DataError, EvaluationError
from ilit.testing.tensors import Array


class FakeAccuracy:
    """The share of rows whose largest logit is the label's; a ``PairedMetric``."""

    name: ClassVar[str] = "fake_accuracy"
    higher_is_better: ClassVar[bool] = True
    by_row: bool = True
    share_of_right: bool = True

    def __init__(self) -> None:
        self._right = self._rows = 0
        self._seen: list[tuple[Array, Array, Array]] = []

    def update(self, outputs: Any, labels: Any) -> None:
        """Take logits of shape (rows, classes) and labels of shape (rows,)."""
        logits, wanted = np.asarray(outputs), np.asarray(labels)
        if logits.ndim != 2 or wanted.shape != logits.shape[:1]:
            raise DataError(f"metric fake_accuracy: labels {wanted.shape} do not fit logits {logits.shape}")
        found = logits.argmax(axis=1)
        self._right += int((found == wanted).sum())
        self._rows += len(wanted)
        ranked = np.sort(logits.astype(np.float32), axis=1)
        self._seen.append((found.astype(np.uint8), wanted.astype(np.uint8), ranked[:, -1] - ranked[:, -2]))

    def result(self) -> float:
        """Return the share, 0 to 1."""
        if not self._rows:
            raise EvaluationError("metric fake_accuracy: no row was seen; check the evaluation data")
        return self._right / self._rows

    def predictions(self) -> Array:
        """Return the class of each row's largest logit, uint8 of shape (rows,)."""
        return np.concatenate([np.zeros(0, np.uint8), *(found for found, _, _ in self._seen)])

    def labels(self) -> Array:
        """Return the labels, uint8 of shape (rows,)."""
        return np.concatenate([np.zeros(0, np.uint8), *(wanted for _, wanted, _ in self._seen)])

    def margins(self) -> Array:
        """Return by how much each row's largest logit exceeds the second, float32 of shape (rows,)."""
        return np.concatenate([np.zeros(0, np.float32), *(margin for _, _, margin in self._seen)])

    def scores(self, predictions: Array, labels: Array, weights: Array) -> npt.NDArray[np.float64]:
        """Return the share of right rows for each row of weights."""
        return np.asarray(weights @ (predictions == labels) / weights.sum(axis=1), np.float64)

    def reachable(self, rest: Any) -> float:
        """Return the share if all rows to come were right."""
        rows = len(np.asarray(rest))
        return (self._right + rows) / (self._rows + rows) if self._rows + rows else 1.0
