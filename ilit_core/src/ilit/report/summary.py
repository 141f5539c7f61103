"""A run's result in one form, from which the card, the tables and every JSON take their figures: one name for each.

Units are in the names. Drops are shares of the baseline where the criterion is relative, else in the metric's unit. A
figure that is not known is None, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ilit.adapter import Cpu
from ilit.evidence.record import Evidence
from ilit.report.verdict import sentence
from ilit.report.wording import evaluation_rows, pruned, score
from ilit.result import TrialRecord, TuneResult
from ilit.run.front import FrontMember, members
from ilit.run.state import Run
from ilit.strategy import Status


@dataclass(frozen=True)
class Asked:
    """The float32 model's score and the one that passes.

    Attributes:
        metric: its name, ``eval_func`` where a function judged.
        baseline: the float32 model's score.
        target: the score that passes.
    """

    metric: str
    baseline: float
    target: float


@dataclass(frozen=True)
class Drop:
    """The score lost against float32; all but ``rows`` None where there are no paired predictions.

    Attributes:
        drop: the drop seen, negative where INT8 is better.
        drop_bound: the one-sided upper bound of the true drop.
        confidence: of the bound.
        gained: units wrong in float32 and right in INT8; None as well where answers are not simply right or wrong.
        lost: units right in float32 and wrong in INT8; None likewise.
        rows: units compared or, where none were, rows evaluated; None where the adapter did not evaluate.
        verdict: the evidence in a sentence without a full stop.
    """

    drop: float | None = None
    drop_bound: float | None = None
    confidence: float | None = None
    gained: int | None = None
    lost: int | None = None
    rows: int | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Effort:
    """The cost of the search.

    Attributes:
        evaluations: evaluations, the baseline's and pruned ones included.
        probes: recipes probed.
        seconds: wall time of the run; None while it goes on.
    """

    evaluations: int
    probes: int
    seconds: float | None


@dataclass(frozen=True)
class Ops:
    """The ops of a recipe.

    Attributes:
        ops_float: names of those not in INT8.
        recipe: as ``recipe.json`` has it; None where there is none.
    """

    ops_float: tuple[str, ...] = ()
    recipe: dict[str, Any] | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of a forward pass beside float32's; measured for recipes that pass only, else None.

    Attributes:
        latency_fp32_ms: median of the float32 model's passes.
        latency_int8_ms: median of the INT8 model's, interleaved with them.
        speedup: the first over the second.
        size_fp32_bytes: parameters and buffers of the float32 model.
        size_int8_bytes: the same of the INT8 model, packed weights included.
        int8_kernels: INT8 kernels one forward pass runs.
    """

    latency_fp32_ms: float | None = None
    latency_int8_ms: float | None = None
    speedup: float | None = None
    size_fp32_bytes: int | None = None
    size_int8_bytes: int | None = None
    int8_kernels: int = 0


@dataclass(frozen=True)
class TrialSummary:
    """One trial; with every field at its default, none.

    Attributes:
        trial: its number.
        status: ``passed``, ``missed``, ``pruned`` or ``failed``.
        accepted: it passed, and the objective has nothing against it.
        objection: why it failed, or why it passed and is not accepted; else None.
        why: the strategy's words for asking.
        trial_seconds: wall time of lowering and evaluating.
        digest: the recipe's.
        accuracy: the metric; None where the evaluation was not complete.
        accuracy_bound: the best that a pruned trial could still have reached; else None.
        score: the two in words, ``0.8612`` or ``at most 0.8612``; empty where there is neither.
        stopped: where a pruned evaluation ended, ``pruned after 512 of 1725 rows``; else empty.
        drop: the score lost against float32.
        ops: the recipe's.
        cost: a forward pass's.
        evidence: the source of the drop's figures; None where there are no paired predictions.
    """

    trial: int | None = None
    status: Status | None = None
    accepted: bool = False
    objection: str | None = None
    why: str = ""
    trial_seconds: float = 0.0
    digest: str | None = None
    accuracy: float | None = None
    accuracy_bound: float | None = None
    score: str = ""
    stopped: str = ""
    drop: Drop = Drop()
    ops: Ops = Ops()
    cost: Cost = Cost()
    evidence: Evidence | None = None

    @property
    def reached(self) -> str:
        """Score and end in one: ``at most 0.8612 (pruned after 512 of 1725 rows)``."""
        return f"{self.score} ({self.stopped})" if self.stopped else self.score


@dataclass(frozen=True)
class Summary:
    """A run's result.

    Attributes:
        asked: metric, baseline and target.
        criterion: the target in the metric's own terms, one sentence.
        higher_is_better: the metric's direction.
        passed: ``TuneResult.met``, a recipe was accepted; None where the run has not ended.
        chosen: the best trial, or the closest where none passed; without a number where none was evaluated.
        effort: of the search.
        ops_total: ops that could be quantized.
        cpu: what it ran on.
        left_in_float: module path -> why, of modules that could be quantized by their kind and are no ops.
        reason: why the search ended; empty where it has not.
        interrupted: Ctrl-C ended it.
        folder: the run folder.
        trials: all trials in order.
        front: the accepted recipes that no other one beats, the fastest first.
    """

    asked: Asked
    criterion: str
    higher_is_better: bool
    passed: bool | None
    chosen: TrialSummary
    effort: Effort
    ops_total: int
    cpu: Cpu
    left_in_float: Mapping[str, str]
    reason: str
    interrupted: bool
    folder: Path
    trials: tuple[TrialSummary, ...]
    front: tuple[FrontMember, ...]


