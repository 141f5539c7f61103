"""The fixed side of a search: the models, how recipes are assessed, the run's time and its folder."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, Calibration, DigestsModel
from ilit.config import Config, resolved_yaml
from ilit.criterion import Criterion
from ilit.evaluation.fidelity import Sample
from ilit.evaluation.order import misses_first
from ilit.evaluation.scoring import Score, Scorer
from ilit.metric import PairedMetric
from ilit.objective import Objective
from ilit.recipe import Recipe
from ilit.run.records import Header
from ilit.space import SearchSpace
from ilit.strategy import Baseline


@dataclass(frozen=True)
class Models:
    """The float model, and all that it takes to make INT8 models of it.

    Attributes:
        adapter: the framework.
        model: the user's model, never touched.
        float_model: its lowering by the all-float recipe.
        calibration: statistics good for every recipe of the space.
        space: the recipes that may be asked for.
        sample: the rows that models are compared on bit by bit.
    """

    adapter: Adapter
    model: Any
    float_model: Any
    calibration: Calibration
    space: SearchSpace
    sample: Sample

    def lower(self, recipe: Recipe) -> Any:
        """Return a new model that runs as the recipe says.

        Raises:
            LoweringError: the engine rejects the recipe.
        """
        return self.adapter.lower(self.model, recipe, self.calibration)


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

    @property
    def are_classes(self) -> bool:
        """True where predictions are classes, each right or wrong; else they are scores."""
        return np.issubdtype(self.predictions.dtype, np.integer)

    def on(self, units: Sequence[int]) -> Reference:
        """Return the same on some units only."""
        predictions, labels = self.predictions[units], self.labels[units]
        score = float(self.metric.scores(predictions, labels, np.ones((1, len(units))))[0])
        return Reference(self.metric, predictions, labels, score, np.asarray(units, np.int64))

    def misses_first(self, rows: Sequence[int] | None = None) -> list[int] | None:
        """Return these rows, by default all, in an order in which misses show early.

        None where units are no rows, or nothing tells how sure the model is of each.
        """
        margins = self.metric.margins()
        if not self.metric.by_row or len(margins) != len(self.labels) or not self.are_classes:
            return None
        chosen = np.arange(len(margins)) if rows is None else np.asarray(rows, np.int64)
        wrong = self.predictions != self.labels
        order: list[int] = chosen[misses_first(wrong[chosen], margins[chosen])].tolist()
        return order


@dataclass(frozen=True)
class Holdout:
    """The rows held out from the search: the scorer of models on them, and the float model's answers there."""

    scorer: Scorer
    reference: Reference


@dataclass(frozen=True)
class Assessment:
    """How recipes are assessed: the score, the score that passes, the cost, and the proof.

    Attributes:
        scorer: scores models.
        criterion: when a score passes.
        baseline: the float model's score and the target.
        objective: which of the recipes that pass is better.
        batches: the batches costs are measured on.
        confidence: of the bound on the drop.
        reference: the float model's answers, where the metric compares unit by unit.
        holdout: the rows held out from the search, where there are any.
    """

    scorer: Scorer
    criterion: Criterion
    baseline: Baseline
    objective: Objective
    batches: tuple[Any, ...]
    confidence: float = 0.95
    reference: Reference | None = None
    holdout: Holdout | None = None

    def is_met(self, accuracy: float) -> bool:
        """Whether an accuracy meets the criterion."""
        return self.criterion.is_met(accuracy, self.baseline.accuracy)

    def passes(self, score: Score) -> bool:
        """Whether a score is of all rows and meets the criterion."""
        return score.complete and self.is_met(score.accuracy)


@dataclass(frozen=True)
class RunClock:
    """The time of a run.

    Attributes:
        seconds: a monotonic clock.
        deadline: on that clock, when the run's time is up.
        baseline_seconds: the time that the float model's evaluation took.
    """

    seconds: Callable[[], float]
    deadline: float = math.inf
    baseline_seconds: float = 0.0

    def left(self) -> float:
        """Return the seconds left, infinite where there is no deadline."""
        return self.deadline - self.seconds()

    def expired(self) -> bool:
        """Whether the time is up."""
        return self.left() <= 0


@dataclass(frozen=True)
class RunContext:
    """All that a request is answered with; nothing of it changes during a search.

    Attributes:
        models: the float model, and how INT8 models are made of it.
        assessment: how these are judged.
        clock: the run's time.
        folder: the run folder, where predictions are written; None where they are not.
    """

    models: Models
    assessment: Assessment
    clock: RunClock
    folder: Path | None = None


def header_of(context: RunContext, config: Config, strategy: str, created: datetime) -> Header:
    """Return the header of the run's journal.

    Args:
        context: gives all that is known of models, baseline and target.
        config: gives seed, limit and digest.
        strategy: its name.
        created: the local time.
    """
    models, assessment, baseline = context.models, context.assessment, context.assessment.baseline
    return Header(
        created=created.isoformat(timespec="seconds"),
        adapter=models.adapter.name,
        versions={"ilit": version("ilit-core"), "python": platform.python_version(), **models.adapter.versions()},
        cpu=models.adapter.cpu(),
        seed=config.random_seed,
        digests=_digests(models, config),
        metric=assessment.scorer.name,
        criterion=assessment.criterion.sentence(baseline.accuracy),
        baseline=baseline.accuracy,
        target=baseline.target,
        higher_is_better=baseline.higher_is_better,
        strategy=strategy,
        objective=assessment.objective.name,
        max_trials=config.max_trials,
        ops=len(models.space.ops),
        recipes=models.space.size(),
        left_in_float=models.space.left_in_float,
    )


def _digests(models: Models, config: Config) -> dict[str, str]:
    digests = {
        "config": hashlib.sha256(resolved_yaml(config).encode()).hexdigest(),
        "calibration": models.calibration.digest,
    }
    if isinstance(models.adapter, DigestsModel):
        digests["model"] = models.adapter.model_digest(models.model)
    return digests
