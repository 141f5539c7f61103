"""Everything a request is answered with: model, data, what judges, and the float model's answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, Calibration
from ilit.criterion import Criterion
from ilit.evaluation.fidelity import Sample
from ilit.evaluation.scoring import Scorer
from ilit.metric import PairedMetric
from ilit.objective import Objective
from ilit.space import SearchSpace
from ilit.strategy import (
    Baseline,
)


@dataclass(frozen=True)
class Reference:
    """The float model's answers to what recipes are compared on, unit by unit.

    Attributes:
        metric: the metric they went into; only its pure methods are used.
        predictions: (units,), in the loader's order.
        labels: (units,).
        score: the metric of them.
        units: the loader's numbers of these; None where they are all.
    """

    metric: PairedMetric
    predictions: NDArray[Any]
    labels: NDArray[Any]
    score: float
    units: NDArray[np.int64] | None = None

    def on(self, units: Sequence[int]) -> Reference:
        """Return the same on some units only."""
        predictions, labels = self.predictions[units], self.labels[units]
        score = float(self.metric.scores(predictions, labels, np.ones((1, len(units))))[0])
        return Reference(self.metric, predictions, labels, score, np.asarray(units, np.int64))


@dataclass(frozen=True)
class Holdout:
    """The rows kept from the search: what scores a model on them, and the float model's answers there."""

    scorer: Scorer
    reference: Reference


@dataclass(frozen=True)
class RunContext:
    """Everything a request is answered with.

    Attributes:
        adapter: the framework.
        model: the user's model, never touched.
        float_model: what ``adapter.lower`` made of the all-float recipe.
        calibration: statistics good for every recipe of the space.
        space: what may be asked for.
        scorer: scores models.
        criterion: when a score passes.
        baseline: the float model's score and the target.
        objective: which of the recipes that pass is better.
        batches: what costs are measured on.
        sample: what models are compared on bit by bit.
        seconds: a monotonic clock.
        deadline: on that clock, when the run's time is up.
        baseline_seconds: what the float model's evaluation took.
        confidence: of the bound on the drop.
        reference: the float model's answers, where the metric compares unit by unit.
        held: the rows kept from the search.
        folder: where predictions are written; None keeps none.
        suspects: numbers of the trials that an ``eval_func`` gave the float model's very score, though the outputs
            differ; looked into when the search is over.
    """

    adapter: Adapter
    model: Any
    float_model: Any
    calibration: Calibration
    space: SearchSpace
    scorer: Scorer
    criterion: Criterion
    baseline: Baseline
    objective: Objective
    batches: Sequence[Any]
    sample: Sample
    seconds: Callable[[], float]
    deadline: float = math.inf
    baseline_seconds: float = 0.0
    confidence: float = 0.95
    reference: Reference | None = None
    held: Holdout | None = None
    folder: Path | None = None
    suspects: list[int] = field(default_factory=list)
