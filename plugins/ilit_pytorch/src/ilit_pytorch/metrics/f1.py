"""``f1`` of the predicted classes: of one class, averaged over classes, or of all together."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from ilit.errors import ConfigError, DataError
from ilit.metric_units import Units, class_sums, share_right
from ilit_pytorch.metrics.inputs import array_of, class_numbers, predicted_classes, some
from ilit_pytorch.metrics.margins import class_margins

Average = Literal["binary", "macro", "micro"]


class F1:
    """F1 of the predicted classes over all rows seen, never an average of batches.

    ``binary`` scores class ``positive``; ``macro`` averages the classes that occur in labels or predictions; ``micro``
    counts all classes together.
    """

    name: ClassVar[str] = "f1"
    higher_is_better: ClassVar[bool] = True
    by_row: bool = True
    share_of_right: bool = False

    def __init__(self, average: Average = "binary", positive: int = 1) -> None:
        """Set the kind of average and, for ``binary``, the class that counts."""
        if average not in ("binary", "macro", "micro"):
            raise ConfigError(f"f1: average must be binary, macro or micro, not {average!r}")
        self.average, self.positive = average, positive
        self.counts: dict[int, np.ndarray] = {}
        self.rows = 0
        self._units = Units()

    def update(self, outputs: Any, labels: Any) -> None:
        """Count true positives, false positives and false negatives of one batch."""
        predicted, labels = predicted_classes(outputs, labels, self.name)
        classes = outputs.shape[1] if outputs.ndim == 2 else int(max(predicted.max(), labels.max())) + 1
        if self.average == "binary" and classes > 2:
            raise DataError(
                f"f1: {classes} classes, and average 'binary' scores only class {self.positive}; "
                "set tuning.metric.f1.average to macro or micro"
            )
        self.rows += len(labels)
        for number in np.union1d(predicted, labels):
            ours, truth = predicted == number, labels == number
            counts = np.array([(ours & truth).sum(), (ours & ~truth).sum(), (~ours & truth).sum()])
            self.counts[int(number)] = self.counts.get(int(number), np.zeros(3, dtype=np.int64)) + counts
        self._units.add(predicted, labels, class_margins(outputs))

    def result(self) -> float:
        """Return F1; 0 where the class counted was neither predicted nor there."""
        some(self.rows, self.name)
        return self._of(self.counts)

    def _of(self, counts: dict[int, np.ndarray]) -> float:
        if self.average == "macro":
            return float(np.mean([_f1(found) for found in counts.values()]))
        if self.average == "micro":
            return _f1(sum(counts.values(), np.zeros(3, dtype=np.int64)))
        return _f1(counts.get(self.positive, np.zeros(3, dtype=np.int64)))

    def predictions(self) -> np.ndarray:
        """Return the predicted classes, (rows,)."""
        return self._units.predictions()

    def labels(self) -> np.ndarray:
        """Return the labels, (rows,)."""
        return self._units.labels()

    def margins(self) -> np.ndarray:
        """Return by how much each row's highest score exceeds the second, or empty where outputs were class numbers."""
        return self._units.margins()

    def scores(self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return F1 for each row of weights; a class that has no weight in labels or predictions does not occur."""
        if self.average == "micro":
            return share_right(predictions, labels, weights)  # every miss is one false positive, one false negative
        if self.average == "binary":
            ours, truth = predictions == self.positive, labels == self.positive
            found = weights @ ours.astype(np.float64) + weights @ truth.astype(np.float64)
            return _ratio(2 * (weights @ (ours & truth).astype(np.float64)), found)
        classes, numbers = np.unique(np.concatenate([predictions, labels]), return_inverse=True)
        predicted, true = np.split(numbers.reshape(-1), 2)
        found = class_sums(predicted, len(classes), weights) + class_sums(true, len(classes), weights)
        values = _ratio(
            2 * class_sums(true, len(classes), weights * (predicted == true)), found
        )  # (resamples, classes)
        return np.asarray(values.sum(axis=1) / (found > 0).sum(axis=1))

    def reachable(self, rest: Any) -> float:
        """Return F1 if every row to come were right.

        No other rest does better. Of an average over classes too: a wrong row turned right gives its class one more
        true positive for a false negative, and takes a false positive from the class predicted, which raises that
        one's F1, or takes the class with its F1 of 0 out of the average.
        """
        labels = class_numbers(array_of(rest, self.name, "label").reshape(-1), None, self.name)
        some(self.rows + len(labels), self.name)
        counts = dict(self.counts)
        for number, rows in zip(*np.unique(labels, return_counts=True), strict=True):
            right = np.array([rows, 0, 0], np.int64)
            counts[int(number)] = counts.get(int(number), np.zeros(3, np.int64)) + right
        return self._of(counts)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, 0 where both are 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0))


def _f1(counts: np.ndarray) -> float:
    true_positives, false_positives, false_negatives = (int(c) for c in counts)
    denominator = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / denominator if denominator else 0.0
