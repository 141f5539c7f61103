"""Sanity of the score: whether a metric or an ``eval_func`` looks at the model at all."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import RegroupsRows
from ilit.errors import DataError, EvaluationError, IlitError, one_line, warn
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.scoring import MetricScorer, Scorer
from ilit.metric import PairedMetric

_FIRST_BATCHES = 8  # on which the two scores are compared one by one
_PREDICTED_ROWS = 8  # of the first batch, on which predictions are compared
_CONCLUSIVE_ROWS = 64  # on so many an equal score is no chance
_log = logging.getLogger(__name__)


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
    scorer: MetricScorer, model: Any, baseline: float, predictions: NDArray[Any] | None = None
) -> None:
    """Refuse a metric that does not notice when every weight of the model is zero.

    Where the model's predictions are known, a few rows of the first batch mostly settle it. Else the two scores are
    compared batch by batch on the first 8 batches. Only where none of them differs (a broken metric, or data sorted by
    label) the zeroed model is evaluated in full.

    Args:
        scorer: the metric, and the evaluation rows.
        model: the float model.
        baseline: the model's score.
        predictions: the model's, one a row in the loader's order; None where the metric gives none.

    Raises:
        EvaluationError: the full scores are equal to the last digit on 64 rows or more. On fewer rows an equal score
            may be chance, so there it is an ``IlitWarning``.
    """
    adapter, batches, name = scorer.adapter, scorer.orders.plain.batches, scorer.name
    zeroed = adapter.zeroed(model)
    for number, batch in enumerate(itertools.islice(batches, _FIRST_BATCHES)):
        if number == 0 and predictions is not None and _predictions_move(scorer, zeroed, batch, predictions):
            return
        if _score_moves(scorer, model, zeroed, batch):
            return
    rows: list[int] = []
    try:
        score = adapter.evaluate(zeroed, batches, scorer.make(), rows.append)
    except EvaluationError as error:
        _log.info("metric %s is not defined for the zeroed model, so it does notice: %s", name, one_line(error))
        return
    if score != baseline:
        return
    message = (
        f"metric {name}: gives {baseline:g} for the model and {score:g} for the model with every weight zero, over "
        f"{sum(rows)} rows, so it cannot judge; either it ignores the outputs, or the model answers alike for every row"
    )
    if sum(rows) >= _CONCLUSIVE_ROWS:
        raise EvaluationError(message)
    warn(message)


def _predictions_move(scorer: MetricScorer, zeroed: Any, batch: Any, predictions: NDArray[Any]) -> bool:
    """Whether the zeroed model's predictions differ from the model's on some rows of the first batch.

    A zeroed model mostly answers alike for every row, so rows that the model answers differently are taken.
    """
    adapter, fresh = scorer.adapter, scorer.make()
    if not isinstance(adapter, RegroupsRows) or not isinstance(fresh, PairedMetric):
        return False
    own = predictions[: len(adapter.row_digests(batch))]
    different = np.sort(np.unique(own, return_index=True)[1])[:_PREDICTED_ROWS]
    rows = different if len(different) > 1 else np.arange(min(len(own), _PREDICTED_ROWS))
    try:
        adapter.evaluate(zeroed, adapter.regroup([batch], [[(0, int(row)) for row in rows]]), fresh)
    except DataError as error:
        _log.debug("a batch's rows cannot be told apart: %s", one_line(error))
        return False
    except EvaluationError as error:
        _log.debug("no score on so few rows, but there are predictions: %s", one_line(error))
    found = fresh.predictions()
    return len(found) == len(rows) and not np.array_equal(found, own[rows])


def _score_moves(scorer: MetricScorer, model: Any, zeroed: Any, batch: Any) -> bool:
    """Whether the two scores differ; a metric undefined on so few rows (one class only, say) tells nothing."""
    ours, theirs = scorer.make(), scorer.make()
    try:
        return scorer.adapter.evaluate(model, [batch], ours) != scorer.adapter.evaluate(zeroed, [batch], theirs)
    except EvaluationError as error:
        _log.debug("no score on one batch: %s", one_line(error))
        return False
