"""One request answered: lower the recipe, score it, compare with the criterion, measure the cost; or probe it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ilit.adapter import TimesOps
from ilit.errors import EvaluationError, RunError, one_line
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.fidelity import fresh
from ilit.evaluation.outputs import identical
from ilit.evaluation.sanity import ignores_model
from ilit.evaluation.scoring import Score
from ilit.evidence.compare import Claim, evidence
from ilit.evidence.record import Evidence
from ilit.evidence.units import PairedUnits
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.run.predictions import write_predictions
from ilit.search.context import Assessment, Models, Reference, RunContext
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
)

TARGET_SLACK = 1e-12  # relative: a reachable score misses the target where it does so by more
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
    begun = context.clock.seconds()
    if not failed.recipe.quantized_ops:
        return replace(failed, reason="every op is in float32, so nothing runs in INT8")
    try:
        return _evaluated(context, failed, prune, begun)
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001 - the record carries it to the user, log.txt has the traceback
        _log.info("trial %d failed: %s", failed.number, one_line(error), exc_info=True)
        return replace(failed, reason=one_line(error), seconds=context.clock.seconds() - begun)


def _evaluated(context: RunContext, failed: TrialRecord, prune: bool, begun: float) -> TrialRecord:
    """Return the record of a lowered and scored recipe, with its cost where it passed."""
    recipe, assessment = failed.recipe, context.assessment
    model = context.models.lower(recipe)
    kernels = int(context.models.adapter.int8_kernels(model))
    if not kernels:
        return replace(failed, reason="nothing runs in INT8: the lowered model has no INT8 kernel")
    score = assessment.scorer.score(model, recipe, _stop(context, prune))
    record = replace(
        failed,
        status="missed" if score.complete else "pruned",
        accuracy=score.accuracy,
        seconds=context.clock.seconds() - begun,
        int8_kernels=kernels,
        rows=score.rows,
        evidence=_evidence(context, score, failed.number),
    )
    return _with_cost(context, model, record) if assessment.passes(score) else record


def _stop(context: RunContext, prune: bool) -> Stop:
    assessment = context.assessment

    def hopeless(best: float) -> bool:
        # A metric may round what is reachable and its result differently, so what reaches the target ends nothing.
        slack = TARGET_SLACK * max(1.0, abs(best))
        return not assessment.is_met(best + slack if assessment.criterion.higher_is_better else best - slack)

    return Stop(hopeless, context.clock.expired) if prune else Stop(expired=context.clock.expired)


def _evidence(context: RunContext, score: Score, number: int) -> Evidence | None:
    """Return the evidence of a complete evaluation, and save its predictions; None where units cannot be compared.

    Every trial begun so far counts as a comparison on the rows, so that the trial's number is the comparison's: a
    pruned or failed one counts too, which can only widen the bound.
    """
    reference = context.assessment.reference
    if reference is None or score.predictions is None:
        return None
    if context.folder is not None:
        write_predictions(context.folder, number, score.predictions)
    return compare(context.assessment, reference, score.predictions, comparisons=number)


def compare(
    assessment: Assessment,
    reference: Reference,
    predictions: NDArray[Any],
    comparisons: int,
    holdout: bool = False,
) -> Evidence | None:
    """Return the evidence that a recipe's predictions give; None, with a line in the log, where there is no drop.

    Args:
        assessment: the tolerance and the confidence.
        reference: the float model's answers on the same units.
        predictions: (units,) of the recipe, in the same order.
        comparisons: as ``Claim.comparisons``.
        holdout: the units were held out from the search.
    """
    claim = Claim(assessment.criterion, comparisons, assessment.confidence, holdout)
    try:
        units = PairedUnits(reference.predictions, predictions, reference.labels, reference.metric, reference.score)
        return evidence(units, claim)
    except EvaluationError as error:
        _log.warning("nothing can be said about the true drop: %s", one_line(error))
        return None


def _with_cost(context: RunContext, model: Any, record: TrialRecord) -> TrialRecord:
    """Return the passed record with both models' costs, and the objective's objection.

    Raises:
        EvaluationError: as ``interleave``.
    """
    models, assessment = context.models, context.assessment
    # A scorer that may have changed the model it was given has it lowered anew, and only one that has run is warm.
    warm = not assessment.scorer.may_change_model
    model = model if warm else models.lower(record.recipe)
    ours, theirs = interleave(models.adapter, model, models.float_model, assessment.batches, warm=warm)
    objection = assessment.objective.objection(ours, theirs) or None  # a plugin's may be empty
    return replace(record, status="passed", cost=ours, float_cost=theirs, objection=objection)


def trial_of_ignored_model(context: RunContext, records: Iterable[TrialRecord]) -> int | None:
    """Return the number of the first trial that shows that the scorer ignores its model; None where none does.

    It has the float model's very score though its outputs differ; then a model of zeros is scored to be sure.
    """
    models, scorer, baseline = context.models, context.assessment.scorer, context.assessment.baseline.accuracy
    if not scorer.may_ignore_model:
        return None
    same = (record for record in records if record.accuracy == baseline and _outputs_differ(models, record.recipe))
    suspect = next(same, None)
    if suspect is None or not ignores_model(scorer, models.adapter.zeroed(models.float_model), baseline):
        return None
    return suspect.number


def _outputs_differ(models: Models, recipe: Recipe) -> bool:
    pair = (models.lower(recipe), models.float_model)
    ours, theirs = (models.adapter.outputs(model, fresh(models.sample.whole)) for model in pair)
    return not identical(ours, theirs)


def run_probe(models: Models, probe: Probe) -> ProbeOutcome:
    """Return the outcome of the probe's kind; whatever raises in it makes one without figures, with the reason."""
    try:
        match probe:
            case DistanceProbe(recipe):
                (distance,) = models.adapter.probe(models.model, [recipe], models.calibration)
                return DistanceOutcome(float(distance))
            case OpErrorProbe(recipe):
                return OpErrorOutcome(_floats(models.adapter.probe_ops(models.model, recipe, models.calibration)))
            case OpSpeedProbe(recipe):
                return OpSpeedOutcome(_floats(_speedups(models, recipe)))
    except Exception as error:  # noqa: BLE001 - the outcome carries it to the strategy, log.txt has the traceback
        _log.info("probe failed: %s", one_line(error), exc_info=True)
        return _failed(probe, one_line(error))


def _speedups(models: Models, recipe: Recipe) -> Mapping[str, float]:
    adapter = models.adapter
    return adapter.time_ops(models.model, recipe, models.calibration) if isinstance(adapter, TimesOps) else {}


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
