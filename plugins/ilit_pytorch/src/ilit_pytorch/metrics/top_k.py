"""Shares of hits: ``topk`` and ``accuracy``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ilit.errors import ConfigError, DataError
from ilit.metric_units import Units, share_right
from ilit_pytorch.metrics.inputs import array_of, class_scores, predicted_classes, some
from ilit_pytorch.metrics.margins import class_margins, hit_margins


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
        margins = np.full(len(labels), np.inf) if all_taken else hit_margins(scores, labels, hits, self.k)
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
        self._units.add(predicted, labels, class_margins(outputs))