def summary_of_run(run: Run) -> Summary:
    """Return the result of a run from its folder, as ``open_run`` gives it; the result so far where it goes on."""
    header, finished = run.header, run.finished
    trials = _trials(run.trials, header.higher_is_better)
    return Summary(
        asked=Asked(header.metric, header.baseline, header.target),
        criterion=header.criterion,
        higher_is_better=header.higher_is_better,
        passed=finished.met if finished else None,
        chosen=_chosen(trials, run.best or run.closest),
        effort=Effort(
            1 + sum(record.accuracy is not None for record in run.trials),
            len(run.probes),
            finished.seconds if finished else None,
        ),
        ops_total=header.ops,
        cpu=header.cpu,
        left_in_float=dict(header.left_in_float),
        reason=finished.reason if finished else "",
        interrupted=bool(finished and finished.interrupted),
        folder=run.folder,
        trials=trials,
        front=run.front,
    )


def summary_of_result(result: TuneResult) -> Summary:
    """Return the result of a run from what ``Tuner`` has of it."""
    trials = _trials(result.trials, result.higher_is_better)
    return Summary(
        asked=Asked(result.metric, result.baseline, result.target),
        criterion=result.criterion,
        higher_is_better=result.higher_is_better,
        passed=result.met,
        chosen=_chosen(trials, result.best or result.closest),
        effort=Effort(result.evaluations, result.probes, result.seconds),
        ops_total=max((len(record.recipe.ops) for record in result.trials), default=0),
        cpu=result.cpu,
        left_in_float=dict(result.left_in_float),
        reason=result.reason,
        interrupted=result.interrupted,
        folder=result.folder,
        trials=trials,
        front=members(result.front),
    )


def with_chosen(summary: Summary, number: int) -> Summary:
    """Return the summary of another saved model of the run, that of trial ``number``."""
    trial = next(trial for trial in summary.trials if trial.trial == number)
    return replace(summary, chosen=trial, passed=trial.accepted)


def figures(summary: Summary) -> dict[str, Any]:
    """Return every figure of a result by its name, as plain values; the keys are always the same."""
    trial = summary.chosen
    return {
        **asdict(summary.asked),
        "accuracy": trial.accuracy,
        "passed": summary.passed,
        **asdict(trial.drop),
        **asdict(summary.effort),
        "ops_total": summary.ops_total,
        **asdict(trial.ops),
        **asdict(trial.cost),
        "cpu": asdict(summary.cpu),
    }


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Return the figures but the recipe, and what they are of: criterion, trial and its recipe's digest."""
    trial = summary.chosen
    plain = {name: value for name, value in figures(summary).items() if name != "recipe"}
    about = ("trial", "status", "objection", "digest", "accuracy_bound")
    return {
        "criterion": summary.criterion,
        "higher_is_better": summary.higher_is_better,
        **plain,
        **{name: getattr(trial, name) for name in about},
        "left_in_float": dict(summary.left_in_float),
    }


def trial_to_json(trial: TrialSummary) -> dict[str, Any]:
    """Return the figures of one trial by the same names."""
    plain = asdict(trial)
    parts = {name: value for part in ("drop", "ops", "cost") for name, value in plain.pop(part).items()}
    return {name: value for name, value in (plain | parts).items() if name not in ("score", "stopped")}


def _chosen(trials: Sequence[TrialSummary], record: TrialRecord | None) -> TrialSummary:
    return next((trial for trial in trials if record and trial.trial == record.number), TrialSummary())


def _trials(records: Sequence[TrialRecord], higher_is_better: bool) -> tuple[TrialSummary, ...]:
    rows = evaluation_rows(records)
    return tuple(_trial(record, higher_is_better, rows) for record in records)


def _trial(record: TrialRecord, higher_is_better: bool, rows: int | None) -> TrialSummary:
    stopped = record.status == "pruned"
    return TrialSummary(
        trial=record.number,
        status=record.status,
        accepted=record.accepted,
        objection=record.why_not or None,
        why=record.why,
        trial_seconds=record.seconds,
        digest=record.recipe.digest,
        accuracy=None if stopped else record.accuracy,
        accuracy_bound=record.accuracy if stopped else None,
        score=score(record, higher_is_better),
        stopped=pruned(record, rows),
        drop=_drop(record),
        ops=Ops(record.recipe.float_ops, record.recipe.to_json()),
        cost=_cost(record),
        evidence=record.evidence,
    )


def _drop(record: TrialRecord) -> Drop:
    found = record.evidence
    if found is None:
        return Drop(rows=record.rows or None)
    return Drop(
        found.drop, found.bound, found.confidence, found.gained, found.lost, rows=found.units, verdict=sentence(found)
    )


def _cost(record: TrialRecord) -> Cost:
    ours, theirs = record.cost, record.float_cost
    if ours is None or theirs is None:
        return Cost(int8_kernels=record.int8_kernels)
    return Cost(
        latency_fp32_ms=theirs.seconds * 1e3,
        latency_int8_ms=ours.seconds * 1e3,
        speedup=theirs.seconds / ours.seconds if ours.seconds else None,
        size_fp32_bytes=theirs.bytes,
        size_int8_bytes=ours.bytes,
        int8_kernels=record.int8_kernels,
    )
