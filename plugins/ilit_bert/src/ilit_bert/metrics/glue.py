"""GLUE's official metrics as classes that gather predictions batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilit.errors import ConfigError, DataError, EvaluationError
from ilit.metric_units import Units, logit_margins
from ilit_bert.metrics.first_score import notify
from ilit_bert.metrics.formulas import Formula, formula
from ilit_bert.tasks.table import find_task
from ilit_pytorch import refuse_nan, rows_with_nan

Array = NDArray[Any]

_ROUNDING = 1e-12  # by which two ways to compute one figure may differ


class _RowMetric:
    """A metric of one prediction and one label a row; a subclass gives the name and the formula."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    by_row: bool = True

    def __init__(self, figure: Formula, label: str = "") -> None:
        self._formula = figure
        self._label = label or self.name
        self._units = Units()
        self._exact: list[Array] = []  # scores before they are cut to 32 bits; none for classes
        self._exact_labels: list[Array] = []
        self._rows = self._model_classes = 0
        self.share_of_right = figure.share_of_right

    def update(self, outputs: Any, labels: Any) -> None:
        """Take one batch.

        Args:
            outputs: logits ``(rows, classes)``, or scores ``(rows,)`` or ``(rows, 1)`` where the metric is a
                correlation; as an array, the only item of a tuple, or ``logits`` of a mapping.
            labels: ``(rows,)``, class ids or scores.

        Raises:
            DataError: labels and outputs do not fit each other, or a label is NaN.
            EvaluationError: an output is NaN, or a score infinite.
        """
        logits = np.asarray(_one_array(self._label, outputs), dtype=np.float64)
        truth = np.asarray(labels).reshape(-1)
        self._check(logits, truth)
        if self._formula.classes:
            predicted = _classes(self._label, logits, truth)
            self._model_classes = max(self._model_classes, logits.shape[1])
            self._units.add(predicted, truth.astype(np.int64), logit_margins(logits))
        else:
            self._exact.append(logits.flatten())  # a copy: the loader may reuse its buffers
            self._exact_labels.append(truth.astype(np.float64))
            self._units.add(self._exact[-1], self._exact_labels[-1])
        self._rows += len(truth)

    def _check(self, logits: Array, truth: Array) -> None:
        """Check that outputs and labels are numbers and fit each other."""
        refuse_nan(logits, self._label)
        if not self._formula.classes and not np.isfinite(logits).all():
            raise EvaluationError(
                f"{self._label}: the model gave an infinite score, which no correlation takes; mend it"
            )
        if len(logits) != len(truth) or (not self._formula.classes and logits.size != len(truth)):
            raise DataError(
                f"{self._label}: {len(truth)} labels for outputs of shape {logits.shape}; it takes one label a row"
                + ("" if self._formula.classes else " and one score a row")
            )
        if rows_with_nan(truth):
            raise DataError(f"{self._label}: {rows_with_nan(truth)} labels are NaN; leave such rows out of the data")

    def result(self) -> float:
        """Return the metric over all rows seen.

        Raises:
            EvaluationError: no row was seen, or the metric is not defined on these rows.
        """
        if not self._rows:
            raise EvaluationError(f"{self._label}: no row was seen; the evaluation data is empty")
        if self._formula.classes:
            pair = self.predictions(), self.labels()
        else:
            pair = np.concatenate(self._exact), np.concatenate(self._exact_labels)
        return notify(self, self._rows, self._formula.official(*pair))

    def predictions(self) -> Array:
        """Return each row's class, or its score in float32, (rows,)."""
        return self._units.predictions()

    def labels(self) -> Array:
        """Return each row's label likewise, (rows,)."""
        return self._units.labels()

    def margins(self) -> NDArray[np.float32]:
        """Return the margin of each row's largest logit over the second, (rows,); empty for scores."""
        return self._units.margins()

    def scores(self, predictions: Array, labels: Array, weights: Array) -> NDArray[np.float64]:
        """Return the metric for each row of weights; NaN for a correlation that is not defined."""
        return self._formula.weighted(predictions, labels, weights)

    def reachable(self, rest: Any) -> float | None:
        """Return the metric if every row to come were right; None where more right rows may lower it."""
        known = self._formula.best_when_right
        if known == "never" or (known == "two classes" and self._model_classes != 2):
            return None
        labels = np.asarray(rest).reshape(-1)
        predictions, truth = (np.concatenate([seen, labels]) for seen in (self.predictions(), self.labels()))
        best = float(self._formula.weighted(predictions, truth, np.ones((1, len(truth))))[0])
        return best if best >= 1 else best + _ROUNDING


