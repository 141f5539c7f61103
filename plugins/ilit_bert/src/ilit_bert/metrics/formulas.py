"""GLUE's official formulas, each also for units that have weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef  # type: ignore[import-untyped]  # ships no types

from ilit.errors import EvaluationError
from ilit.metric_units import class_sums, share_right

Array = NDArray[Any]


@dataclass(frozen=True)
class Formula:
    """A figure of predictions and labels.

    Attributes:
        official: predictions and labels, (units,) each, to the figure, by the library that GLUE's scorers use.
        weighted: predictions, labels and weights (resamples, units) to the figure for each row of weights, NaN where
            it is not defined.
        classes: both are class numbers; else scores.
        share_of_right: it is the share of units predicted right.
        best_when_right: a wrong prediction turned right never lowers it: ``always``, for ``two classes``, or ``never``
            where that is not known.
    """

    official: Callable[[Array, Array], float]
    weighted: Callable[[Array, Array, Array], NDArray[np.float64]]
    classes: bool = True
    share_of_right: bool = False
    best_when_right: Literal["always", "two classes", "never"] = "never"


def formula(name: str, positive: int = 1) -> Formula:
    """Return a formula by its name in the table of tasks; ``positive`` is the class that F1 is about.

    Why a right prediction is best: of F1, it adds a true positive for a false negative or takes a false positive away,
    and ``2 tp / (2 tp + fp + fn)`` grows with either. Of MCC, with P and N units in the classes, t true and f false
    positives, s = t + f and M = P + N: ``MCC = (t N - f P) / sqrt(s (M - s) P N)``, whose derivative in t has the sign
    of ``N s (M - s) - (t M - s P) (M - 2 s) / 2``. Its second term is greatest at t = s where M > 2 s and at t = s - N
    where M < 2 s, and even there ``N s M / 2`` or ``N (M - s) M / 2`` remain. For the other kind of error the classes
    change places.
    """
    binary, mean = partial(f1, positive=positive), partial(acc_and_f1, positive=positive)
    formulas = {
        "acc": Formula(accuracy, share_right, share_of_right=True, best_when_right="always"),
        "f1": Formula(binary, partial(weighted_f1, positive=positive), best_when_right="always"),
        "acc_and_f1": Formula(mean, partial(weighted_acc_and_f1, positive=positive), best_when_right="always"),
        "mcc": Formula(mcc, weighted_mcc, best_when_right="two classes"),
        "pearson": Formula(pearson, weighted_pearson, classes=False),
        "spearmanr": Formula(spearmanr, weighted_spearmanr, classes=False),
        "corr": Formula(corr, weighted_corr, classes=False),
    }
    return formulas[name]


# --- Official --------------------------------------------------------------------------------------------------------


def accuracy(predictions: Array, labels: Array) -> float:
    """Return the fraction of rows predicted right."""
    return float(np.mean(predictions == labels))


def f1(predictions: Array, labels: Array, positive: int = 1) -> float:
    """Return F1 of the class ``positive``; 0 where there is nothing positive, predicted or labelled."""
    return float(f1_score(labels == positive, predictions == positive, zero_division=0.0))


def acc_and_f1(predictions: Array, labels: Array, positive: int = 1) -> float:
    """Return the mean of accuracy and F1, GLUE's figure for MRPC and QQP."""
    return (accuracy(predictions, labels) + f1(predictions, labels, positive)) / 2


def mcc(predictions: Array, labels: Array) -> float:
    """Return Matthews's correlation coefficient; 0 where all predictions or all labels are of one class."""
    if len(np.unique(predictions)) < 2 or len(np.unique(labels)) < 2:
        return 0.0  # what scikit-learn returns too, but for a single class on both sides only with a warning
    return float(matthews_corrcoef(labels, predictions))


def pearson(predictions: Array, labels: Array) -> float:
    """Return Pearson's correlation of two score vectors.

    Raises:
        EvaluationError: it is not defined, because there are fewer than 2 rows or one side is constant.
    """
    return _correlation("pearson", stats.pearsonr, predictions, labels)


def spearmanr(predictions: Array, labels: Array) -> float:
    """Return Spearman's rank correlation of two score vectors; raises as ``pearson`` does."""
    return _correlation("spearmanr", stats.spearmanr, predictions, labels)


def corr(predictions: Array, labels: Array) -> float:
    """Return the mean of Pearson's and Spearman's correlation, GLUE's figure for STS-B."""
    return (pearson(predictions, labels) + spearmanr(predictions, labels)) / 2


