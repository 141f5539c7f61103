"""What a metric is: it takes predictions batch by batch and gives one number."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable


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
                one (``logits`` of a transformers output), else a tuple or dict of arrays in the model's own order.
            labels: the loader's labels, numpy arrays of the same structure the loader gave.

        Raises:
            ilit.errors.DataError: the labels do not fit the predictions (shape, range).
        """

    def result(self) -> float:
        """Return the metric over all rows seen, a finite float.

        Raises:
            ilit.errors.EvaluationError: no row was seen, or the metric is not defined on these rows.
        """
