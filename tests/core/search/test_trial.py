"""One request answered: the record of a trial, the outcome of a probe, and nothing that raises goes further."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilit.adapter import Measurement
from ilit.criterion import Criterion
from ilit.errors import EvaluationError, RunError
from ilit.evaluation.fidelity import Sample
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders
from ilit.evaluation.scoring import FunctionScorer, MetricScorer, Scorer
from ilit.metric import Metric
from ilit.objective import PERFORMANCE, Objective
from ilit.recipe import FLOAT32, Recipe
from ilit.result import TrialRecord
from ilit.run.predictions import read_predictions
from ilit.search.context import Assessment, Models, Reference, RunClock, RunContext
from ilit.search.trial import run_probe, run_to_the_end, run_trial, trial_of_ignored_model
from ilit.space import CalibrationSize
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Trial,
)
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model

MODEL = fake_model(sensitive=("layer2",), rejects=("layer3",))
DATA = fake_data(MODEL)
LABELS = np.concatenate([labels for _, labels in DATA])
ADAPTER = FakeAdapter()
SPACE = replace(ADAPTER.describe(MODEL, DATA[0]), calibrations=(CalibrationSize(128),))
CALIBRATION = ADAPTER.calibrate(MODEL, DATA, SPACE)
FLOAT_MODEL = ADAPTER.lower(MODEL, SPACE.float_recipe(), CALIBRATION)
MODELS = Models(ADAPTER, MODEL, FLOAT_MODEL, CALIBRATION, SPACE, Sample(DATA[0], DATA[0]))
SEEN = FakeAccuracy()
SCORE = ADAPTER.evaluate(FLOAT_MODEL, DATA, SEEN)
REFERENCE = Reference(SEEN, SEEN.predictions(), SEEN.labels(), SCORE)

PASSES = SPACE.recipe({"layer2": FLOAT32, "layer3": FLOAT32})
MISSES = SPACE.recipe({"layer3": FLOAT32})
FAILS = SPACE.recipe({})
FLOATS = SPACE.float_recipe()


def by_metric(metric: Callable[[], Metric] = FakeAccuracy, labels: Any = LABELS) -> MetricScorer:
    """Return a scorer over the data; misses are pruned where it knows the labels."""
    return MetricScorer("fake_accuracy", ADAPTER, EvaluationOrders(EvaluationOrder(DATA, labels)), metric)


def context_of(
    scorer: Scorer | None = None, reference: Reference | None = None, clock: RunClock | None = None, folder: Any = None
) -> RunContext:
    """Return a context over the fake model."""
    baseline = Baseline(SCORE, Criterion().target(SCORE))
    assessment = Assessment(
        scorer or by_metric(), Criterion(), baseline, PERFORMANCE, tuple(DATA[:1]), reference=reference
    )
    return RunContext(MODELS, assessment, clock or RunClock(lambda: 0.0), folder)


def tried(recipe: Recipe, scorer: Scorer | None = None, **parts: Any) -> TrialRecord:
    """Return the record of a first trial."""
    return run_trial(context_of(scorer, **parts), Trial(recipe, "a look"), 1)


# --- Trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "labels", "status"),
    [
        pytest.param(PASSES, LABELS, "passed", id="passed"),
        pytest.param(MISSES, None, "missed", id="missed"),
        pytest.param(MISSES, LABELS, "pruned", id="pruned"),
        pytest.param(FAILS, LABELS, "failed", id="failed"),
    ],
)
def test_a_record_tells_how_a_trial_went(recipe: Recipe, labels: Any, status: str) -> None:
    """Its number, recipe and words are the request's, the rows those that were seen, whatever the outcome."""
    record = tried(recipe, by_metric(labels=labels))
    assert (record.number, record.recipe, record.why, record.status) == (1, recipe, "a look", status)
    rows = {"passed": len(LABELS), "missed": len(LABELS), "failed": 0}
    assert 0 < record.rows < len(LABELS) if status == "pruned" else record.rows == rows[status]


def test_only_passed_records_have_costs() -> None:
    """A recipe that passed is measured beside the float model; others cost no further pass."""
    passed, missed = tried(PASSES), tried(MISSES)
    assert passed.cost is not None
    assert passed.float_cost is not None
    assert passed.cost.seconds < passed.float_cost.seconds
    assert passed.int8_kernels == 2
    assert missed.cost is None


@pytest.mark.parametrize(
    ("given", "objection"),
    [("area: too large", "area: too large"), (None, None), ("", None)],
    ids=["text", "None", "empty"],
)
def test_an_objection_is_no_reason(monkeypatch: pytest.MonkeyPatch, given: str | None, objection: str | None) -> None:
    """A record that passed has it apart from a failure's reason; an empty text, from a plugin, is none."""
    monkeypatch.setattr(Objective, "objection", lambda self, int8, float32: given)
    record = tried(PASSES)
    assert (record.status, record.reason, record.objection) == ("passed", "", objection)
    assert record.accepted is (objection is None)


