"""A model's score, from a metric or from the user's ``eval_func``: always one finite float."""

from __future__ import annotations

import logging
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from ilit.adapter import Adapter
from ilit.errors import EvaluationError, IlitError, one_line
from ilit.evaluation.early_stop import OutcomeCertainError, Stop, Watcher
from ilit.evaluation.order import EvaluationOrders
from ilit.metric import Metric, PairedMetric
from ilit.recipe import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """The outcome of one evaluation.

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
    """Scores models.

    Attributes:
        may_change_model: a model given to it may have been cast, hooked or taken apart, and is not to be used again.
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
            recipe: the recipe it was lowered by; None for a model that was not.
            stop: how the evaluation may end early.

        Raises:
            EvaluationError: the score is no finite number, or the time is up.
        """


@dataclass(frozen=True)
class MetricScorer:
    """Runs ``adapter.evaluate`` with a fresh metric each time.

    Attributes:
        name: the metric's name in messages.
        adapter: the framework.
        orders: the evaluation rows.
        make: makes a fresh metric.
    """

    name: str
    adapter: Adapter
    orders: EvaluationOrders
    make: Callable[[], Metric]

    may_change_model: ClassVar[bool] = False
    may_ignore_model: ClassVar[bool] = False  # ``check_metric_moves`` was before
    stops_early: ClassVar[bool] = True

    def score(self, model: Any, recipe: Recipe | None, stop: Stop) -> Score:
        """Evaluate a model; once a miss is certain the evaluation ends, and its score is not ``complete``."""
        order, metric = self.orders.for_recipe(recipe), self.make()
        watcher = Watcher(metric, order, stop)
        try:
            accuracy = finite(self.adapter.evaluate(model, order.batches, metric, watcher), f"metric {self.name}")
        except OutcomeCertainError as certain:
            return Score(certain.best, certain.rows, complete=False)
        if not isinstance(metric, PairedMetric) or order.changed_rows:
            return Score(accuracy, watcher.rows)
        predictions = metric.predictions()
        return Score(accuracy, watcher.rows, order.in_loaders_order(predictions) if metric.by_row else predictions)


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


def finite(value: Any, place: str) -> float:
    """Return ``value`` as a float: a number of any kind, or a scalar, array or tensor that holds just one.

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
