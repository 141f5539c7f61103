"""One request answered: lower the recipe, score it, compare with the criterion, measure the cost; or probe it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ilit.adapter import TimesOps
from ilit.errors import EvaluationError, RunError, one_line
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.fidelity import fresh
from ilit.evaluation.outputs import identical
from ilit.evaluation.scoring import Score
from ilit.evidence.compare import Claim, evidence
from ilit.evidence.record import Evidence
from ilit.evidence.units import PairedUnits
from ilit.objective import Objective
from ilit.recipe import Recipe
from ilit.result import TrialRecord, relative_cost
from ilit.run.predictions import write_predictions
from ilit.search.context import Reference, RunContext
from ilit.search.cost import interleave
from ilit.strategy import (
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


def run_trial(context: RunContext, trial: Trial, number: int) -> TrialRecord:
    """Return the record of one evaluation; whatever raises in it makes the record ``failed``.

    Raises:
        RunError: the run folder does not take the predictions, so that the search cannot go on.
    """
    return _attempt(context, TrialRecord(number, trial.recipe, "failed", why=trial.why), prune=True)


def run_to_the_end(context: RunContext, pruned: TrialRecord) -> TrialRecord:
    """Return the record that a pruned trial has when its evaluation is not stopped; the same one where that fails.

    Raises:
        RunError: as ``run_trial``.
    """
    again = _attempt(context, TrialRecord(pruned.number, pruned.recipe, "failed", why=pruned.why), prune=False)
    if again.status == "failed":
        _log.info("trial %d could not be completed: %s", pruned.number, again.reason)
        return pruned
    return replace(again, seconds=pruned.seconds + again.seconds)


def _attempt(context: RunContext, failed: TrialRecord, prune: bool) -> TrialRecord:
    begun = context.seconds()
    recipe, number = failed.recipe, failed.number
    if not recipe.quantized_ops:
        return replace(failed, reason="every op is in float32, so nothing runs in INT8")
    try:
        model = context.adapter.lower(context.model, recipe, context.calibration)
        kernels = context.adapter.int8_kernels(model)
        if not kernels:
            return replace(failed, reason="nothing runs in INT8: the lowered model has no INT8 kernel")
        score = context.scorer.score(model, recipe, _stop(context, prune))
        record = replace(
            failed,
            status="missed" if score.complete else "pruned",
            accuracy=score.accuracy,
            seconds=context.seconds() - begun,
            int8_kernels=kernels,
            rows=score.rows,
            evidence=_evidence(context, score, number),
        )
        if context.scorer.may_change_model:
            model = context.adapter.lower(context.model, recipe, context.calibration)
        if _is_suspect(context, model, score.accuracy):
            context.suspects.append(number)
        passes = score.complete and context.criterion.is_met(score.accuracy, context.baseline.accuracy)
        return _with_cost(context, model, record) if passes else record
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001 - the record carries it to the user, log.txt has the traceback
        _log.info("trial %d failed: %s", number, one_line(error), exc_info=True)
        return replace(failed, reason=one_line(error), seconds=context.seconds() - begun)


def _stop(context: RunContext, prune: bool) -> Stop:
    def hopeless(best: float) -> bool:
        # A metric may round its bound and its result differently, so a bound at the target itself ends nothing.
        slack = ROUNDING * max(1.0, abs(best))
        nearer = best + slack if context.criterion.higher_is_better else best - slack
        return not context.criterion.is_met(nearer, context.baseline.accuracy)

    def expired() -> bool:
        return context.seconds() >= context.deadline

    return Stop(hopeless, expired) if prune else Stop(expired=expired)


def _evidence(context: RunContext, score: Score, comparisons: int) -> Evidence | None:
    """Return what a complete evaluation proves, and keep its predictions; None where units cannot be compared.

    Every trial so far counts as a comparison on the rows, a failed one too: that can only widen the bound.
    """
    if context.reference is None or score.predictions is None:
        return None
    if context.folder is not None:
        write_predictions(context.folder, comparisons, score.predictions)
    return _compared(context, context.reference, score.predictions, comparisons)


def _compared(
    context: RunContext, reference: Reference, predictions: NDArray[Any], comparisons: int, holdout: bool = False
) -> Evidence | None:
    """Return what the predictions prove; None, with a line in the log, where the metric has no drop on these units."""
    claim = Claim(context.criterion, comparisons, context.confidence, holdout)
    try:
        units = PairedUnits(reference.predictions, predictions, reference.labels, reference.metric, reference.score)
        return evidence(units, claim)
    except EvaluationError as error:
        _log.warning("nothing can be said about the true drop: %s", one_line(error))
        return None


def held_out(context: RunContext, record: TrialRecord) -> TrialRecord:
    """Return the record with evidence from the rows kept from the search: one recipe, one comparison, no correction.

    The record as it is where no rows are kept, or where evaluating on them fails: what the search's rows prove stands.
    """
    if context.held is None:
        return record
    try:
        model = context.adapter.lower(context.model, record.recipe, context.calibration)
        score, reference = context.held.scorer.score(model, record.recipe, Stop()), context.held.reference
    except Exception as error:  # noqa: BLE001 - the search's own verdict is there, log.txt has the traceback
        _log.warning("trial %d has no verdict on the holdout: %s", record.number, one_line(error), exc_info=True)
        return record
    found = score.predictions
    proof = None if found is None else _compared(context, reference, found, 1, holdout=True)
    return record if proof is None else replace(record, evidence=proof)


def _with_cost(context: RunContext, model: Any, record: TrialRecord) -> TrialRecord:
    """Return the passed record with both models' costs, and the objective's objection."""
    # Where the scorer may have changed the model, it is lowered anew, and only one that has run is warm.
    warm = not context.scorer.may_change_model
    ours, theirs = interleave(context.adapter, model, context.float_model, context.batches, warm=warm)
    objection = context.objective.objection(ours, theirs) or None  # a plugin's may be empty
    return replace(record, status="passed", cost=ours, float_cost=theirs, objection=objection)


def _is_suspect(context: RunContext, model: Any, accuracy: float) -> bool:
    """Return whether what may ignore its model gives the float model's very score though the outputs differ."""
    if not context.scorer.may_ignore_model or accuracy != context.baseline.accuracy:
        return False
    ours, theirs = (context.adapter.outputs(m, fresh(context.sample.whole)) for m in (model, context.float_model))
    return not identical(ours, theirs)


