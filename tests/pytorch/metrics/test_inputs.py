"""What a metric is given is checked before anything is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ilit.errors import DataError, EvaluationError
from ilit_pytorch.metrics.inputs import (
    array_of,
    class_numbers,
    class_scores,
    differences,
    predicted_classes,
    refuse_nan,
    rows_with_nan,
    some,
)


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ([1.0, np.nan], 1),
        ([[np.nan, np.nan], [0.0, 1.0], [np.nan, 1.0]], 2),
        (np.nan, 1),
        ([1, 2], 0),
        ([np.inf, -np.inf], 0),
    ],
    ids=["numbers", "rows", "one value", "whole numbers", "infinities"],
)
def test_rows_with_nan_are_counted(values: Any, rows: int) -> None:
    """A row counts once; whole numbers and infinities are none."""
    assert rows_with_nan(np.array(values)) == rows


def test_classes_are_scores_or_numbers() -> None:
    """Either way predicted and true class of each row come out; a column of labels is taken as labels."""
    scores, labels = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32), np.array([[1.0], [1.0]])
    for outputs in (scores, np.array([1, 0])):
        predicted, true = predicted_classes(outputs, labels, "f1")
        assert (predicted.tolist(), true.tolist()) == ([1, 0], [1, 1])


def test_a_trailing_axis_of_one_is_none() -> None:
    """As of a regression's output."""
    assert differences(np.array([[1.0], [2.0]]), np.array([0.5, 2.5]), "mse").tolist() == [0.5, -0.5]


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "tuple": (lambda: array_of((1, 2), "f1", "output"), DataError, "f1: needs one output array, got a tuple"),
    "fraction": (lambda: class_numbers(np.array([0.5]), None, "f1"), DataError, "must be class numbers, got 0.5"),
    "beyond": (lambda: class_numbers(np.array([2]), 2, "f1"), DataError, "label 2 is out of range"),
    "lengths": (lambda: class_scores(np.zeros((2, 3)), np.zeros(3), "f1"), DataError, "(rows, classes)"),
    "counts": (lambda: predicted_classes(np.array([1]), np.array([1, 0]), "f1"), DataError, "1 outputs for 2 labels"),
    "shapes": (lambda: differences(np.zeros((2, 3)), np.zeros(2), "mse"), DataError, "they must have one shape"),
    "NaN label": (lambda: differences(np.zeros(1), np.full(1, np.nan), "mse"), DataError, "the labels of 1 rows"),
    "NaN output": (lambda: refuse_nan(np.full(2, np.nan), "mse"), EvaluationError, "NaN for 2 of 2 rows"),
    "nothing": (lambda: some(0, "mse"), EvaluationError, "no row was evaluated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    """In one line, as the data's or the model's fault."""
    call, error, text = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
