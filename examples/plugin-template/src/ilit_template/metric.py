"""Metric ``balanced_accuracy``: the mean of each class's recall, so that a rare class counts like a common one."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np

from ilit.errors import DataError, EvaluationError


class BalancedAccuracy:
    """Mean recall over the classes that occur among the labels.

    Two classes, 9 rows of the first all right and 1 row of the second wrong: accuracy 0.9, balanced accuracy 0.5.
    """

    name: ClassVar[str] = "balanced_accuracy"
    higher_is_better: ClassVar[bool] = True

    def __init__(self) -> None:
        self._rows: Counter[int] = Counter()
        self._right: Counter[int] = Counter()

    def update(self, outputs: Any, labels: Any) -> None:
        """Take one batch.

        Args:
            outputs: scores, floats of shape (rows, classes).
            labels: class numbers, integers of shape (rows,), each in 0..classes - 1.

        Raises:
            DataError: the shapes or the labels' range do not fit.
        """
        scores, truth = np.asarray(outputs), np.asarray(labels)
        if scores.ndim != 2 or truth.shape != scores.shape[:1]:
            raise DataError(
                f"metric balanced_accuracy: outputs of shape {scores.shape} and labels of shape {truth.shape} do not "
                "fit; it takes (rows, classes) and (rows,)"
            )
        if truth.size and not (truth.min() >= 0 and truth.max() < scores.shape[1]):
            raise DataError(
                f"metric balanced_accuracy: labels lie in {truth.min()}..{truth.max()}, but the model has "
                f"{scores.shape[1]} classes; number them from 0"
            )
        self._rows.update(truth.tolist())
        self._right.update(truth[scores.argmax(axis=1) == truth].tolist())

    def result(self) -> float:
        """Return the mean recall, 0..1.

        Raises:
            EvaluationError: no row was seen.
        """
        if not self._rows:
            raise EvaluationError("metric balanced_accuracy: no row was seen; the evaluation data is empty")
        return float(np.mean([self._right[label] / count for label, count in sorted(self._rows.items())]))
