"""One request answered: lower the recipe, score it, compare with the criterion, measure the cost; or probe it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, Calibration, TimesOps
from ilit.choice import relative_cost
from ilit.criterion import Criterion
from ilit.errors import EvaluationError, RunError, one_line
from ilit.evaluation import Score, Scorer
from ilit.evidence import Evidence
from ilit.fidelity import Sample, fresh
from ilit.measure import interleave
from ilit.metric import PairedMetric
from ilit.objective import Objective
from ilit.outputs import identical
from ilit.predictions import write_predictions
from ilit.pruning import Stop
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.space import SearchSpace
from ilit.statistics import evidence
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Probe,
    ProbeOutcome,
    Trial,
    TrialOutcome,
)

ROUNDING = 1e-12
_log = logging.getLogger(__name__)


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
class Held:
    """The rows kept from the search: what scores a model on them, and the float model's answers there."""

    scorer: Scorer
    reference: Reference


@dataclass(frozen=True)
class Workbench:
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
    held: Held | None = None
    folder: Path | None = None
    suspects: list[int] = field(default_factory=list)


def run_trial(bench: Workbench, trial: Trial, number: int) -> TrialRecord:
    """Return the record of one evaluation; whatever raises in it makes the record ``failed``.

    Raises:
        RunError: the run folder does not take the predictions, so that the search cannot go on.
    """
    return _attempt(bench, TrialRecord(number, trial.recipe, "failed", why=trial.why), prune=True)


def run_to_the_end(bench: Workbench, pruned: TrialRecord) -> TrialRecord:
    """Return the record that a pruned trial has when its evaluation is not stopped; the same one where that fails.

    Raises:
        RunError: as ``run_trial``.
    """
    again = _attempt(bench, TrialRecord(pruned.number, pruned.recipe, "failed", why=pruned.why), prune=False)
    if again.status == "failed":
        _log.info("trial %d could not be completed: %s", pruned.number, again.reason)
        return pruned
    return replace(again, seconds=pruned.seconds + again.seconds)


def _attempt(bench: Workbench, failed: TrialRecord, prune: bool) -> TrialRecord:
    begun = bench.seconds()
    recipe, number = failed.recipe, failed.number
    if not recipe.quantized_ops:
        return replace(failed, reason="every op is in float32, so nothing runs in INT8")
    try:
        model = bench.adapter.lower(bench.model, recipe, bench.calibration)
        kernels = bench.adapter.int8_kernels(model)
        if not kernels:
            return replace(failed, reason="nothing runs in INT8: the lowered model has no INT8 kernel")
        score = bench.scorer.score(model, recipe, _stop(bench, prune))
        record = replace(
            failed,
            status="missed" if score.complete else "pruned",
            accuracy=score.accuracy,
            seconds=bench.seconds() - begun,
            int8_kernels=kernels,
            rows=score.rows,
            evidence=_evidence(bench, score, number),
        )
        if bench.scorer.may_change_model:
            model = bench.adapter.lower(bench.model, recipe, bench.calibration)
        if _is_suspect(bench, model, score.accuracy):
            bench.suspects.append(number)
        passes = score.complete and bench.criterion.is_met(score.accuracy, bench.baseline.accuracy)
        return _with_cost(bench, model, record) if passes else record
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001 - the record carries it to the user, log.txt has the traceback
        _log.info("trial %d failed: %s", number, one_line(error), exc_info=True)
        return replace(failed, reason=one_line(error), seconds=bench.seconds() - begun)


def _stop(bench: Workbench, prune: bool) -> Stop:
    def hopeless(best: float) -> bool:
        # A metric may round its bound and its result differently, so a bound at the target itself ends nothing.
        slack = ROUNDING * max(1.0, abs(best))
        nearer = best + slack if bench.criterion.higher_is_better else best - slack
        return not bench.criterion.is_met(nearer, bench.baseline.accuracy)

    def expired() -> bool:
        return bench.seconds() >= bench.deadline

    return Stop(hopeless, expired) if prune else Stop(expired=expired)


def _evidence(bench: Workbench, score: Score, comparisons: int) -> Evidence | None:
    """Return what a complete evaluation proves, and keep its predictions; None where units cannot be compared.

    Every trial so far counts as a comparison on the rows, a failed one too: that can only widen the bound.
    """
    if bench.reference is None or score.predictions is None:
        return None
    if bench.folder is not None:
        write_predictions(bench.folder, comparisons, score.predictions)
    return _compared(bench, bench.reference, score.predictions, comparisons)