def test_all_float_is_never_a_success() -> None:
    """The recipe that quantizes nothing scores best of all, and fails with the reason."""
    record = tried(FLOATS)
    assert (record.status, record.reason) == ("failed", "every op is in float32, so nothing runs in INT8")


def test_a_model_without_int8_kernels_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of INT8 ops whose lowered model runs none of them is no success either, and is not evaluated."""
    monkeypatch.setattr(FakeAdapter, "int8_kernels", lambda self, model: 0)
    record = tried(PASSES)
    assert (record.status, record.accuracy) == ("failed", None)
    assert record.reason == "nothing runs in INT8: the lowered model has no INT8 kernel"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(EvaluationError("metric f1: not defined"), "metric f1: not defined", id="ours"),
        pytest.param(
            ZeroDivisionError("division\nby zero"), "eval_func: raised ZeroDivisionError: division", id="foreign"
        ),
        pytest.param(float("nan"), "eval_func: gave nan", id="NaN"),
        pytest.param("good", "eval_func: gave 'good'", id="text"),
    ],
)
def test_an_evaluation_that_fails_is_one_failed_trial(value: Any, reason: str) -> None:
    """The reason is one line in the record, and nothing is raised."""

    def eval_func(model: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    record = tried(PASSES, FunctionScorer(eval_func))
    assert record.status == "failed"
    assert record.reason.startswith(reason)
    assert len(record.reason.splitlines()) == 1


class Rounded(FakeAccuracy):
    """A metric whose bound is rounded the other way than its result."""

    def reachable(self, rest: Any) -> float:
        return min(super().reachable(rest), math.nextafter(Criterion().target(SCORE), 0))


def test_rounding_prunes_nothing() -> None:
    """A bound beyond the target by its last digit alone is not beyond it."""
    assert tried(PASSES, by_metric(Rounded)).status == "passed"


def test_a_pruned_trial_can_be_completed() -> None:
    """Its record then has the score of all rows, under the same number, and the time of both evaluations."""
    context = context_of(clock=RunClock(iter(range(1000)).__next__))
    pruned = run_trial(context, Trial(MISSES, "a look"), 7)
    again, completed = (run_to_the_end(context, record) for record in (replace(pruned, seconds=0.0), pruned))
    assert (pruned.status, completed.status) == ("pruned", "missed")
    assert completed.accuracy == ADAPTER.evaluate(MODELS.lower(MISSES), DATA, FakeAccuracy())
    assert (completed.number, completed.why, completed.rows) == (7, "a look", len(LABELS))
    assert completed.seconds == pruned.seconds + again.seconds > again.seconds


def test_a_completion_that_fails_changes_nothing() -> None:
    """Time may run out in it: the record stays what it was."""
    pruned = tried(MISSES)
    late = context_of(clock=RunClock(lambda: 10.0, deadline=5.0))
    assert run_to_the_end(late, pruned) is pruned


def test_a_model_that_a_function_had_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function may have changed it in any way, so that costs are those of another one, lowered anew."""
    had: list[Any] = []
    measured: list[Any] = []
    measure = FakeAdapter.measure

    def eval_func(model: Any) -> float:
        had.append(model)
        return SCORE

    def noted(self: FakeAdapter, model: Any, batch: Any) -> Measurement:
        measured.append(model)
        return measure(self, model, batch)

    monkeypatch.setattr(FakeAdapter, "measure", noted)
    assert tried(PASSES, FunctionScorer(eval_func)).status == "passed"
    assert len(had) == 1
    assert measured
    assert not any(model is had[0] for model in measured)


# --- Evidence --------------------------------------------------------------------------------------------------------


def test_a_complete_evaluation_has_evidence_and_saved_predictions(tmp_path: Path) -> None:
    """Corrected for as many comparisons as there were trials; what was pruned has neither."""
    context = context_of(reference=REFERENCE, folder=tmp_path)
    passed, pruned = run_trial(context, Trial(PASSES), 3), run_trial(context, Trial(MISSES), 4)
    assert passed.evidence is not None
    assert (passed.evidence.comparisons, passed.evidence.holdout) == (3, False)
    assert len(read_predictions(tmp_path, 3)) == len(LABELS)
    assert pruned.evidence is None
    with pytest.raises(RunError, match=r"004.npy: cannot be read"):
        read_predictions(tmp_path, 4)


