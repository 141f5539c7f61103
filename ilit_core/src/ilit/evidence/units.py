"""The units that both models predicted: their predictions and labels, with the metric that scores them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.errors import EvaluationError
from ilit.metric import PairedMetric


@dataclass(frozen=True)
class PairedUnits:
    """The predictions of the float32 model and of a recipe for the same units, in the same order.

    Attributes:
        float_predictions: (units,) of the float32 model, as ``PairedMetric.predictions`` gives them.
        int8_predictions: (units,) of the recipe.
        labels: (units,).
        metric: the metric that gave them; only its pure methods are used.
        baseline: the float32 model's score on these units.

    Raises:
        EvaluationError: no units, or numbers of them that differ.
    """

    float_predictions: NDArray[Any]
    int8_predictions: NDArray[Any]
    labels: NDArray[Any]
    metric: PairedMetric
    baseline: float

    def __post_init__(self) -> None:
        ours, theirs, units = len(self.float_predictions), len(self.int8_predictions), len(self.labels)
        if not units or not units == ours == theirs:
            raise EvaluationError(
                f"metric {self.metric.name}: {ours} float32 and {theirs} INT8 predictions for "
                f"{units} labels cannot be compared; its methods predictions and labels must give one a unit"
            )

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.labels)

    @property
    def are_classes(self) -> bool:
        """True where predictions and labels are class numbers, False where they are scores."""
        sides = (self.float_predictions, self.int8_predictions, self.labels)
        return all(np.issubdtype(side.dtype, np.integer) for side in sides)

    def score(self, predictions: NDArray[Any]) -> float:
        """Return the metric of other predictions (units,) for these units."""
        return float(self.metric.scores(predictions, self.labels, np.ones((1, len(self))))[0])

    def drop(self, relative: bool) -> float:
        """Return the drop seen, as a share of the baseline or in the metric's unit.

        Raises:
            EvaluationError: the drop is not defined on these units.
        """
        score = self.score(self.int8_predictions)
        drop = self.baseline - score if self.metric.higher_is_better else score - self.baseline
        if not math.isfinite(drop) or (relative and self.baseline == 0):
            raise self.undefined_drop()
        return drop / abs(self.baseline) if relative else drop

    def flips(self) -> tuple[int, int] | None:
        """Return the counts of units gained and lost; None where predictions are scores."""
        if not self.are_classes:
            return None
        was, now = self.float_predictions == self.labels, self.int8_predictions == self.labels
        return int((~was & now).sum()), int((was & ~now).sum())

    def undefined_drop(self) -> EvaluationError:
        """Return the error to raise where the metric has no drop on these units."""
        return EvaluationError(
            f"metric {self.metric.name}: no drop is defined on these {len(self)} units; evaluate on more rows, or use "
            "tuning.accuracy_criterion.absolute where float32 scores 0"
        )
