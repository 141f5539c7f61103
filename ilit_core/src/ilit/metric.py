"""What a metric is: it takes predictions batch by batch and gives one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Metric", "PairedMetric"]


@runtime_checkable
class Metric(Protocol):
    """One pass over evaluation data. Plugins register classes with this shape through ``ilit_metrics``.

    A class is constructed anew for every evaluation, with the options of ``tuning.metric`` as keyword arguments
    (``topk: 1`` becomes ``TopK(1)``: a single plain value is passed as the only positional argument).

    Attributes:
        name: the name used in ``tuning.metric``, unique among installed plugins.
        higher_is_better: the direction of the metric; the criterion reads it.

    An instance may have a ``title``, what messages call it where one class stands for several metrics (the class
    ``glue`` scores ``f1`` or ``mcc``); without one they say ``name``.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]

    def update(self, outputs: Any, labels: Any) -> None:
        """Take one batch.

        Args:
            outputs: the model's predictions as numpy arrays, first axis the rows: one array where the model gives
                one (``logits`` of a transformers output or dataclass), else a tuple or dict of arrays in the model's
                own order.
            labels: the loader's labels, numpy arrays of the same structure the loader gave.

        Raises:
            ilit.errors.DataError: the labels do not fit the predictions (shape, range).
        """

    def result(self) -> float:
        """Return the metric over all rows seen, a finite float.

        Raises:
            ilit.errors.EvaluationError: no row was seen, or the metric is not defined on these rows.
        """


@runtime_checkable
class PairedMetric(Metric, Protocol):
    """A metric that is a function of one prediction and one label per unit, mostly a row: it can be paired.

    Two models scored on the same units are then compared unit by unit, which gives an interval for the drop, and an
    evaluation can be stopped once its outcome is certain. Metrics without these methods are judged by their number
    alone.

    Attributes:
        by_row: unit number ``i`` is row number ``i`` of what ``update`` was given. False where a unit is something
            else, such as a question cut into windows; then units come in an order that the data alone decides.
        share_of_right: the metric is the share of units predicted right, times a constant.
    """

    by_row: bool
    share_of_right: bool

    def predictions(self) -> NDArray[Any]:
        """Return one prediction per unit seen, shape (units,), 1 to 4 bytes each.

        Small integers that equal the label where right, or float32 scores where nothing is simply right.
        """

    def labels(self) -> NDArray[Any]:
        """Return one label per unit seen, shape (units,), of the same kind as ``predictions``."""

    def margins(self) -> NDArray[np.float32]:
        """Return the distance of each unit's prediction from turning into another, shape (units,).

        The smallest are the first to flip. An empty array where that is not known.
        """

    def scores(self, predictions: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
        """Return the metric of weighted units, one for each row of weights; a pure function.

        Args:
            predictions: (units,), as ``predictions`` gives them.
            labels: (units,), as ``labels`` gives them.
            weights: (resamples, units), how much each unit counts, 0 or more and mostly no whole numbers: a weight of 2
                is the unit seen twice, and only proportions matter. Ones give ``result``.

        Returns:
            (resamples,) float64; NaN where the metric is not defined on a resample.
        """

    def reachable(self, rest: Any) -> float | None:
        """Return the best result still possible after what was seen, exact, never too bad.

        Args:
            rest: the labels of the rows to come, as ``update`` would be given them.

        Returns:
            The result if every remaining row turned out as well as it could, or None where that is not known.
        """