def outcome_of(record: TrialRecord, objective: Objective) -> TrialOutcome:
    """Return what the strategy is told of a record."""
    cost = None if record.cost is None else relative_cost(record, objective)
    return TrialOutcome(record.status, record.accuracy, record.reason, record.objection, cost)


def run_probe(context: RunContext, probe: Probe) -> ProbeOutcome:
    """Return the outcome of the probe's kind; whatever raises in it makes one without figures, with the reason."""
    try:
        match probe:
            case DistanceProbe(recipe):
                (distance,) = context.adapter.probe(context.model, [recipe], context.calibration)
                return DistanceOutcome(float(distance))
            case OpErrorProbe(recipe):
                return OpErrorOutcome(_floats(context.adapter.probe_ops(context.model, recipe, context.calibration)))
            case OpSpeedProbe(recipe):
                return OpSpeedOutcome(_floats(_speedups(context, recipe)))
    except Exception as error:  # noqa: BLE001 - the outcome carries it to the strategy, log.txt has the traceback
        _log.info("probe failed: %s", one_line(error), exc_info=True)
        return _failed(probe, one_line(error))


def _speedups(context: RunContext, recipe: Recipe) -> Mapping[str, float]:
    adapter = context.adapter
    return adapter.time_ops(context.model, recipe, context.calibration) if isinstance(adapter, TimesOps) else {}


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
