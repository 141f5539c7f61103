"""What paired predictions prove: bounds of the drop, and their correction for a search."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.bootstrap import bootstrap_upper
from ilit.criterion import Criterion
from ilit.errors import EvaluationError
from ilit.evidence import Evidence
from ilit.metric import PairedMetric

__all__ = [
    "bootstrap_upper",
    "drop_upper",
    "error_share",
    "evidence",
    "mcnemar_p",
    "tango_upper",
]


# --- Paired proportions ----------------------------------------------------------------------------------------------


def tango_upper(fixed: int, broken: int, units: int, confidence: float) -> float:
    """Return the one-sided upper bound of p_float - p_int8, the true difference in the share of units predicted right.

    Tango's score interval (1998, Statistics in Medicine 17: 891-908): the largest difference that a score test does
    not reject, its variance from the maximum likelihood estimate under that difference, which has a closed form.
    With no unit fixed or broken it is ``z**2 / (units + z**2)``, so perfect agreement on few units proves little.

    Args:
        fixed: units wrong in float32 and right in INT8.
        broken: units right in float32 and wrong in INT8.
        units: all units, 1 or more.
        confidence: of the bound, above 0.5 and below 1.

    Returns:
        The bound, from -1 to 1, never below ``(broken - fixed) / units``.

    Raises:
        ValueError: counts that cannot be, or a confidence out of range.
    """
    _check(fixed, broken, units)
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0.5 and 1")
    z = NormalDist().inv_cdf(confidence)

    def rejected(difference: float) -> bool:
        linear = -broken - fixed + (2 * units - broken + fixed) * difference
        constant = -fixed * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear * linear - 8 * units * constant))
        # Two forms of one root of a quadratic; each is exact where the other would cancel.
        share = -2 * constant / (linear + root) if linear > 0 else (root - linear) / (4 * units)
        variance = units * (2 * share + difference * (1 - difference))
        return (units * difference - (broken - fixed)) ** 2 >= z * z * variance

    return _first(rejected, (broken - fixed) / units, 1.0)


def drop_upper(fixed: int, broken: int, units: int, confidence: float) -> float:
    """Return ``tango_upper``, made to hold where units only broke.

    There the score test errs a little more often than stated (6.2 % instead of 5 % where nothing broke). The exact
    limit of Clopper and Pearson (1934, Biometrika 26: 404-413) for the share of broken units is then used where it
    is the greater; it bounds the difference too, since fixed units only lessen it.

    Raises:
        ValueError: as ``tango_upper``.
    """
    bound = tango_upper(fixed, broken, units, confidence)
    if fixed or broken == units:
        return bound
    return max(bound, _first(lambda share: _binomial(broken, units, share) <= 1 - confidence, broken / units, 1.0))


def mcnemar_p(fixed: int, broken: int) -> float:
    """Return the exact two-sided p of McNemar's test: that units get fixed as often as broken.

    McNemar 1947, Psychometrika 12: 153-157; exact by the binomial law with probability 1/2. 1 where nothing changed.
    """
    return min(1.0, 2 * _binomial(min(fixed, broken), fixed + broken, 0.5)) if fixed + broken else 1.0


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
    """Return where ``rejected`` turns from False to True between ``low`` and ``high``, rounded up."""
    while (middle := (low + high) / 2) not in (low, high):
        if rejected(middle):
            high = middle
        else:
            low = middle
    return high


def _check(fixed: int, broken: int, units: int) -> None:
    if units < 1 or fixed < 0 or broken < 0 or fixed + broken > units:
        raise ValueError(f"{fixed} fixed and {broken} broken units of {units} cannot be")


# --- Evidence --------------------------------------------------------------------------------------------------------


def error_share(looks: int) -> float:
    """Return the share of the allowed error that the bound of evaluated recipe number ``looks`` may spend.

    ``1 / (j * (j + 1))`` for the j-th: 1/2, 1/6, 1/12, ... sum to 1. So with the stated confidence all bounds of a
    search hold together, however many recipes it evaluates, whatever makes it stop, and whichever of them is kept.
    Dividing by the number so far (1, 1/2, 1/3, ...) would not do: the first recipe would spend all of the error, each
    later one as much again as is left, and the sum grows without limit. Bonferroni's correction needs the number of
    recipes beforehand, and a search does not know it.

    Raises:
        ValueError: ``looks`` below 1.
    """
    if looks < 1:
        raise ValueError(f"looks counts the recipe itself, so it is 1 or more, not {looks}")
    return 1 / (looks * (looks + 1))


def evidence(
    float_predictions: NDArray[Any],
    int8_predictions: NDArray[Any],
    labels: NDArray[Any],
    *,
    metric: PairedMetric,
    criterion: Criterion,
    baseline: float,
    looks: int,
    confidence: float = 0.95,
    holdout: bool = False,
    rng_seed: int = 9527,
) -> Evidence:
    """Return what the units prove about a recipe.

    The bound is Tango's where the metric is a share of right units; a relative drop is then one of ``baseline``, taken
    as fixed, since its own error enters only times the tolerance. Elsewhere it is a paired bootstrap of the metric.

    Args:
        float_predictions: (units,) of the float32 model, as ``PairedMetric.predictions`` gives them.
        int8_predictions: (units,) of the recipe, in the same order.
        labels: (units,).
        metric: the metric that gave them; only its pure methods are used.
        criterion: what may be lost.
        baseline: the float32 model's score on these units.
        looks: recipes evaluated on these units so far, this one included.
        confidence: that is to hold for all recipes of the search together.
        holdout: the units were kept from the search, so that no correction is due; ``looks`` is then 1.
        rng_seed: of the bootstrap.

    Raises:
        EvaluationError: no units, numbers of them that differ, or a metric that is not defined on them.
    """
    units = len(labels)
    if not units or not units == len(float_predictions) == len(int8_predictions):
        raise EvaluationError(
            f"metric {metric.name}: {len(float_predictions)} float32 and {len(int8_predictions)} INT8 predictions for "
            f"{units} labels cannot be compared; its methods predictions and labels must give one a unit"
        )
    drop = _score_drop(int8_predictions, labels, metric, criterion, baseline)
    flips = _flips(float_predictions, int8_predictions, labels)
    error = (1 - confidence) * (1.0 if holdout else error_share(looks))
    if metric.share_of_right and flips is not None:
        scale = abs(baseline) if criterion.kind == "relative" else 1.0
        all_right = float(metric.scores(labels, labels, np.ones((1, units)))[0])
        bound = drop_upper(*flips, units, 1 - error) * all_right / scale
    else:
        bound = bootstrap_upper(
            float_predictions,
            int8_predictions,
            labels,
            metric.scores,
            relative=criterion.kind == "relative",
            higher_is_better=metric.higher_is_better,
            confidence=1 - error,
            rng_seed=rng_seed,
        )
        if not math.isfinite(bound):
            raise _undefined(metric, units)
    bound = max(bound, drop)
    return Evidence(
        units=units,
        fixed=flips[0] if flips is not None else None,
        broken=flips[1] if flips is not None else None,
        p_value=mcnemar_p(*flips) if flips is not None else None,
        drop=drop,
        bound=bound,
        confidence=confidence,
        tolerance=criterion.tolerance,
        method="tango" if metric.share_of_right and flips is not None else "bootstrap",
        looks=looks,
        holdout=holdout,
        units_needed=_more_units(units, drop, bound, criterion.tolerance),
        relative=criterion.kind == "relative",
        unit="rows" if metric.by_row else "units",
    )


def _score_drop(
    predictions: NDArray[Any], labels: NDArray[Any], metric: PairedMetric, criterion: Criterion, baseline: float
) -> float:
    """Return the drop seen, in the criterion's unit."""
    score = float(metric.scores(predictions, labels, np.ones((1, len(labels))))[0])
    lost = baseline - score if metric.higher_is_better else score - baseline
    if not math.isfinite(lost) or (criterion.kind == "relative" and baseline == 0):
        raise _undefined(metric, len(labels))
    return lost / abs(baseline) if criterion.kind == "relative" else lost


def _undefined(metric: PairedMetric, units: int) -> EvaluationError:
    return EvaluationError(
        f"metric {metric.name}: no drop is defined on these {units} units; evaluate on more rows, or use "
        "tuning.accuracy_criterion.absolute where float32 scores 0"
    )


def _flips(ours: NDArray[Any], theirs: NDArray[Any], labels: NDArray[Any]) -> tuple[int, int] | None:
    """Return how many units INT8 fixed and broke, or None where predictions are scores."""
    if not all(np.issubdtype(part.dtype, np.integer) for part in (ours, theirs, labels)):
        return None
    was, now = ours == labels, theirs == labels
    return int((~was & now).sum()), int((was & ~now).sum())


def _more_units(units: int, drop: float, bound: float, tolerance: float) -> int | None:
    """Return how many more units bring the bound to the tolerance, to two figures; its distance goes as 1 / sqrt."""
    if bound <= tolerance:
        return 0
    if drop >= tolerance:
        return None
    more = units * ((bound - drop) / (tolerance - drop)) ** 2 - units
    step = int(10 ** max(0, math.floor(math.log10(max(more, 1))) - 1))
    return max(1, math.ceil(more / step)) * step
