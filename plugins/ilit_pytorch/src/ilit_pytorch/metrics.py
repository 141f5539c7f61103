"""Metrics for any torch model: ``topk``, ``accuracy``, ``f1``, ``mse``, ``rmse``, ``mae``."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np

from ilit.errors import ConfigError, DataError, EvaluationError

Average = Literal["binary", "macro", "micro"]


class TopK:
    """Share of rows whose label is among the ``k`` highest scores. Outputs (rows, classes), labels (rows,)."""

    name: ClassVar[str] = "topk"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, k: int = 1) -> None:
        """Set k, 1 or more."""
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ConfigError(f"topk: k must be an integer of 1 or more, not {k!r}")
        self.k, self.hits, self.rows = k, 0, 0

    def update(self, outputs: Any, labels: Any) -> None:
        """Count the hits of one batch."""
        scores, labels = class_scores(outputs, labels, self.name)
        if self.k > scores.shape[1]:
            raise DataError(f"topk: k is {self.k}, the model gives {scores.shape[1]} classes")
        best = np.argpartition(-scores, self.k - 1, axis=1)[:, : self.k] if self.k < scores.shape[1] else None
        hits = labels[:, None] == best if best is not None else np.ones((len(labels), 1), dtype=bool)
        self.hits += int(hits.any(axis=1).sum())
        self.rows += len(labels)

    def result(self) -> float:
        """Return hits / rows."""
        return self.hits / some(self.rows, self.name)


class Accuracy(TopK):
    """Share of rows whose highest score is the label's. Outputs (rows, classes) or class numbers (rows,)."""

    name: ClassVar[str] = "accuracy"

    def __init__(self) -> None:
        """Start with no row seen."""
        super().__init__(1)

    def update(self, outputs: Any, labels: Any) -> None:
        """Count the hits of one batch."""
        predicted, labels = predicted_classes(outputs, labels, self.name)
        self.hits += int((predicted == labels).sum())
        self.rows += len(labels)


class F1:
    """F1 of the predicted classes over all rows seen, never an average of batches.

    ``binary`` scores class ``positive``; ``macro`` averages the classes that occur in labels or predictions; ``micro``
    counts all classes together.
    """

    name: ClassVar[str] = "f1"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, average: Average = "binary", positive: int = 1) -> None:
        """Set the kind of average and, for ``binary``, the class that counts."""
        if average not in ("binary", "macro", "micro"):
            raise ConfigError(f"f1: average must be binary, macro or micro, not {average!r}")
        self.average, self.positive = average, positive
        self.counts: dict[int, np.ndarray] = {}
        self.rows = 0

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

    def result(self) -> float:
        """Return F1; 0 where the class counted was neither predicted nor there."""
        some(self.rows, self.name)
        if self.average == "macro":
            return float(np.mean([_f1(counts) for counts in self.counts.values()]))
        if self.average == "micro":
            return _f1(sum(self.counts.values(), np.zeros(3, dtype=np.int64)))
        return _f1(self.counts.get(self.positive, np.zeros(3, dtype=np.int64)))


class MeanSquaredError:
    """Mean of the squared differences of outputs and labels, both of the same shape."""

    name: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False

    def __init__(self) -> None:
        """Start with no value seen."""
        self.total, self.values = 0.0, 0

    def update(self, outputs: Any, labels: Any) -> None:
        """Add one batch."""
        difference = differences(outputs, labels, self.name)
        self.total += float(np.square(difference).sum())
        self.values += difference.size

    def result(self) -> float:
        """Return the mean over all values."""
        return self.total / some(self.values, self.name)


class RootMeanSquaredError(MeanSquaredError):
    """Square root of ``mse``."""

    name: ClassVar[str] = "rmse"

    def result(self) -> float:
        """Return the root of the mean over all values."""
        return math.sqrt(super().result())


class MeanAbsoluteError(MeanSquaredError):
    """Mean of the absolute differences of outputs and labels, both of the same shape."""

    name: ClassVar[str] = "mae"

    def update(self, outputs: Any, labels: Any) -> None:
        """Add one batch."""
        difference = differences(outputs, labels, self.name)
        self.total += float(np.abs(difference).sum())
        self.values += difference.size


METRICS: list[Any] = [TopK, Accuracy, F1, MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError]


def class_scores(outputs: Any, labels: Any, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (rows, classes) and integer labels (rows,).

    Raises:
        DataError: other shapes, labels that are no whole numbers, or labels beyond the classes.
    """
    scores, labels = _array(outputs, metric, "output"), _array(labels, metric, "label").reshape(-1)
    if scores.ndim != 2 or len(scores) != len(labels):
        raise DataError(
            f"{metric}: outputs must be (rows, classes) with a label a row, not {scores.shape} with {labels.shape}"
        )
    return scores, _class_numbers(labels, scores.shape[1], metric)


def predicted_classes(outputs: Any, labels: Any, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true class numbers, both (rows,); outputs may be scores or class numbers already.

    Raises:
        DataError: as ``class_scores``.
    """
    scores = _array(outputs, metric, "output")
    if scores.ndim == 1 and np.issubdtype(scores.dtype, np.integer):
        labels = _array(labels, metric, "label").reshape(-1)
        if len(scores) != len(labels):
            raise DataError(f"{metric}: {len(scores)} outputs for {len(labels)} labels")
        return scores, _class_numbers(labels, None, metric)
    scores, labels = class_scores(outputs, labels, metric)
    return scores.argmax(axis=1), labels


def differences(outputs: Any, labels: Any, metric: str) -> np.ndarray:
    """Return outputs - labels as float64; a trailing axis of one is taken as none.

    Raises:
        DataError: the shapes differ.
    """
    found = _array(outputs, metric, "output").astype(np.float64)
    expected = _array(labels, metric, "label").astype(np.float64)
    if found.shape != expected.shape and found.shape[-1:] == (1,):
        found = found[..., 0]
    if found.shape != expected.shape:
        raise DataError(f"{metric}: outputs are {found.shape}, labels {expected.shape}; they must have one shape")
    return found - expected


def some(count: int, metric: str) -> int:
    """Return the count.

    Raises:
        EvaluationError: it is 0, so there is nothing to divide by.
    """
    if count == 0:
        raise EvaluationError(f"{metric}: no row was evaluated; give an evaluation loader with data")
    return count


def _array(value: Any, metric: str, what: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise DataError(f"{metric}: needs one {what} array, got a {type(value).__name__}; choose another metric")
    return value


def _class_numbers(labels: np.ndarray, classes: int | None, metric: str) -> np.ndarray:
    numbers = labels.astype(np.int64)
    if not np.array_equal(numbers, labels):
        raise DataError(f"{metric}: labels must be class numbers, got {labels[numbers != labels][0]}")
    if classes is not None and len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
        wrong = numbers[(numbers < 0) | (numbers >= classes)][0]
        raise DataError(
            f"{metric}: label {wrong} is out of range; the model gives {classes} classes, 0 to {classes - 1}"
        )
    return numbers


def _f1(counts: np.ndarray) -> float:
    true_positives, false_positives, false_negatives = (int(c) for c in counts)
    denominator = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / denominator if denominator else 0.0