def _correlation(name: str, measure: Callable[..., Any], predictions: Array, labels: Array) -> float:
    """Return the statistic of ``measure``, after checking that it is defined."""
    if len(labels) < 2:
        raise EvaluationError(f"{name}: not defined on {len(labels)} row; evaluate on 2 or more")
    for side, values, cure in (
        ("predictions", predictions, "check the model"),
        ("labels", labels, "evaluate on rows with different scores"),
    ):
        if np.ptp(values) == 0:
            raise EvaluationError(f"{name}: not defined, all {len(values)} {side} are {values[0]:g}; {cure}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)  # scores close together are still scores
        value = float(measure(predictions, labels).statistic)
    if not np.isfinite(value):
        raise EvaluationError(f"{name}: not defined on these {len(labels)} rows; check the model")
    return value


# --- With weights ----------------------------------------------------------------------------------------------------


def weighted_f1(predictions: Array, labels: Array, weights: Array, positive: int = 1) -> NDArray[np.float64]:
    """Return F1 of the class ``positive``, (resamples,)."""
    ours, truth = predictions == positive, labels == positive
    found = weights @ ours.astype(np.float64) + weights @ truth.astype(np.float64)
    return _ratio(2 * (weights @ (ours & truth).astype(np.float64)), found, undefined=0.0)


def weighted_acc_and_f1(predictions: Array, labels: Array, weights: Array, positive: int = 1) -> NDArray[np.float64]:
    """Return the mean of accuracy and F1, (resamples,)."""
    return (share_right(predictions, labels, weights) + weighted_f1(predictions, labels, weights, positive)) / 2


def weighted_mcc(predictions: Array, labels: Array, weights: Array) -> NDArray[np.float64]:
    """Return Matthews's correlation coefficient, (resamples,), for two classes or more (Gorodkin 2004, R_K)."""
    classes, numbers = np.unique(np.concatenate([predictions, labels]), return_inverse=True)
    ours, truth = np.split(numbers.reshape(-1), 2)
    weights = weights / weights.sum(axis=1, keepdims=True)
    predicted, true = (class_sums(side, len(classes), weights) for side in (ours, truth))  # (resamples, classes)
    right = weights @ (ours == truth).astype(np.float64)
    spread = (1 - (predicted**2).sum(axis=1)) * (1 - (true**2).sum(axis=1))
    # A single class leaves rounding errors only.
    spread = np.where(((predicted > 0).sum(axis=1) > 1) & ((true > 0).sum(axis=1) > 1), spread, 0.0)
    return _ratio(right - (predicted * true).sum(axis=1), np.sqrt(np.maximum(spread, 0.0)), undefined=0.0)


def weighted_pearson(predictions: Array, labels: Array, weights: Array) -> NDArray[np.float64]:
    """Return Pearson's correlation, (resamples,)."""
    return _weighted_correlation(predictions.astype(np.float64)[None], labels.astype(np.float64)[None], weights)


def weighted_spearmanr(predictions: Array, labels: Array, weights: Array) -> NDArray[np.float64]:
    """Return Spearman's rank correlation, (resamples,); a unit's rank is the weight below it and half of its ties'."""
    return _weighted_correlation(_ranks(predictions, weights), _ranks(labels, weights), weights)


def weighted_corr(predictions: Array, labels: Array, weights: Array) -> NDArray[np.float64]:
    """Return the mean of Pearson's and Spearman's correlation, (resamples,)."""
    both = weighted_pearson(predictions, labels, weights) + weighted_spearmanr(predictions, labels, weights)
    return np.asarray(both / 2, np.float64)


def _ranks(values: Array, weights: Array) -> Array:
    """Return each unit's rank under each row of weights, (resamples, units)."""
    distinct, numbers = np.unique(values, return_inverse=True)
    sums = class_sums(numbers.reshape(-1), len(distinct), weights)
    middle: Array = np.cumsum(sums, axis=1) - sums / 2
    return middle[:, numbers.reshape(-1)]


def _weighted_correlation(x: Array, y: Array, weights: Array) -> NDArray[np.float64]:
    """Return the correlation of ``x`` and ``y``, (resamples or 1, units), for each row of weights."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True)
    y = y - (weights * y).sum(axis=1, keepdims=True)
    spread = (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
    spread = np.where((np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0), spread, 0.0)  # not what rounding leaves
    return np.clip(_ratio((weights * x * y).sum(axis=1), np.sqrt(spread), undefined=np.nan), -1.0, 1.0)


def _ratio(part: Array, whole: Array, undefined: float) -> NDArray[np.float64]:
    """Return part / whole, ``undefined`` where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full_like(whole, undefined), where=whole > 0), np.float64)
