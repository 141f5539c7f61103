"""The metric of the fake framework."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ilit.errors import DataError, EvaluationError
from ilit.metric_units import Units, logit_margins, share_right
from ilit.testing.fake.tensors import Array


class FakeAccuracy:
    """The share of rows whose largest logit is the label's; a ``PairedMetric``."""

    name: ClassVar[str] = "fake_accuracy"
    higher_is_better: ClassVar[bool] = True
    by_row: bool = True
    share_of_right: bool = True

    def __init__(self) -> None:
        self._right = self._rows = 0
        self._units = Units()

    def update(self, outputs: Any, labels: Any) -> None:
        """Take logits of shape (rows, classes) and labels of shape (rows,)."""
        logits, wanted = np.asarray(outputs), np.asarray(labels)
        if logits.ndim != 2 or wanted.shape != logits.shape[:1]:
            raise DataError(f"metric fake_accuracy: labels {wanted.shape} do not fit logits {logits.shape}")
        found = logits.argmax(axis=1)
        self._right += int((found == wanted).sum())
        self._rows += len(wanted)
        self._units.add(found, wanted, logit_margins(logits))

    def result(self) -> float:
        """Return the share, 0 to 1."""
        if not self._rows:
            raise EvaluationError("metric fake_accuracy: no row was seen; check the evaluation data")
        return self._right / self._rows

    def predictions(self) -> Array:
        """Return the class of each row's largest logit, shape (rows,)."""
        return self._units.predictions()

    def labels(self) -> Array:
        """Return the labels, shape (rows,)."""
        return self._units.labels()

    def margins(self) -> Array:
        """Return by how much each row's largest logit exceeds the second, float32 of shape (rows,)."""
        return self._units.margins()

    def scores(self, predictions: Array, labels: Array, weights: Array) -> npt.NDArray[np.float64]:
        """Return the share of right rows for each row of weights."""
        return share_right(predictions, labels, weights)

    def reachable(self, rest: Any) -> float:
        """Return the share if all rows to come were right."""
        rows = len(np.asarray(rest))
        return (self._right + rows) / (self._rows + rows) if self._rows + rows else 1.0
