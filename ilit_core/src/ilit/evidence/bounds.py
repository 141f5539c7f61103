"""Paired proportions: bounds of the drop in the share of right units, McNemar's p, and the error a bound may spend."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist


def tango_upper(gained: int, lost: int, units: int, confidence: float) -> float:
    """Return the one-sided upper bound of p_float - p_int8, the true difference in the share of units predicted right.

    Tango's score interval (1998, Statistics in Medicine 17: 891-908): the largest difference that a score test does
    not reject, its variance from the maximum likelihood estimate under that difference, which has a closed form.
    With none gained or lost it is ``z**2 / (units + z**2)``, so perfect agreement on few units proves little.

    Args:
        gained: units wrong in float32 and right in INT8.
        lost: units right in float32 and wrong in INT8.
        units: all units, 1 or more.
        confidence: of the bound, above 0.5 and below 1.

    Returns:
        The bound, from -1 to 1, never below ``(lost - gained) / units``.

    Raises:
        ValueError: counts that cannot be, or a confidence out of range.
    """
    _check(gained, lost, units)
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0.5 and 1")
    z = NormalDist().inv_cdf(confidence)

    def rejected(difference: float) -> bool:
        linear = -lost - gained + (2 * units - lost + gained) * difference
        constant = -gained * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear * linear - 8 * units * constant))
        # Two forms of one root of a quadratic; each is exact where the other would cancel.
        share = -2 * constant / (linear + root) if linear > 0 else (root - linear) / (4 * units)
        variance = units * (2 * share + difference * (1 - difference))
        return (units * difference - (lost - gained)) ** 2 >= z * z * variance

    return _first(rejected, (lost - gained) / units, 1.0)


def drop_upper(gained: int, lost: int, units: int, confidence: float) -> float:
    """Return ``tango_upper``, made to hold where units were only lost.

    There the score test errs a little more often than stated (6.2 % instead of 5 % where none was lost). The exact
    limit of Clopper and Pearson (1934, Biometrika 26: 404-413) for the share of lost units is then used where it
    is the greater; it bounds the difference too, since gained units only lessen it.

    Raises:
        ValueError: as ``tango_upper``.
    """
    bound = tango_upper(gained, lost, units, confidence)
    if gained or lost == units:
        return bound
    return max(bound, _first(lambda share: _binomial(lost, units, share) <= 1 - confidence, lost / units, 1.0))


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: as many units are gained as are lost.

    McNemar 1947, Psychometrika 12: 153-157; exact by the binomial law with probability 1/2. 1 where nothing changed.
    """
    return min(1.0, 2 * _binomial(min(gained, lost), gained + lost, 0.5)) if gained + lost else 1.0


def error_share(comparisons: int) -> float:
    """Return the share of the allowed error that the bound of evaluated recipe number ``comparisons`` may spend.

    ``1 / (j * (j + 1))`` for the j-th: 1/2, 1/6, 1/12, ... sum to 1. So with the stated confidence all bounds of a
    search hold together, however many recipes it evaluates, whatever makes it stop, and whichever of them is chosen.
    Dividing by the number so far (1, 1/2, 1/3, ...) would not do: the first recipe would spend all of the error, each
    later one as much again as is left, and the sum grows without limit. Bonferroni's correction needs the number of
    recipes beforehand, and a search does not know it.

    Raises:
        ValueError: ``comparisons`` below 1.
    """
    if comparisons < 1:
        raise ValueError(f"comparisons counts the recipe itself, so it is 1 or more, not {comparisons}")
    return 1 / (comparisons * (comparisons + 1))


def _binomial(most: int, trials: int, probability: float) -> float:
    """Return P(X <= most) of the binomial law, exact to rounding for thousands of trials, ``most`` at most the mean.

    The likeliest term comes from log-gamma, the smaller ones each from the one before.
    """
    if probability >= 1:
        return float(most >= trials)
    total = term = 1.0
    for count in range(most, 0, -1):
        term *= count * (1 - probability) / ((trials - count + 1) * probability)
        total += term
        if term < 1e-17 * total:
            break
    choices = math.lgamma(trials + 1) - math.lgamma(most + 1) - math.lgamma(trials - most + 1)
    likely = choices + (most * math.log(probability) if most else 0.0) + (trials - most) * math.log1p(-probability)
    return math.exp(likely) * total


def _first(rejected: Callable[[float], bool], low: float, high: float) -> float:
    """Return the point where ``rejected`` turns from False to True between ``low`` and ``high``, rounded up."""
    while (middle := (low + high) / 2) not in (low, high):
        if rejected(middle):
            high = middle
        else:
            low = middle
    return high


def _check(gained: int, lost: int, units: int) -> None:
    if units < 1 or gained < 0 or lost < 0 or gained + lost > units:
        raise ValueError(f"{gained} gained and {lost} lost units of {units} cannot be")
