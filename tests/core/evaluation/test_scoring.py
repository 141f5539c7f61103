"""Scores are finite floats, whatever gives them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ilit.errors import EvaluationError
from ilit.evaluation.early_stop import Stop
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders
from ilit.evaluation.scoring import FunctionScorer, MetricScorer, finite
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model


class Tensor:
    """Something with ``item``, as tensors have."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        if isinstance(self.value, list):
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.value

    def __repr__(self) -> str:
        return f"Tensor(\n{self.value})"


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), np.array([0.5]), Tensor(0.5), Fraction(1, 2)],
    ids=lambda value: type(value).__name__,
)
def test_any_one_number_is_a_score(value: Any) -> None:
    """Floats, ints, numpy scalars, 0-d arrays and tensors become a float."""
    score = finite(value, "eval_func")
    assert (type(score), score) == (float, 0.5)


def test_an_int_is_a_score() -> None:
    """A count of right answers is a number too."""
    assert finite(3, "eval_func") == 3.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(True, r"gave True \(bool\); it must be one finite number", id="bool"),
        pytest.param(np.True_, r"gave (np\.)?True_? \(bool_?\)", id="numpy bool"),  # numpy 1 and 2 say it differently
        pytest.param(None, r"gave None \(NoneType\)", id="None"),
        pytest.param("0.9", r"gave '0.9' \(str\)", id="text"),
        pytest.param({"acc": 0.9}, r"gave {'acc': 0.9} \(dict\)", id="dict"),
        pytest.param(1j, r"gave 1j \(complex\)", id="complex"),
        pytest.param(Tensor([1, 2]), r"gave Tensor\( \[1, 2\]\) \(Tensor\)", id="several"),
        pytest.param(np.zeros(9), r"gave array\(.* \(ndarray\)", id="array"),
        pytest.param("x" * 999, r"gave 'x{56}\.\.\. \(str\)", id="long text"),
        pytest.param(math.nan, "gave nan; it must be one finite number, so check model and data", id="NaN"),
        pytest.param(-math.inf, "gave -inf;", id="infinity"),
        pytest.param(Tensor(math.nan), "gave nan;", id="tensor NaN"),
    ],
)
def test_anything_else_is_refused(value: Any, text: str) -> None:
    """What was returned is shown, in one line, with the place."""
    with pytest.raises(EvaluationError, match=rf"^eval_func: {text}") as caught:
        finite(value, "eval_func")
    assert len(str(caught.value).splitlines()) == 1


def test_a_function_that_raises_is_one_line() -> None:
    """The user's exception is named, and is the cause."""

    def eval_func(model: Any) -> float:
        raise KeyError("labels")

    with pytest.raises(EvaluationError, match="eval_func: raised KeyError: 'labels'; it must return one") as caught:
        FunctionScorer(eval_func).score(None, None, Stop())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_fresh_metric_scores_each_time() -> None:
    """Two evaluations share no rows."""
    model = fake_model()
    scorer = MetricScorer(
        "fake_accuracy", FakeAdapter(), EvaluationOrders(EvaluationOrder(fake_data(model))), FakeAccuracy
    )
    first, second = (scorer.score(model, None, Stop()) for _ in range(2))
    assert (first.accuracy, first.rows) == (second.accuracy, second.rows)
