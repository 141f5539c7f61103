"""What paired predictions prove: bounds of the drop, and their correction for a search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.criterion import Criterion
from ilit.errors import EvaluationError
from ilit.evidence.bootstrap import bootstrap_upper
from ilit.evidence.bounds import drop_upper, error_share, mcnemar_p
from ilit.evidence.record import Evidence
from ilit.metric import PairedMetric

# --- Paired proportions ----------------------------------------------------------------------------------------------


# --- Evidence --------------------------------------------------------------------------------------------------------


def evidence(
    float_predictions: NDArray[Any],
    int8_predictions: NDArray[Any],
    labels: NDArray[Any],
    *,
    metric: PairedMetric,
    criterion: Criterion,
    baseline: float,
    comparisons: int,
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
        comparisons: recipes evaluated on these units so far, this one included.
        confidence: that is to hold for all recipes of the search together.
        holdout: the units were held out from the search, so that no correction is due; ``comparisons`` is then 1.
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
    error = (1 - confidence) * (1.0 if holdout else error_share(comparisons))
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
        gained=flips[0] if flips is not None else None,
        lost=flips[1] if flips is not None else None,
        p_value=mcnemar_p(*flips) if flips is not None else None,
        drop=drop,
        bound=bound,
        confidence=confidence,
        tolerance=criterion.tolerance,
        method="tango" if metric.share_of_right and flips is not None else "bootstrap",
        comparisons=comparisons,
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
    drop = baseline - score if metric.higher_is_better else score - baseline
    if not math.isfinite(drop) or (criterion.kind == "relative" and baseline == 0):
        raise _undefined(metric, len(labels))
    return drop / abs(baseline) if criterion.kind == "relative" else drop


def _undefined(metric: PairedMetric, units: int) -> EvaluationError:
    return EvaluationError(
        f"metric {metric.name}: no drop is defined on these {units} units; evaluate on more rows, or use "
        "tuning.accuracy_criterion.absolute where float32 scores 0"
    )


def _flips(ours: NDArray[Any], theirs: NDArray[Any], labels: NDArray[Any]) -> tuple[int, int] | None:
    """Return the counts of units gained and lost, or None where predictions are scores."""
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
