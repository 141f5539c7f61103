"""How many ops to test together, so that k harmful ones of n are found within a stated number of trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from ilit_strategies.basic.thresholds import MAX_PLANNED_OPS, SPARED_NUMBERS, UNLIKELY_ALLOWANCE

NO_PROMISE = -(10**6)

Sizes = tuple[tuple[tuple[int, ...], ...], ...]


def promised(ops: int, harmful: int) -> int:
    """Return in how many trials, after the one that showed that any hurt, ``harmful`` of ``ops`` are to be found."""
    return harmful * (math.ceil(math.log2(ops / harmful)) + 2) if harmful else 0


@dataclass(frozen=True)
class GroupPlan:
    """A whole plan of group tests for some number of ops.

    Attributes:
        excess: trials at worst beyond what is ``promised``, over all numbers of harmful ops up to ``MAX_PLANNED_OPS``
            and all their places; 0 or less where the promise holds.
        suspected_sizes: [found][unknown][suspected] -> how many suspected ops to test.
        unknown_sizes: [found][unknown] -> how many unknown ops to test where none are suspected.
    """

    excess: int
    suspected_sizes: Sizes
    unknown_sizes: tuple[tuple[int, ...], ...]

    def size(self, suspected: int, unknown: int, found: int) -> int:
        """Return the number of ops to test together.

        Args:
            suspected: ops of which at least one hurts, 0 where nothing of the kind is known; else 2 or more.
            unknown: ops of which nothing is known.
            found: harmful ops found so far.

        Returns:
            1 to ``suspected - 1``, or 1 to ``unknown`` where none are suspected.
        """
        if found >= MAX_PLANNED_OPS:  # as many as that make it cheapest to test one by one
            return max(1, suspected // 2)
        return self.suspected_sizes[found][unknown][suspected] if suspected else self.unknown_sizes[found][unknown]


@lru_cache(maxsize=64)
def group_plan(ops: int, likely: int = 0, spent: int = 0) -> GroupPlan:
    """Return the plan that exceeds what is ``promised`` by least in the worst case, whatever the number of harmful ops.

    The number is not known, so the plan is the minimax over all of them, by dynamic programming over (harmful ops
    found, ops unknown, ops suspected), as M. Sobel and P. Groll (Bell System Technical Journal 38, 1959) did for the
    mean. Computed for every n up to 160, the promise holds for all numbers of harmful ops; only for n = 64 and
    124 to 128 four of them, and for n = 128 eight, may take one trial more.

    Args:
        ops: how many there are.
        likely: how many of them hurt by all appearances, 0 where nothing is known. Then others may take
            ``UNLIKELY_ALLOWANCE`` trials more, and the likely number takes fewer.
        spent: promised trials that are gone already. They are made up for where one op hurts; several betray their
            number by their losses.
    """
    numbers = range(ops + 1)
    if likely:
        grants = [[0 if number == likely else UNLIKELY_ALLOWANCE for number in numbers]]
    elif spent:
        grants = [[-spent if number == 1 else more for number in numbers] for more in (0, 1, UNLIKELY_ALLOWANCE)]
    else:
        grants = [[int(number in spared) for number in numbers] for spared in SPARED_NUMBERS]
    plans = [_minimax(ops, tuple(allowed)) for allowed in grants]
    return next((plan for plan in plans if plan.excess <= 0), plans[0])


def _minimax(ops: int, allowed: tuple[int, ...]) -> GroupPlan:
    """Return the minimax plan where ``allowed`` trials are granted beyond what is promised.

    In each table a figure is the number of trials, beyond the promise, from that state on at worst. States are gone
    through from the most harmful ops found down to none, and from few ops left up to all.
    """
    after_found = [NO_PROMISE] * (ops + 1)  # [unknown], one more harmful op found, nothing suspected
    suspected_sizes, unknown_sizes = list[tuple[tuple[int, ...], ...]](), list[tuple[int, ...]]()
    for found in range(min(ops, MAX_PLANNED_OPS), -1, -1):
        sizes, first_sizes = [[0] * (ops + 1 - u) for u in range(ops + 1)], [0] * (ops + 1)
        hurt = [[NO_PROMISE] * (ops + 1 - u) for u in range(ops + 1)]  # [unknown][suspected]
        free = [-promised(ops, found) - allowed[found]] + [0] * ops  # [unknown], nothing suspected
        for total in range(1, ops + 1):
            hurt[total - 1][1] = after_found[total - 1]
            for suspected in range(2, total + 1):
                row, unknown = hurt[total - suspected], total - suspected
                size = _crossing(hurt, total, row, suspected, suspected - 1)
                sizes[unknown][suspected] = size
                row[suspected] = 1 + max(row[suspected - size], hurt[total - size][size])
            size = _crossing(hurt, total, free, total, total)
            first_sizes[total] = size
            free[total] = 1 + max(free[total - size], hurt[total - size][size])
        after_found = free
        suspected_sizes.append(tuple(map(tuple, sizes)))
        unknown_sizes.append(tuple(first_sizes))
        whole = hurt[0][ops]
    return GroupPlan(whole, tuple(reversed(suspected_sizes)), tuple(reversed(unknown_sizes)))


def _crossing(hurt: list[list[int]], total: int, passing: list[int], pool: int, largest: int) -> int:
    """Return the size, 1 to ``largest``, whose worse outcome is best.

    A larger group leaves less to do where it passes (``passing[pool - size]``) and more where it hurts, so the two
    cross once.
    """
    low, high = 1, largest
    while low < high:
        middle = (low + high) // 2
        if hurt[total - middle][middle] >= passing[pool - middle]:
            high = middle
        else:
            low = middle + 1

    def worse(size: int) -> int:
        return max(passing[pool - size], hurt[total - size][size])

    return low - 1 if low > 1 and worse(low - 1) <= worse(low) else low