def test_a_metric_without_a_drop_costs_no_trial(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where statistics have nothing to say the score still counts."""

    def undefined(*arguments: Any, **named: Any) -> Any:
        raise EvaluationError("metric mcc: no drop is defined on these 320 units")

    monkeypatch.setattr("ilit.search.trial.evidence", undefined)
    record = tried(PASSES, reference=REFERENCE)
    assert (record.status, record.evidence) == ("passed", None)
    assert "nothing can be said about the true drop: metric mcc" in caplog.text


def test_a_full_disk_is_no_failure_of_the_recipe(tmp_path: Path) -> None:
    """Predictions that cannot be written end the search, since the next ones could not either."""
    (tmp_path / "predictions").touch()
    with pytest.raises(RunError, match=r"001.npy: cannot be written"):
        tried(PASSES, reference=REFERENCE, folder=tmp_path)


# --- Probes ----------------------------------------------------------------------------------------------------------


class Timing(FakeAdapter):
    """An adapter to which every op is twice as quick in INT8."""

    def time_ops(self, model: Any, recipe: Recipe, calibration: Any) -> dict[str, float]:
        return dict.fromkeys(recipe.quantized_ops, 2)


@pytest.mark.parametrize(
    ("adapter", "speedups"),
    [
        pytest.param(Timing(), dict.fromkeys(MISSES.quantized_ops, 2.0), id="able"),
        pytest.param(ADAPTER, {}, id="not able"),
    ],
)
def test_ops_are_timed_where_the_adapter_can(adapter: FakeAdapter, speedups: dict[str, float]) -> None:
    """Each op's ratio is answered; none where the adapter cannot time ops, which is no failure."""
    outcome = run_probe(replace(MODELS, adapter=adapter), OpSpeedProbe(MISSES))
    assert outcome == OpSpeedOutcome(speedups)


def test_a_probe_that_fails_is_infinitely_far() -> None:
    """The reason is told in the outcome."""
    failed, near = run_probe(MODELS, DistanceProbe(FAILS)), run_probe(MODELS, DistanceProbe(PASSES))
    assert isinstance(failed, DistanceOutcome)
    assert isinstance(near, DistanceOutcome)
    assert failed.distance == math.inf
    assert "no INT8 kernel" in failed.reason
    assert near.distance < 0.1


@pytest.mark.parametrize(
    ("method", "probe", "outcome"),
    [
        ("probe", DistanceProbe(PASSES), DistanceOutcome(math.inf, "RuntimeError: no memory")),
        ("probe_ops", OpErrorProbe(PASSES), OpErrorOutcome({}, "RuntimeError: no memory")),
        ("time_ops", OpSpeedProbe(PASSES), OpSpeedOutcome({}, "RuntimeError: no memory")),
    ],
)
def test_a_probe_that_raises_has_the_outcome_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, method: str, probe: Any, outcome: Any
) -> None:
    """Without figures and with the reason, so that a strategy need not tell failures by another type."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(FakeAdapter, method, fail, raising=False)
    assert run_probe(MODELS, probe) == outcome


# --- Functions that ignore their model -------------------------------------------------------------------------------


def honest(model: Any) -> float:
    """Evaluate the model it is given."""
    return ADAPTER.evaluate(model, DATA, FakeAccuracy())


def record_of(number: int, recipe: Recipe, accuracy: float | None) -> TrialRecord:
    """Return a record with a score."""
    return TrialRecord(number, recipe, "failed" if accuracy is None else "missed", accuracy)


@pytest.mark.parametrize(
    ("scorer", "records", "trial"),
    [
        pytest.param(
            FunctionScorer(lambda model: SCORE),
            [record_of(1, FAILS, None), record_of(2, MISSES, SCORE), record_of(3, PASSES, SCORE)],
            2,
            id="the first whose outputs differ",
        ),
        pytest.param(
            FunctionScorer(lambda model: SCORE),
            [record_of(1, FLOATS, SCORE), record_of(2, MISSES, SCORE)],
            2,
            id="equal outputs prove nothing",
        ),
        pytest.param(
            FunctionScorer(lambda model: SCORE), [record_of(1, MISSES, SCORE - 0.25)], None, id="another score"
        ),
        pytest.param(FunctionScorer(honest), [record_of(1, MISSES, SCORE)], None, id="zeros score otherwise"),
        pytest.param(by_metric(), [record_of(1, MISSES, SCORE)], None, id="a metric"),
    ],
)
def test_a_scorer_that_ignores_its_model_is_found_by_a_trial(
    scorer: Scorer, records: list[TrialRecord], trial: int | None
) -> None:
    """The float model's score to the last digit for a model whose outputs differ, and for one of zeros."""
    assert trial_of_ignored_model(context_of(scorer), records) == trial
