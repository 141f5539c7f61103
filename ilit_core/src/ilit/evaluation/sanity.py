"""Whether a metric or an ``eval_func`` looks at the model at all."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, RegroupsRows
from ilit.errors import DataError, EvaluationError, IlitError, IlitWarning, one_line
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.scoring import Scorer
from ilit.metric import Metric, PairedMetric

_log = logging.getLogger(__name__)

_FIRST_BATCHES = 8


_FEW_ROWS = 8


_ENOUGH_ROWS = 64


def ignores_model(scorer: Scorer, zeroed: Any, baseline: float) -> bool:
    """Return whether an ``eval_func`` gives a model of zeros the float model's very score.

    Called only for a function that gave it to an INT8 model as well. That alone may be chance, and on a few hundred
    rows often is; a model of zeros hardly shares it. A function that raises on such a model does look at it.
    """
    try:
        return scorer.score(zeroed, None, Stop()).accuracy == baseline
    except (IlitError, KeyboardInterrupt) as error:
        _log.info("eval_func gives the zeroed model no score, so it does notice: %s", one_line(error))
        return False


def check_metric_moves(
    adapter: Adapter,
    model: Any,
    loader: Iterable[Any],
    metric: Callable[[], Metric],
    name: str,
    baseline: float,
    predictions: NDArray[Any] | None = None,
) -> None:
    """Refuse a metric that does not notice when every weight of the model is zero.

    Where the model's predictions are known, a few rows of the first batch mostly settle it. Else the two scores are
    compared batch by batch on the first 8 batches. Only where none of them differs (a broken metric, or data sorted by
    label) the zeroed model is evaluated in full.

    Args:
        adapter: the framework.
        model: the float model.
        loader: the evaluation data.
        metric: makes a fresh metric.
        name: what messages call it.
        baseline: the model's score.
        predictions: the model's, one a row in the loader's order; None where the metric gives none.

    Raises:
        EvaluationError: the full scores are equal to the last digit on 64 rows or more. On fewer rows an equal score
            may be chance, so there it is an ``IlitWarning``.
    """
    zeroed = adapter.zeroed(model)
    for number, batch in enumerate(itertools.islice(loader, _FIRST_BATCHES)):
        if number == 0 and predictions is not None and _answers_change(adapter, zeroed, batch, metric, predictions):
            return
        if _moves(adapter, model, zeroed, [batch], metric):
            return
    rows: list[int] = []
    try:
        score = adapter.evaluate(zeroed, loader, metric(), rows.append)
    except EvaluationError as error:
        _log.info("metric %s is not defined for the zeroed model, so it does notice: %s", name, one_line(error))
        return
    if score != baseline:
        return
    message = (
        f"metric {name}: gives {baseline:g} for the model and {score:g} for the model with every weight zero, over "
        f"{sum(rows)} rows, so it cannot judge; either it ignores the outputs, or the model answers alike for every row"
    )
    if sum(rows) >= _ENOUGH_ROWS:
        raise EvaluationError(message)
    warnings.warn(message, IlitWarning, stacklevel=5)


def _answers_change(
    adapter: Adapter, zeroed: Any, batch: Any, metric: Callable[[], Metric], predictions: NDArray[Any]
) -> bool:
    """Whether the zeroed model's predictions differ from the model's on some rows of the first batch.

    A zeroed model mostly answers alike for every row, so rows that the model answers differently are taken.
    """
    fresh = metric()
    if not isinstance(adapter, RegroupsRows) or not isinstance(fresh, PairedMetric):
        return False
    own = predictions[: len(adapter.row_digests(batch))]
    different = np.sort(np.unique(own, return_index=True)[1])[:_FEW_ROWS]
    rows = different if len(different) > 1 else np.arange(min(len(own), _FEW_ROWS))
    try:
        adapter.evaluate(zeroed, adapter.regroup([batch], [[(0, int(row)) for row in rows]]), fresh)
    except DataError as error:
        _log.debug("a batch's rows cannot be told apart: %s", one_line(error))
        return False
    except EvaluationError as error:
        _log.debug("no score on so few rows, but there are predictions: %s", one_line(error))
    found = fresh.predictions()
    return len(found) == len(rows) and not np.array_equal(found, own[rows])


def _moves(adapter: Adapter, model: Any, zeroed: Any, batches: list[Any], metric: Callable[[], Metric]) -> bool:
    """Whether the two scores differ; a metric undefined on so few rows (one class only, say) tells nothing."""
    try:
        return adapter.evaluate(model, batches, metric()) != adapter.evaluate(zeroed, batches, metric())
    except EvaluationError as error:
        _log.debug("no score on one batch: %s", one_line(error))
        return False