class AccAndF1(_RowMetric):
    """Mean of accuracy and F1 of the class ``positive``."""

    name: ClassVar[str] = "acc_and_f1"

    def __init__(self, positive: int = 1) -> None:
        super().__init__(formula("acc_and_f1", positive))


class Mcc(_RowMetric):
    """Matthews's correlation coefficient."""

    name: ClassVar[str] = "mcc"

    def __init__(self) -> None:
        super().__init__(formula("mcc"))


class Pearson(_RowMetric):
    """Pearson's correlation."""

    name: ClassVar[str] = "pearson"

    def __init__(self) -> None:
        super().__init__(formula("pearson"))


class Spearmanr(_RowMetric):
    """Spearman's rank correlation."""

    name: ClassVar[str] = "spearmanr"

    def __init__(self) -> None:
        super().__init__(formula("spearmanr"))


class Corr(_RowMetric):
    """Mean of Pearson's and Spearman's correlation."""

    name: ClassVar[str] = "corr"

    def __init__(self) -> None:
        super().__init__(formula("corr"))


class Glue(_RowMetric):
    """An official metric of a GLUE task.

    Args:
        task: the task's name.
        metric: one of the task's metrics; by default the one it is tuned on.
        positive: the model's id of the class that F1 is about, where the checkpoint numbers the labels in its own
            order; 1 by default.

    Raises:
        ConfigError: there is no such task or metric.
    """

    name: ClassVar[str] = "glue"

    def __init__(self, task: str, metric: str | None = None, positive: int = 1) -> None:
        chosen = find_task(task)
        if chosen.kind == "question_answering":
            raise ConfigError(f"metric glue: {chosen.name} is no GLUE task; use the metric 'squad'")
        figure = chosen.metric_named(metric)
        super().__init__(formula(figure, positive), f"{figure} of {chosen.name}")
        self.title = figure


def _classes(name: str, logits: Array, labels: Array) -> Array:
    """Return the class of the largest logit of each row, after checking that the labels are classes of the model."""
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise DataError(f"{name}: outputs of shape {logits.shape}; it takes (rows, 2 or more classes)")
    wrong = labels[(labels < 0) | (labels >= logits.shape[1]) | (labels != np.floor(labels))]
    if len(wrong):
        raise DataError(
            f"{name}: label {wrong[0]:g} is out of range, the model has {logits.shape[1]} classes "
            f"(0 to {logits.shape[1] - 1}); check the labels, or use a model that was trained for them"
        )
    predicted: Array = logits.argmax(axis=1)  # (rows,)
    return predicted


def _one_array(name: str, outputs: Any) -> Any:
    """Return the logits among the model's outputs."""
    if isinstance(outputs, Mapping):
        if "logits" not in outputs:
            raise DataError(
                f"{name}: the model's outputs are {', '.join(map(str, outputs))}, without 'logits'; use a model "
                "for sequence classification"
            )
        return outputs["logits"]
    if isinstance(outputs, tuple | list):
        if len(outputs) != 1:
            raise DataError(f"{name}: the model gave {len(outputs)} outputs; it takes one array of logits")
        return outputs[0]
    return outputs