def _compared(
    bench: Workbench, reference: Reference, predictions: NDArray[Any], comparisons: int, holdout: bool = False
) -> Evidence | None:
    """Return what the predictions prove; None, with a line in the log, where the metric has no drop on these units."""
    try:
        return evidence(
            reference.predictions,
            predictions,
            reference.labels,
            metric=reference.metric,
            criterion=bench.criterion,
            baseline=reference.score,
            comparisons=comparisons,
            confidence=bench.confidence,
            holdout=holdout,
        )
    except EvaluationError as error:
        _log.warning("nothing can be said about the true drop: %s", one_line(error))
        return None


def held_out(bench: Workbench, record: TrialRecord) -> TrialRecord:
    """Return the record with evidence from the rows kept from the search: one recipe, one comparison, no correction.

    The record as it is where no rows are kept, or where evaluating on them fails: what the search's rows prove stands.
    """
    if bench.held is None:
        return record
    try:
        model = bench.adapter.lower(bench.model, record.recipe, bench.calibration)
        score, reference = bench.held.scorer.score(model, record.recipe, Stop()), bench.held.reference
    except Exception as error:  # noqa: BLE001 - the search's own verdict is there, log.txt has the traceback
        _log.warning("trial %d has no verdict on the holdout: %s", record.number, one_line(error), exc_info=True)
        return record
    found = score.predictions
    proof = None if found is None else _compared(bench, reference, found, 1, holdout=True)
    return record if proof is None else replace(record, evidence=proof)


def _with_cost(bench: Workbench, model: Any, record: TrialRecord) -> TrialRecord:
    """Return the passed record with both models' costs, and the objective's objection."""
    # Where the scorer may have changed the model, it is lowered anew, and only one that has run is warm.
    warm = not bench.scorer.may_change_model
    ours, theirs = interleave(bench.adapter, model, bench.float_model, bench.batches, warm=warm)
    objection = bench.objective.objection(ours, theirs) or None  # a plugin's may be empty
    return replace(record, status="passed", cost=ours, float_cost=theirs, objection=objection)


def _is_suspect(bench: Workbench, model: Any, accuracy: float) -> bool:
    """Return whether what may ignore its model gives the float model's very score though the outputs differ."""
    if not bench.scorer.may_ignore_model or accuracy != bench.baseline.accuracy:
        return False
    ours, theirs = (bench.adapter.outputs(m, fresh(bench.sample.whole)) for m in (model, bench.float_model))
    return not identical(ours, theirs)


def outcome_of(record: TrialRecord, objective: Objective) -> TrialOutcome:
    """Return what the strategy is told of a record."""
    cost = None if record.cost is None else relative_cost(record, objective)
    return TrialOutcome(record.status, record.accuracy, record.reason, record.objection, cost)


def run_probe(bench: Workbench, probe: Probe) -> ProbeOutcome:
    """Return the outcome of the probe's kind; whatever raises in it makes one without figures, with the reason."""
    try:
        match probe:
            case DistanceProbe(recipe):
                (distance,) = bench.adapter.probe(bench.model, [recipe], bench.calibration)
                return DistanceOutcome(float(distance))
            case OpErrorProbe(recipe):
                return OpErrorOutcome(_floats(bench.adapter.probe_ops(bench.model, recipe, bench.calibration)))
            case OpSpeedProbe(recipe):
                return OpSpeedOutcome(_floats(_speedups(bench, recipe)))
    except Exception as error:  # noqa: BLE001 - the outcome carries it to the strategy, log.txt has the traceback
        _log.info("probe failed: %s", one_line(error), exc_info=True)
        return _failed(probe, one_line(error))


def _speedups(bench: Workbench, recipe: Recipe) -> Mapping[str, float]:
    adapter = bench.adapter
    return adapter.time_ops(bench.model, recipe, bench.calibration) if isinstance(adapter, TimesOps) else {}


def _floats(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def _failed(probe: Probe, reason: str) -> ProbeOutcome:
    match probe:
        case DistanceProbe():
            return DistanceOutcome(math.inf, reason)
        case OpErrorProbe():
            return OpErrorOutcome({}, reason)
        case OpSpeedProbe():
            return OpSpeedOutcome({}, reason)
