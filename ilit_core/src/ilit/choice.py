"""Which of the records is best, which came closest, and which none of the others beats; decided from records alone."""

from __future__ import annotations

from collections.abc import Sequence

from ilit.criterion import Criterion
from ilit.objective import Objective
from ilit.result import TrialRecord
from ilit.trial import accepted


def relative_cost(record: TrialRecord, objective: Objective) -> float:
    """Return a passed record's cost as a share of the float model's from the same interleaved passes.

    Costs of two records were measured minutes apart; each one's ratio to its own float measurement is what can be
    compared.
    """
    if record.cost is None or record.float_cost is None:
        raise ValueError(f"trial {record.number} has no measured cost: its status is {record.status}")
    theirs = objective.cost(record.float_cost)
    return objective.cost(record.cost) / theirs if theirs else objective.cost(record.cost)


def best_of(records: Sequence[TrialRecord], objective: Objective, criterion: Criterion) -> TrialRecord | None:
    """Return the accepted record of least relative cost; of equals the more accurate, then the earlier one."""
    sign = -1.0 if criterion.higher_is_better else 1.0
    admissible = [record for record in records if accepted(record)]
    return min(
        admissible, key=lambda r: (relative_cost(r, objective), sign * (r.accuracy or 0.0), r.number), default=None
    )


def closest_of(records: Sequence[TrialRecord], criterion: Criterion, baseline: float) -> TrialRecord | None:
    """Return the evaluated record of least shortfall, the earlier one of equals; None where none was evaluated."""
    scored = [(record.accuracy, record) for record in records if record.accuracy is not None]
    nearest = min(scored, key=lambda pair: (criterion.shortfall(pair[0], baseline), pair[1].number), default=None)
    return nearest[1] if nearest else None


def front_of(records: Sequence[TrialRecord], objective: Objective, criterion: Criterion) -> tuple[TrialRecord, ...]:
    """Return the passed records that no other passed one beats in cost without losing accuracy, or the reverse."""
    sign = 1.0 if criterion.higher_is_better else -1.0
    passed = [
        (relative_cost(record, objective), -sign * record.accuracy, record)
        for record in records
        if record.status == "passed" and record.accuracy is not None
    ]
    return tuple(
        record
        for cost, loss, record in passed
        if not any(c <= cost and x <= loss and (c, x) != (cost, loss) for c, x, _ in passed)
    )
