"""What metrics are given, checked: outputs and labels as arrays that fit together and hold answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ilit.errors import DataError, EvaluationError


def class_scores(outputs: Any, labels: Any, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (rows, classes) and integer labels (rows,).

    Raises:
        DataError: other shapes, labels that are no whole numbers, or labels beyond the classes.
        EvaluationError: a score is NaN.
    """
    scores, labels = array_of(outputs, metric, "output"), array_of(labels, metric, "label").reshape(-1)
    if scores.ndim != 2 or len(scores) != len(labels):
        raise DataError(
            f"{metric}: outputs must be (rows, classes) with a label a row, not {scores.shape} with {labels.shape}"
        )
    refuse_nan(scores, metric)
    refuse_ties_of_infinity(scores, metric)
    return scores, class_numbers(labels, scores.shape[1], metric)


def predicted_classes(outputs: Any, labels: Any, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true class numbers, both (rows,); outputs may be scores or class numbers already.

    Raises:
        DataError: as ``class_scores``.
        EvaluationError: as ``class_scores``.
    """
    scores = array_of(outputs, metric, "output")
    if scores.ndim == 1 and np.issubdtype(scores.dtype, np.integer):
        labels = array_of(labels, metric, "label").reshape(-1)
        if len(scores) != len(labels):
            raise DataError(f"{metric}: {len(scores)} outputs for {len(labels)} labels")
        return scores, class_numbers(labels, None, metric)
    scores, labels = class_scores(outputs, labels, metric)
    return scores.argmax(axis=1), labels


def differences(outputs: Any, labels: Any, metric: str) -> np.ndarray:
    """Return outputs - labels as float64; a trailing axis of one is taken as none.

    Raises:
        DataError: the shapes differ, or a label is NaN.
        EvaluationError: an output is NaN.
    """
    found = array_of(outputs, metric, "output").astype(np.float64)
    expected = array_of(labels, metric, "label").astype(np.float64)
    if found.shape != expected.shape and found.shape[-1:] == (1,):
        found = found[..., 0]
    if found.shape != expected.shape:
        raise DataError(f"{metric}: outputs are {found.shape}, labels {expected.shape}; they must have one shape")
    refuse_nan(found, metric)
    unknown = rows_with_nan(expected)
    if unknown:
        raise DataError(f"{metric}: the labels of {unknown} rows are NaN; leave such rows out of the evaluation data")
    return found - expected


def refuse_nan(outputs: np.ndarray, metric: str) -> None:
    """Let pass what is an answer in every row; infinities are, since they have an order.

    Raises:
        EvaluationError: an output (rows, ...) is NaN. The largest of several scores with NaN among them is none.
    """
    count = rows_with_nan(outputs)
    if count:
        raise EvaluationError(
            f"{metric}: the model gave NaN for {count} of {len(np.atleast_1d(outputs))} rows of a batch, which is no "
            "answer; mend the model (a root or logarithm of a negative number, 0 / 0), or leave such rows out"
        )


def refuse_ties_of_infinity(scores: np.ndarray, metric: str) -> None:
    """Let pass scores (rows, classes) with one largest; infinite ones may be, two that are equal and infinite not.

    Raises:
        EvaluationError: in some row the largest score is infinite and stands at several classes.
    """
    if not np.issubdtype(scores.dtype, np.floating) or bool(np.isfinite(scores).all()):
        return
    best = scores.max(axis=1, keepdims=True)
    count = int((np.isinf(best[:, 0]) & ((scores == best).sum(axis=1) > 1)).sum())
    if count:
        raise EvaluationError(
            f"{metric}: in {count} of {len(scores)} rows of a batch the largest score is infinite and stands at "
            "several classes, which is no answer; mend the model (an overflow, a logarithm of 0), or leave them out"
        )


def rows_with_nan(values: np.ndarray) -> int:
    """Return the number of rows with NaN in an array (rows, ...) of numbers."""
    if not np.issubdtype(values.dtype, np.floating):
        return 0
    found = np.isnan(np.atleast_1d(values))
    return int(found.any(axis=tuple(range(1, found.ndim))).sum())


def some(count: int, metric: str) -> int:
    """Return the count.

    Raises:
        EvaluationError: it is 0, so there is nothing to divide by.
    """
    if count == 0:
        raise EvaluationError(f"{metric}: no row was evaluated; give an evaluation loader with data")
    return count


def array_of(value: Any, metric: str, what: str) -> np.ndarray:
    """Return the value itself, an array.

    Raises:
        DataError: it is anything else, such as a tuple of arrays; ``what`` says what it is of.
    """
    if not isinstance(value, np.ndarray):
        raise DataError(f"{metric}: needs one {what} array, got a {type(value).__name__}; choose another metric")
    return value


def class_numbers(labels: np.ndarray, classes: int | None, metric: str) -> np.ndarray:
    """Return labels as int64 class numbers; ``classes`` is how many there are, None where that is not known.

    Raises:
        DataError: a label is no whole number, or beyond the classes.
    """
    with np.errstate(invalid="ignore"):  # NaN is no whole number, and is told below
        numbers = labels.astype(np.int64)
    if not np.array_equal(numbers, labels):
        raise DataError(f"{metric}: labels must be class numbers, got {labels[numbers != labels][0]}")
    if classes is not None and len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
        wrong = numbers[(numbers < 0) | (numbers >= classes)][0]
        raise DataError(
            f"{metric}: label {wrong} is out of range; the model gives {classes} classes, 0 to {classes - 1}"
        )
    return numbers
