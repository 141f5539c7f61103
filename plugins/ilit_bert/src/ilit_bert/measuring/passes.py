"""Forward passes of several models in turns, and what their times say.

On a shared machine a pass may take twice its usual time for seconds on end. Models that take turns meet the same slow
spells; medians and quartiles are moved little by single outliers.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

WARM_ROUNDS = 2
CASE_SECONDS = 3.0
LEAST_REPEATS, MOST_REPEATS = 7, 999
BUSY = 0.1  # of the median; on a quiet machine the median absolute deviation is some 0.01 to 0.03 of it


@dataclass(frozen=True)
class Ratio:
    """The speed of one model in times another's.

    Attributes:
        of_medians: the slower model's median time over the faster one's.
        low: the lower quartile of the ratios of paired passes, those of one round.
        high: the upper quartile of them.
    """

    of_medians: float
    low: float
    high: float


def interleave(
    passes: Mapping[str, Callable[[], object]],
    repeats: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return each model's seconds per pass, by round.

    Two rounds warm the models up. The model that begins changes from round to round, since the next one finds the
    batch in the CPU's caches.

    Args:
        passes: name -> one forward pass of that model.
        repeats: rounds that are timed; by default as many as take about three seconds, from 7 to 999.
        clock: a monotonic clock, in seconds.
    """
    names = list(passes)
    for _ in range(WARM_ROUNDS):
        begun = clock()
        for name in names:
            passes[name]()
        spent = clock() - begun
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats or _repeats(spent)):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            begun = clock()
            passes[name]()
            seconds[name].append(clock() - begun)
    return seconds


def _repeats(round_seconds: float) -> int:
    wanted = math.ceil(CASE_SECONDS / round_seconds) if round_seconds > 0 else MOST_REPEATS
    return min(max(wanted, LEAST_REPEATS), MOST_REPEATS)


def deviation(seconds: Sequence[float]) -> float:
    """Return the median absolute deviation from the median."""
    middle = statistics.median(seconds)
    return statistics.median(abs(one - middle) for one in seconds)


def is_busy(seconds: Sequence[float]) -> bool:
    """Return whether passes of one model differ so much that something else must have run beside them."""
    return deviation(seconds) > BUSY * statistics.median(seconds)


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Ratio:
    """Return the speed of ``faster`` in times that of ``slower``, from seconds by round of both."""
    pairs = [one / other for one, other in zip(slower, faster, strict=True)]
    low, _, high = statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
    return Ratio(statistics.median(slower) / statistics.median(faster), low, high)
