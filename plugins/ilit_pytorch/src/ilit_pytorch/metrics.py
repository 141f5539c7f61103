"""Metrics for any torch model: ``topk``, ``accuracy``, ``f1``, ``mse``, ``rmse``, ``mae``."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np

from ilit.errors import ConfigError, DataError
from ilit.metric_units import Units, class_sums, logit_margins, share_right
from ilit_pytorch.metric_inputs import array_of, class_numbers, class_scores, differences, predicted_classes, some

Average = Literal["binary", "macro", "micro"]


class TopK:
    """Share of rows whose label is among the ``k`` highest scores. Outputs (rows, classes), labels (rows,)."""

    name: ClassVar[str] = "topk"
    higher_is_better: ClassVar[bool] = True
    by_row: bool = True
    share_of_right: bool = True

    def __init__(self, k: int = 1) -> None:
        """Set k, 1 or more."""
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ConfigError(f"topk: k must be an integer of 1 or more, not {k!r}")
        self.k, self.hits, self.rows = k, 0, 0
        self._units = Units()

    def update(self, outputs: Any, labels: Any) -> None:
        """Count the hits of one batch."""
        scores, labels = class_scores(outputs, labels, self.name)
        if self.k > scores.shape[1]:
            raise DataError(f"topk: k is {self.k}, the model gives {scores.shape[1]} classes")
        all_taken = self.k == scores.shape[1]
        best = labels[:, None] if all_taken else np.argpartition(-scores, self.k - 1, axis=1)[:, : self.k]
        hits = (labels[:, None] == best).any(axis=1)
        self.hits += int(hits.sum())
        self.rows += len(labels)
        margins = np.full(len(labels), np.inf) if all_taken else _hit_margins(scores, labels, hits, self.k)
        self._units.add(np.where(hits, labels, best[:, 0]), labels, margins)

    def result(self) -> float:
        """Return hits / rows."""
        return self.hits / some(self.rows, self.name)

    def predictions(self) -> np.ndarray:
        """Return the label where it was among the k highest, else a class of those, (rows,)."""
        return self._units.predictions()

    def labels(self) -> np.ndarray:
        """Return the labels, (rows,)."""
        return self._units.labels()

    def margins(self) -> np.ndarray:
        """Return each row's distance in scores between hit and miss, or empty where outputs were class numbers."""
        return self._units.margins()

    def scores(self, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the share of hits for each row of weights."""
        return share_right(predictions, labels, weights)

    def reachable(self, rest: Any) -> float:
        """Return the share if every row to come were a hit."""
        rows = array_of(rest, self.name, "label").size
        return (self.hits + rows) / some(self.rows + rows, self.name)


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
        self._units.add(predicted, labels, _class_margins(outputs))


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
        self._units.add(predicted, labels, _class_margins(outputs))

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


METRICS: list[Any] = [TopK, Accuracy, F1, MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError]


def _class_margins(outputs: np.ndarray) -> np.ndarray | None:
    """Return ``logit_margins`` of scores, or None where the model gave class numbers."""
    return logit_margins(outputs) if outputs.ndim == 2 and outputs.shape[1] > 1 else None


def _hit_margins(scores: np.ndarray, labels: np.ndarray, hits: np.ndarray, k: int) -> np.ndarray:
    """Return how far each label's score is from the one that would have to fall behind it or overtake it, (rows,)."""
    scores = scores.astype(np.float32)
    ranked = -np.partition(-scores, [k - 1, k], axis=1)  # k highest, then the next
    own = scores[np.arange(len(labels)), labels]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        apart = np.abs(np.where(hits, own - ranked[:, k], ranked[:, k - 1] - own))
    return np.asarray(np.nan_to_num(apart, nan=0.0, posinf=np.inf))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, 0 where both are 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0))


def _f1(counts: np.ndarray) -> float:
    true_positives, false_positives, false_negatives = (int(c) for c in counts)
    denominator = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / denominator if denominator else 0.0
