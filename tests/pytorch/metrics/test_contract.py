"""The metrics keep ``ilit.testing.MetricContract`` and agree with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ilit.errors import ConfigError, DataError, EvaluationError
from ilit.testing import MetricCase, MetricContract
from ilit_pytorch import plugin
from ilit_pytorch.metrics.f1 import F1
from ilit_pytorch.metrics.regression import MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from ilit_pytorch.metrics.top_k import Accuracy, TopK

RNG = np.random.default_rng(9527)
SCORES, LABELS = RNG.normal(size=(40, 5)), RNG.integers(0, 5, 40)
TWO, BINARY = RNG.normal(size=(40, 2)), RNG.integers(0, 2, 40)
FOUND, WANTED = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))
BEST = SCORES.argmax(1)
RARE = np.array([0, 9, 300, 9])
MISFIT = (SCORES, LABELS[:7])

CASES: dict[str, Callable[[], MetricCase]] = {
    "top1": lambda: MetricCase(TopK, SCORES, LABELS, sklearn_metrics.top_k_accuracy_score(LABELS, SCORES, k=1), MISFIT),
    "top3": lambda: MetricCase(
        lambda: TopK(3), SCORES, LABELS, sklearn_metrics.top_k_accuracy_score(LABELS, SCORES, k=3), MISFIT
    ),
    "top5": lambda: MetricCase(lambda: TopK(5), SCORES, LABELS, 1.0, MISFIT),
    "accuracy": lambda: MetricCase(
        Accuracy, SCORES, LABELS, sklearn_metrics.accuracy_score(LABELS, BEST), (SCORES, LABELS + 5)
    ),
    "accuracy of classes": lambda: MetricCase(
        Accuracy, BEST, LABELS, sklearn_metrics.accuracy_score(LABELS, BEST), (BEST, LABELS[:7])
    ),
    "f1": lambda: MetricCase(F1, TWO, BINARY, sklearn_metrics.f1_score(BINARY, TWO.argmax(1)), (TWO, BINARY + 0.5)),
    "f1 of class 0": lambda: MetricCase(
        lambda: F1(positive=0), TWO, BINARY, sklearn_metrics.f1_score(BINARY, TWO.argmax(1), pos_label=0), MISFIT
    ),
    "f1 macro": lambda: MetricCase(
        lambda: F1("macro"), SCORES, LABELS, sklearn_metrics.f1_score(LABELS, BEST, average="macro"), MISFIT
    ),
    "f1 micro": lambda: MetricCase(
        lambda: F1("micro"), SCORES, LABELS, sklearn_metrics.f1_score(LABELS, BEST, average="micro"), MISFIT
    ),
    "f1 macro of rare classes": lambda: MetricCase(
        lambda: F1("macro"), BEST[:4], RARE, sklearn_metrics.f1_score(RARE, BEST[:4], average="macro")
    ),
    "mse": lambda: MetricCase(
        MeanSquaredError, FOUND, WANTED, sklearn_metrics.mean_squared_error(WANTED, FOUND), (FOUND, WANTED[:, :2])
    ),
    "mse of a column": lambda: MetricCase(
        MeanSquaredError, FOUND[:, :1], WANTED[:, 0], sklearn_metrics.mean_squared_error(WANTED[:, 0], FOUND[:, 0])
    ),
    "rmse": lambda: MetricCase(
        RootMeanSquaredError,
        FOUND,
        WANTED,
        sklearn_metrics.root_mean_squared_error(WANTED.ravel(), FOUND.ravel()),
        (FOUND, WANTED[:9]),
    ),
    "mae": lambda: MetricCase(
        MeanAbsoluteError, FOUND, WANTED, sklearn_metrics.mean_absolute_error(WANTED, FOUND), (FOUND, WANTED[:9])
    ),
}


class TestMetrics(MetricContract):
    @pytest.fixture(params=CASES)
    def case(self, request: pytest.FixtureRequest) -> MetricCase:
        return CASES[request.param]()


def test_the_metrics_are_registered() -> None:
    """The names of the configuration."""
    offered = {metric.name for metric in plugin.ilit_metrics()}

    assert offered >= {"topk", "accuracy", "f1", "mse", "rmse", "mae"}


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "k of 0": (lambda: TopK(0), ConfigError, "k must be an integer of 1 or more"),
    "k of True": (lambda: TopK(True), ConfigError, "k must be an integer of 1 or more"),
    "k beyond classes": (lambda: TopK(6).update(SCORES, LABELS), DataError, "k is 6, the model gives 5 classes"),
    "average": (lambda: F1("weighted"), ConfigError, "binary, macro or micro"),  # type: ignore[arg-type]  # on purpose
    "label beyond": (lambda: Accuracy().update(TWO, np.full(40, 7)), DataError, "label 7 is out of range"),
    "negative label": (lambda: TopK().update(TWO, np.full(40, -100)), DataError, "label -100 is out of range"),
    "fraction": (lambda: Accuracy().update(TWO, np.full(40, 0.5)), DataError, "must be class numbers"),
    "three axes": (lambda: Accuracy().update(np.zeros((2, 3, 4)), np.zeros(2)), DataError, "(rows, classes)"),
    "dict of outputs": (lambda: F1().update({"a": TWO, "b": TWO}, BINARY), DataError, "needs one output array"),
}


def broken(values: np.ndarray, *rows: int) -> np.ndarray:
    """Return the values with NaN somewhere in these rows."""
    values = values.astype(np.float32)
    for row in rows:
        values[row, ..., row % values.shape[-1]] = np.nan
    return values


NAN: dict[str, tuple[Callable[[], Any], np.ndarray, np.ndarray]] = {
    "topk": (TopK, SCORES, LABELS), "top3": (lambda: TopK(3), SCORES, LABELS),
    "top5": (lambda: TopK(5), SCORES, LABELS),
    "accuracy": (Accuracy, SCORES, LABELS), "f1": (F1, TWO, BINARY), "f1 macro": (lambda: F1("macro"), SCORES, LABELS),
    "f1 micro": (lambda: F1("micro"), SCORES, LABELS), "mse": (MeanSquaredError, FOUND, WANTED),
    "rmse": (RootMeanSquaredError, FOUND, WANTED), "mae": (MeanAbsoluteError, FOUND, WANTED),
    "mse of a column": (MeanSquaredError, FOUND[:, :1], WANTED[:, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", NAN)
def test_nan_is_no_answer(name: str) -> None:
    """It is refused by name, with how many rows have it and what to do, and nothing of that batch is counted."""
    make, outputs, labels = NAN[name]
    metric = make()
    metric.update(outputs, labels)
    before = metric.result(), len(metric.predictions()), len(metric.labels())
    with pytest.raises(EvaluationError) as caught:
        metric.update(broken(outputs, 0, 3, 7), labels)
    assert f"{metric.name}: the model gave NaN for 3 of 40 rows of a batch" in str(caught.value)
    assert "mend the model" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert (metric.result(), len(metric.predictions()), len(metric.labels())) == before


def test_infinite_scores_have_an_order() -> None:
    """A class that is ruled out by minus infinity, or certain by infinity, is an answer."""
    scores = np.array([[-np.inf, 1.0, 2.0], [np.inf, 1.0, 2.0], [-np.inf, -np.inf, 0.0]])
    for metric in (Accuracy(), TopK(), F1("micro")):
        metric.update(scores, np.array([2, 0, 2]))
        assert metric.result() == 1.0
        assert not np.isnan(metric.margins()).any()


@pytest.mark.parametrize("row", [[np.inf, np.inf, 0.0], [-np.inf, -np.inf, -np.inf]], ids=["infinity", "minus"])
@pytest.mark.parametrize("make", [Accuracy, TopK, lambda: F1("micro")], ids=["accuracy", "topk", "f1"])
def test_ties_of_infinity_are_no_answer(make: Callable[[], Any], row: list[float]) -> None:
    """Which class came first would decide."""
    with pytest.raises(EvaluationError, match="in 1 of 2 rows of a batch the largest score is infinite"):
        make().update(np.array([[0.0, 1.0, 2.0], row]), np.array([2, 0]))


@pytest.mark.parametrize("make", [MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError, Accuracy])
def test_a_label_of_nan_is_refused_as_the_datas_fault(make: Callable[[], Any]) -> None:
    """The line says labels, not the model."""
    labels = np.array([0.0, np.nan, 1.0])
    text = "must be class numbers, got nan" if make is Accuracy else "the labels of 1 rows are NaN; leave such rows out"
    with pytest.raises(DataError, match=text):
        make().update(np.eye(3) if make is Accuracy else np.ones(3), labels)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_is_refused(name: str) -> None:
    """One line says what is wrong."""
    call, error, text = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
