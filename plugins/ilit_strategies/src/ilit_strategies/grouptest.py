"""Finding the few ops that hurt where probes say nothing: group testing with whole evaluations.

A set of ops is tested by one trial in which it and the ops known to be harmless are in INT8 and all others in float:
the trial passes where none of the set hurts. Which set to test next is decided by splitting what may still be true
into halves (R. Dorfman 1943; F. Hwang, "A Method for Detecting All Defective Members in a Population by Group
Testing", JASA 67, 1972, whose procedure needs the number of harmful ops). That number is not known here, so every
number k of n has a weight, ``2 ** -(k (log2(n / k) + 2))`` for each set of that size, and a test halves the weight:
about k (log2(n / k) + 2) tests find k ops, however many they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from ilit.recipe import FLOAT32, Recipe
from ilit.strategy import Trial
from ilit_strategies.fallback import described
from ilit_strategies.probes import Steps

MOST = 24  # harmful ops whose number is weighed; more are found too, with more tests


def harmful_ops(base: Recipe, names: Sequence[str]) -> Steps[list[str]]:
    """Return those of ``names`` that must be in float for the criterion to be met, given that ``base`` misses it.

    A trial that passes with the returned ops in float and all others as in ``base`` has then been asked for, unless
    nothing may stay in INT8. Harm is taken to be monotone: an op more in float never hurts.

    Args:
        base: the recipe with all of them in INT8, evaluated and missed.
        names: the ops that may go to float, the most suspicious first.
    """
    suspected, unknown = list(names), list[str]()
    harmless: list[str] = []
    harmful: list[str] = []
    while suspected or unknown:
        if len(suspected) == 1:
            harmful += suspected
            suspected = []
            continue
        size = test_size(len(suspected), len(unknown), len(harmful), len(names))
        pool = suspected or unknown
        tested, rest = pool[:size], pool[size:]
        passed = yield from _passes(base, [name for name in names if name not in {*harmless, *tested}])
        if passed:
            harmless += tested
        elif suspected:
            unknown = rest + unknown
        if suspected:
            suspected = rest if passed else tested
        else:
            suspected, unknown = ([] if passed else tested), rest
    return harmful


def _passes(base: Recipe, in_float: Sequence[str]) -> Steps[bool]:
    changes = [(name, FLOAT32) for name in in_float]
    outcome = yield Trial(base.with_ops(dict(changes)), f"group test, {described(changes)}")
    return bool(outcome.status == "passed")


@lru_cache(maxsize=4096)
def test_size(suspected: int, unknown: int, found: int, ops: int) -> int:
    """Return how many ops to test together.

    Args:
        suspected: ops of which at least one hurts, 0 where nothing of the kind is known; else 2 or more.
        unknown: ops of which nothing is known.
        found: harmful ops found so far.
        ops: all ops at the beginning.

    Returns:
        1 to ``suspected - 1``, or 1 to ``unknown``: the size with which the test's two answers weigh alike.
    """
    total = suspected + unknown
    most = max(1, min(total, MOST - found))
    weights = [_weight(ops, found + left) for left in range(most + 1)]

    def clean(size: int) -> float:
        """Weight of what is true where the tested ops are harmless; with suspects at least one hurts."""
        rest = total - size
        return sum(
            w * (math.comb(rest, r) - (math.comb(unknown, r) if suspected else 0)) for r, w in enumerate(weights)
        )

    whole = clean(0)
    sizes = range(1, suspected if suspected else unknown + 1)
    return min(sizes, key=lambda size: abs(2 * clean(size) - whole))


def _weight(ops: int, harmful: int) -> float:
    return 2.0 ** -(harmful * (math.log2(ops / harmful) + 2)) if harmful else 1.0
