"""Which of the records is best, which came closest, and which none of the others beats; decided from records alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from ilit.criterion import Criterion
from ilit.objective import MODEL_SIZE, PERFORMANCE, Objective
from ilit.result import TrialRecord, relative_cost


def best_of(records: Sequence[TrialRecord], objective: Objective, criterion: Criterion) -> TrialRecord | None:
    """Return the accepted record of least relative cost; of equals the more accurate, then the earlier one."""
    sign = -1.0 if criterion.higher_is_better else 1.0
    accepted = [record for record in records if record.accepted]
    return min(
        accepted, key=lambda r: (relative_cost(r, objective), sign * (r.accuracy or 0.0), r.number), default=None
    )


def closest_of(records: Sequence[TrialRecord], criterion: Criterion, baseline: float) -> TrialRecord | None:
    """Return the evaluated record of least shortfall, the earlier one of equals; None where none was evaluated.

    A pruned record's accuracy is only what it could still have reached, so it counts where none was seen to its end.
    """
    scored = [(record.accuracy, record) for record in records if record.accuracy is not None]
    complete = [pair for pair in scored if pair[1].status != "pruned"]
    order = partial(_by_shortfall, criterion=criterion, baseline=baseline)
    nearest = min(complete or scored, key=order, default=None)
    return nearest[1] if nearest else None


def most_promising(records: Sequence[TrialRecord], criterion: Criterion, baseline: float) -> TrialRecord | None:
    """Return the pruned record that may come closest, where it may be closer than every complete one; else None.

    What pruned records could still reach is always just beyond the target, so what tells them apart is how many rows
    that took: the one that has seen the most rows loses the fewest out of so many. Of equals the one that could still
    reach more counts.
    """
    complete = closest_of([record for record in records if record.status != "pruned"], criterion, baseline)
    least = math.inf if complete is None else criterion.shortfall(complete.accuracy or 0.0, baseline)
    reachable = [(r.accuracy, r) for r in records if r.status == "pruned" and r.accuracy is not None]
    pruned = [(criterion.shortfall(accuracy, baseline), record) for accuracy, record in reachable]
    hopeful = [(-record.rows, short, record.number, record) for short, record in pruned if short < least]
    return min(hopeful, key=lambda entry: entry[:3])[3] if hopeful else None


def _by_shortfall(pair: tuple[float, TrialRecord], criterion: Criterion, baseline: float) -> tuple[float, int]:
    return criterion.shortfall(pair[0], baseline), pair[1].number


def front_of(records: Sequence[TrialRecord], criterion: Criterion) -> tuple[TrialRecord, ...]:
    """Return the accepted records that no other one beats, the fastest first.

    One beats another where it is no worse in accuracy, relative latency and relative size, and better in one of them.
    """
    sign = 1.0 if criterion.higher_is_better else -1.0
    points = [
        ((relative_cost(r, PERFORMANCE), relative_cost(r, MODEL_SIZE), -sign * r.accuracy), r)
        for r in records
        if r.accepted and r.accuracy is not None
    ]
    unbeaten = [(mine, record) for mine, record in points if not any(_beats(theirs, mine) for theirs, _ in points)]
    return tuple(record for _, record in sorted(unbeaten, key=lambda pair: (pair[0], pair[1].number)))


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether no figure of ``one`` is larger and one is smaller."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
