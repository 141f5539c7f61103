"""Repairing a recipe that misses: change ops one after the other, then take back what was not needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import SearchSpace
from ilit.strategy import Trial
from ilit_strategies.probes import Steps

MAX_MISRANKED = 3
"""Needed ops that the order may have taken for the most harmless of all. Chosen; each costs another run of trials."""


class Change(NamedTuple):
    """An op's name and the ``OpConfig`` it is given in place of the base recipe's."""

    op: str
    config: OpConfig


def float_changes(space: SearchSpace, names: Sequence[str]) -> list[Change]:
    """Return the change to float32 for each named op that the space allows it for, in the given order."""
    return [Change(name, FLOAT32) for name in names if FLOAT32 in space.ops[name].candidates]


def longest_prefix(base: Recipe, changes: Sequence[Change]) -> int:
    """Return the number of ``changes`` that may be made together: all, or fewer where no op would be left in INT8.

    A recipe without an INT8 op is the float model, whose accuracy is the baseline: not worth a trial.
    """
    left = set(base.quantized_ops)
    for count, (name, config) in enumerate(changes):
        if not config.quantized:
            left.discard(name)
        if not left:
            return count
    return len(changes)


def described(changes: Sequence[Change]) -> str:
    """Return the changes for a request's ``why``: ``2 in float: a, b; 1 in another INT8 config: c``."""
    kinds = {
        "in float": [name for name, config in changes if not config.quantized],
        "in another INT8 config": [name for name, config in changes if config.quantized],
    }
    said = [f"{len(names)} {kind}: {_named(names)}" for kind, names in kinds.items() if names]
    return "; ".join(said) or "nothing else changed"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def passes(base: Recipe, changes: Sequence[Change], what: str) -> Steps[bool]:
    """Evaluate ``base`` with ``changes`` made, in one trial; a failed or pruned one has not passed."""
    outcome = yield Trial(base.with_ops(dict(changes)), f"{what}, {described(changes)}")
    return bool(outcome.status == "passed")


def shortest_prefix(
    base: Recipe, changes: Sequence[Change], start: int, stop: Literal["met", "budget"], least: int = 1
) -> Steps[Sequence[Change] | None]:
    """Return the shortest prefix of ``changes`` found to pass, or None where the longest still misses.

    Starts at length ``start``. From a miss it goes to twice the length where the search ends at the first hit
    (``met``), so that this hit has fewer than twice as many changes as it needs, and half-way to the end otherwise;
    from a hit it bisects down. Evaluations at worst, for n changes: ``2 * ceil(log2 n) + 1`` and
    ``ceil(log2 n) + 1``. Where more changes do not always help, the result still is a prefix that passed. Prefixes
    shorter than ``least`` are taken to miss.
    """
    high = longest_prefix(base, changes)
    low = min(max(0, least - 1), max(0, high - 1))
    length, found = min(max(1, least, start), high), False
    while length > low:
        if (yield from passes(base, changes[:length], "fallback")):
            high, found = length, True
        else:
            low = length
        length = _next_length(low, high, found, stop)
    return changes[:high] if found else None


def _next_length(low: int, high: int, found: bool, stop: Literal["met", "budget"]) -> int:
    """Return the next length to try, or ``low`` at the end; ``high`` is known to pass only where ``found``."""
    if found:
        return (low + high) // 2
    return min(high, max(2 * low, low + 1)) if stop == "met" else (low + high + 1) // 2


def shortest_passing(
    base: Recipe, changes: Sequence[Change], start: int, stop: Literal["met", "budget"], least: int = 1
) -> Steps[Sequence[Change] | None]:
    """Return ``shortest_prefix``, with the order of ``changes`` mended where it was wrong at its very end.

    Where the longest prefix left only the last op in INT8 and missed, that op is needed, however harmless it looked:
    it moves to the front. At most ``MAX_MISRANKED`` times, since more of that kind would leave next to nothing in INT8.
    """
    for turn in range(1 + MAX_MISRANKED):
        found = yield from shortest_prefix(base, changes, start if turn == 0 else turn, stop, least if turn == 0 else 1)
        if found or longest_prefix(base, changes) == len(changes):
            return found
        changes = [changes[-1], *changes[:-1]]
    return None


def put_back(
    base: Recipe,
    changes: Sequence[Change],
    pool: Sequence[Change],
    misses: bool = False,
    most: int | None = None,
    what: str = "taken back",
) -> Steps[Sequence[Change]]:
    """Take back those changes of ``pool`` that are not needed, while the recipe still passes; return what remains.

    ``changes`` pass together; ``pool`` is part of them, the least harmful op first. The whole pool is taken back;
    where that misses, bisection over the pool finds the first op that cannot be, and the rest after it is the next
    pool. Evaluations at worst, for k needed of n in the pool: ``k * (1 + ceil(log2 n)) + 1``.

    Args:
        base: the recipe without the changes.
        changes: what is made of it.
        pool: what may be taken back.
        misses: taking back the whole pool is known to miss, so that needs no trial.
        most: needed changes after which the rest of the pool stays as it is; None: all are found.
        what: is tried, for the trials' ``why``.
    """
    retained, needed = list(changes), 0
    while pool and (most is None or needed < most):
        if not misses and (yield from passes(base, _without(retained, pool), what)):
            return _without(retained, pool)
        low, high, misses = 0, len(pool), False
        while high - low > 1:
            middle = (low + high) // 2
            if (yield from passes(base, _without(retained, pool[:middle]), what)):
                low = middle
            else:
                high = middle
        retained = _without(retained, pool[:low])
        pool, needed = pool[high:], needed + 1
    return retained


def one_by_one(base: Recipe, changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Yield the prefixes of ``changes`` that leave an op in INT8, each one change longer."""
    for count in range(1, longest_prefix(base, changes) + 1):
        yield changes[:count]


def _without(changes: Sequence[Change], dropped: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change not in dropped]
