"""What a run gave: one record per trial and the ``TuneResult`` that tells all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ilit.adapter import Cpu, Measurement
from ilit.evidence.record import Evidence
from ilit.objective import Objective
from ilit.recipe import Recipe
from ilit.strategy import Status

__all__ = ["TrialRecord", "TuneResult"]


@dataclass(frozen=True)
class TrialRecord:
    """One full evaluation of one recipe.

    Attributes:
        number: 1 for the first recipe evaluated; the float32 baseline is not among the trials.
        recipe: what was evaluated.
        status: ``passed``, ``missed``, ``pruned`` or ``failed``.
        accuracy: the metric; where ``pruned`` the best it could still have reached; None where ``failed``.
        reason: why it failed; else empty.
        why: the strategy's words for asking.
        seconds: wall time of lowering and evaluating, measuring left out.
        cost: medians of forward passes interleaved with the float32 model's; only for passed recipes.
        float_cost: the float32 model's medians from the same interleaved passes.
        int8_kernels: INT8 kernels one forward pass runs.
        rows: evaluation rows seen; 0 where the adapter did not evaluate.
        evidence: the comparison with float32 row by row; None where the metric gives no predictions, or the
            evaluation was not complete.
        objection: why it passed and still cannot be ``best`` by the objective; else None.
    """

    number: int
    recipe: Recipe
    status: Status
    accuracy: float | None = None
    reason: str = ""
    why: str = ""
    seconds: float = 0.0
    cost: Measurement | None = None
    float_cost: Measurement | None = None
    int8_kernels: int = 0
    rows: int = 0
    evidence: Evidence | None = None
    objection: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether it may be ``best``: it passed, and the objective has no objection."""
        return self.status == "passed" and self.objection is None

    @property
    def why_not(self) -> str:
        """The objection, or why it failed; empty where there is neither."""
        return self.objection or self.reason


@dataclass(frozen=True)
class TuneResult:
    """Everything a run found out, whether it met its criterion or not.

    Attributes:
        met: a recipe was accepted (``TrialRecord.accepted``): it met the criterion, and the objective has no objection.
            More than ``Criterion.is_met``, which looks at the accuracy alone.
        reason: why the search ended, in one line.
        metric: the metric's name, ``eval_func`` where a function scored.
        baseline: the float32 model's accuracy.
        target: the accuracy that passes.
        best: the accepted record of least cost by the objective, or None.
        closest: the record with the smallest shortfall among those evaluated; ``best`` where met, None where none ran.
        trials: all records in order.
        front: the accepted records that no other one beats in accuracy, latency and size; the fastest first.
        probes: recipes probed.
        evaluations: evaluations, the baseline's and pruned ones included; those on held-out rows are not counted.
        seconds: wall time of the whole run.
        cpu: what it ran on.
        folder: the run folder.
        interrupted: Ctrl-C ended the search; what is here is the best so far.
        evidence: what the paired predictions of the best or the closest prove, on the holdout where there is one;
            None where the metric gives no predictions.
        left_in_float: module path -> why, of modules that could be quantized by their kind and are no ops.
        criterion: the target in the metric's own terms, one sentence.
        higher_is_better: the metric's direction.
    """

    met: bool
    reason: str
    metric: str
    baseline: float
    target: float
    best: TrialRecord | None
    closest: TrialRecord | None
    trials: tuple[TrialRecord, ...]
    front: tuple[TrialRecord, ...]
    probes: int
    evaluations: int
    seconds: float
    cpu: Cpu
    folder: Path
    interrupted: bool = False
    evidence: Evidence | None = None
    left_in_float: Mapping[str, str] = field(default_factory=dict)
    criterion: str = ""
    higher_is_better: bool = True


def relative_cost(record: TrialRecord, objective: Objective) -> float:
    """Return a passed record's cost as a share of the float model's from the same interleaved passes.

    Costs of two records were measured minutes apart; each one's ratio to its own float measurement is what can be
    compared. Where the float model costs nothing it is 1 for a recipe that costs nothing either, else infinite.

    Raises:
        ValueError: the record did not pass, so nothing was measured.
    """
    if record.cost is None or record.float_cost is None:
        raise ValueError(f"trial {record.number} has no measured cost: its status is {record.status}")
    ours, theirs = objective.cost(record.cost), objective.cost(record.float_cost)
    if theirs:
        return ours / theirs
    return math.inf if ours else 1.0
