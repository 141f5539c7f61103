"""One request answered: lower the recipe, score it, compare with the criterion, measure the cost; or probe it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ilit.adapter import Adapter, Calibration
from ilit.criterion import Criterion
from ilit.errors import one_line
from ilit.evaluation import Judge
from ilit.measure import interleave
from ilit.objective import Objective
from ilit.outputs import identical
from ilit.result import TrialRecord
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Probe, ProbeOutcome, Trial, TrialOutcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workbench:
    """Everything a request is answered with.

    Attributes:
        adapter: the framework.
        model: the user's model, never touched.
        float_model: what ``adapter.lower`` made of the all-float recipe.
        calibration: statistics good for every recipe of the space.
        space: what may be asked for.
        judge: scores models.
        criterion: when a score passes.
        baseline: the float model's score and the target.
        objective: which of the recipes that pass is better.
        batches: what costs are measured on; the first is the example outputs are compared on.
        seconds: a monotonic clock.
        suspects: numbers of the trials that an ``eval_func`` gave the float model's very score, though the outputs
            differ; looked into when the search is over.
    """

    adapter: Adapter
    model: Any
    float_model: Any
    calibration: Calibration
    space: SearchSpace
    judge: Judge
    criterion: Criterion
    baseline: Baseline
    objective: Objective
    batches: Sequence[Any]
    seconds: Callable[[], float]
    suspects: list[int] = field(default_factory=list)


def run_trial(bench: Workbench, trial: Trial, number: int) -> TrialRecord:
    """Return the record of one full evaluation. Whatever raises in it, Ctrl-C apart, makes the record ``failed``."""
    begun = bench.seconds()
    failed = TrialRecord(number, trial.recipe, "failed", why=trial.why)
    if not trial.recipe.quantized_ops:
        return replace(failed, reason="every op is in float32, so nothing runs in INT8")
    try:
        model = bench.adapter.lower(bench.model, trial.recipe, bench.calibration)
        kernels = bench.adapter.int8_kernels(model)
        if not kernels:
            return replace(failed, reason="nothing runs in INT8: the lowered model has no INT8 kernel")
        accuracy = bench.judge.score(model)
        seconds = bench.seconds() - begun
        if _is_suspect(bench, model, accuracy):
            bench.suspects.append(number)
        record = TrialRecord(
            number, trial.recipe, "missed", accuracy, why=trial.why, seconds=seconds, int8_kernels=kernels
        )
        passes = bench.criterion.is_met(accuracy, bench.baseline.accuracy)
        return _with_cost(bench, model, record) if passes else record
    except Exception as error:  # noqa: BLE001 - the record carries it to the user, log.txt has the traceback
        _log.info("trial %d failed: %s", number, one_line(error), exc_info=True)
        return replace(failed, reason=one_line(error), seconds=bench.seconds() - begun)


def _with_cost(bench: Workbench, model: Any, record: TrialRecord) -> TrialRecord:
    """Return the passed record with both models' costs, and the objective's objection as reason."""
    ours, theirs = interleave(bench.adapter, model, bench.float_model, bench.batches)
    reason = bench.objective.objection(ours, theirs)
    return replace(record, status="passed", cost=ours, float_cost=theirs, reason=reason)


def _is_suspect(bench: Workbench, model: Any, accuracy: float) -> bool:
    """Return whether an ``eval_func`` gives the float model's score to the last digit though the outputs differ."""
    if not bench.judge.is_function or accuracy != bench.baseline.accuracy:
        return False
    example = bench.batches[0]
    return not identical(bench.adapter.outputs(model, example), bench.adapter.outputs(bench.float_model, example))


def outcome_of(record: TrialRecord) -> TrialOutcome:
    """Return what the strategy is told of a record."""
    return TrialOutcome(record.status, record.accuracy, record.reason, accepted(record))


def accepted(record: TrialRecord) -> bool:
    """Return whether a record may be ``best``: it passed and the objective has nothing against it."""
    return record.status == "passed" and not record.reason


def run_probe(bench: Workbench, probe: Probe) -> ProbeOutcome:
    """Return the figures of one probe; whatever raises in it gives an infinite distance with the reason."""
    try:
        if probe.timed:
            time_ops = getattr(bench.adapter, "time_ops", None)
            speedups = time_ops(bench.model, probe.recipe, bench.calibration) if time_ops is not None else {}
            return ProbeOutcome(math.inf, speedups={name: float(value) for name, value in speedups.items()})
        if probe.per_op:
            per_op = bench.adapter.probe_ops(bench.model, probe.recipe, bench.calibration)
            return ProbeOutcome(math.inf, {name: float(value) for name, value in per_op.items()})
        (distance,) = bench.adapter.probe(bench.model, [probe.recipe], bench.calibration)
        return ProbeOutcome(float(distance))
    except Exception as error:  # noqa: BLE001 - the outcome carries it to the strategy, log.txt has the traceback
        _log.info("probe failed: %s", one_line(error), exc_info=True)
        return ProbeOutcome(float("inf"), reason=one_line(error))
