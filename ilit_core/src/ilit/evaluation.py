"""A model's score, from a metric or from the user's ``eval_func``: always one finite float."""

from __future__ import annotations

import itertools
import logging
import math
import numbers
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ilit.adapter import Adapter, RegroupsRows
from ilit.errors import DataError, EvaluationError, IlitError, IlitWarning, one_line
from ilit.metric import Metric, PairedMetric
from ilit.pruning import OutcomeCertainError, Stop, Watcher
from ilit.recipe import Recipe
from ilit.rows import Courses

_FIRST_BATCHES = 8
_FEW_ROWS = 8
_ENOUGH_ROWS = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """What one evaluation gave.

    Attributes:
        accuracy: the score; where not ``complete`` the best it could still have reached.
        rows: rows seen; 0 where a function scored.
        predictions: one per unit in the loader's order; None where the metric gives none, not ``complete``, or the
            loader gave other rows than before.
        complete: every row was seen.
    """

    accuracy: float
    rows: int = 0
    predictions: NDArray[Any] | None = None
    complete: bool = True


class Scorer(Protocol):
    """How models are scored.

    Attributes:
        may_change_model: what it was given may have been cast, hooked or taken apart, and is not to be used again.
        may_ignore_model: nothing has shown yet that it looks at the model it is given.
        stops_early: it heeds ``stop``; else it runs to its end.
    """

    may_change_model: ClassVar[bool]
    may_ignore_model: ClassVar[bool]
    stops_early: ClassVar[bool]

    @property
    def name(self) -> str:
        """The metric's name, or ``eval_func``."""

    def score(self, model: Any, recipe: Recipe | None, stop: Stop) -> Score:
        """Score a model.

        Args:
            model: any model of the adapter's.
            recipe: what it was lowered by, where it was.
            stop: how the evaluation may end early.

        Raises:
            EvaluationError: the score is no finite number, or the time is up.
        """


@dataclass(frozen=True)
class MetricScorer:
    """Runs ``adapter.evaluate`` with a fresh metric each time.

    Attributes:
        name: what messages call the metric.
        adapter: the framework.
        courses: the evaluation data.
        make: makes a fresh metric.
    """

    name: str
    adapter: Adapter
    courses: Courses
    make: Callable[[], Metric]

    may_change_model: ClassVar[bool] = False
    may_ignore_model: ClassVar[bool] = False  # ``check_metric_moves`` was before
    stops_early: ClassVar[bool] = True

    def score(self, model: Any, recipe: Recipe | None, stop: Stop) -> Score:
        """Evaluate; where a miss is certain the score is not ``complete``, and where time is up that is an error."""
        course, metric = self.courses.fitting(recipe), self.make()
        watcher = Watcher(metric, course, stop)
        try:
            accuracy = finite(self.adapter.evaluate(model, course.batches, metric, watcher), f"metric {self.name}")
        except OutcomeCertainError as certain:
            return Score(certain.best, certain.rows, complete=False)
        if not isinstance(metric, PairedMetric) or course.strayed:
            return Score(accuracy, watcher.rows)
        predictions = metric.predictions()
        return Score(accuracy, watcher.rows, course.in_loaders_order(predictions) if metric.by_row else predictions)


@dataclass(frozen=True)
class FunctionScorer:
    """Calls the user's ``eval_func(model)``, of which nothing is known."""

    function: Callable[[Any], Any]

    name: ClassVar[str] = "eval_func"
    may_change_model: ClassVar[bool] = True
    may_ignore_model: ClassVar[bool] = True
    stops_early: ClassVar[bool] = False

    def score(self, model: Any, recipe: Recipe | None, stop: Stop) -> Score:  # noqa: ARG002 - it takes the model alone
        """Call the function; whatever it raises becomes an ``EvaluationError``."""
        try:
            value = self.function(model)
        except IlitError:
            raise
        except Exception as error:
            raise EvaluationError(f"eval_func: raised {one_line(error)}; it must return one finite number") from error
        return Score(finite(value, self.name))


def is_deaf(scorer: Scorer, damaged: Any, baseline: float) -> bool:
    """Return whether an ``eval_func`` gives a model of zeros the float model's very score.

    Called only for a function that gave it to an INT8 model as well. That alone may be chance, and on a few hundred
    rows often is; a model of zeros hardly shares it. A function that raises on such a model does look at it.
    """
    try:
        return scorer.score(damaged, None, Stop()).accuracy == baseline
    except (IlitError, KeyboardInterrupt) as error:
        _log.info("eval_func gives the zeroed model no score, so it does notice: %s", one_line(error))
        return False


def finite(value: Any, place: str) -> float:
    """Return ``value`` as a float.

    Numbers of any kind are taken, and whatever holds just one: numpy scalars, 0-d arrays and tensors.

    Raises:
        EvaluationError: a bool, None, text, several numbers, NaN or infinity.
    """
    plain = value
    if not isinstance(value, numbers.Real) and callable(getattr(value, "item", None)):
        try:
            plain = value.item()
        except (TypeError, ValueError, RuntimeError) as error:
            raise EvaluationError(f"{place}: gave {_show(value)}; it must be one finite number") from error
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise EvaluationError(f"{place}: gave {_show(value)}; it must be one finite number")
    if not math.isfinite(plain):
        raise EvaluationError(f"{place}: gave {float(plain)}; it must be one finite number, so check model and data")
    return float(plain)


def _show(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


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
    damaged = adapter.damaged(model)
    for number, batch in enumerate(itertools.islice(loader, _FIRST_BATCHES)):
        if number == 0 and predictions is not None and _answers_change(adapter, damaged, batch, metric, predictions):
            return
        if _moves(adapter, model, damaged, [batch], metric):
            return
    rows: list[int] = []
    try:
        score = adapter.evaluate(damaged, loader, metric(), rows.append)
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
    adapter: Adapter, damaged: Any, batch: Any, metric: Callable[[], Metric], predictions: NDArray[Any]
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
        adapter.evaluate(damaged, adapter.regroup([batch], [[(0, int(row)) for row in rows]]), fresh)
    except DataError as error:
        _log.debug("a batch's rows cannot be told apart: %s", one_line(error))
        return False
    except EvaluationError as error:
        _log.debug("no score on so few rows, but there are predictions: %s", one_line(error))
    found = fresh.predictions()
    return len(found) == len(rows) and not np.array_equal(found, own[rows])


def _moves(adapter: Adapter, model: Any, damaged: Any, batches: list[Any], metric: Callable[[], Metric]) -> bool:
    """Whether the two scores differ; a metric undefined on so few rows (one class only, say) tells nothing."""
    try:
        return adapter.evaluate(model, batches, metric()) != adapter.evaluate(damaged, batches, metric())
    except EvaluationError as error:
        _log.debug("no score on one batch: %s", one_line(error))
        return False
