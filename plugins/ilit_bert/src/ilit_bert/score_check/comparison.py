"""A score beside those of constant answers, of chance and of the best order of the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ilit.metric import PairedMetric
from ilit_bert.metrics.squad import Squad
from ilit_bert.tasks.labels import model_label_ids
from ilit_bert.tasks.table import Task

Array = NDArray[Any]

# z-scores that chance exceeds so often.
Z_1_IN_20 = 1.645
Z_1_IN_40 = 1.96
Z_1_IN_100 = 2.326
Z_1_IN_740 = 3.0
ROUNDING = 1e-9
_GOOD = 0.5  # the correlation with the labels that a good model is granted


@dataclass(frozen=True)
class Comparison:
    """A score beside those of constant answers, of chance and of the best order of the labels.

    Attributes:
        score: of the model.
        rows: that it is over; questions for SQuAD.
        constant: the best score of a constant answer, None for a correlation, which has none.
        answer: that answer.
        others: rows that this answer gets wrong; all of them for a correlation.
        z: z-score of the agreement of predictions and labels, against predictions shuffled among the rows.
        order: the label that each of the checkpoint's ids would have to stand for to be right most often, where that
            is more often than as it is read; else empty.
        reordered: the score in that order.
        order_z: z-score of the gain by that order (McNemar's test).
    """

    score: float
    rows: int
    constant: float | None
    answer: str
    others: int
    z: float
    order: tuple[str, ...] = ()
    reordered: float = 0.0
    order_z: float = 0.0

    @property
    def beats_constant(self) -> bool:
        """Whether the score is better than the best constant answer's; True where there is none."""
        return self.constant is None or self.score > self.constant + ROUNDING

    @property
    def is_reversed(self) -> bool:
        """Whether scores fall where the labels rise, significantly."""
        return self.constant is None and self.z < -Z_1_IN_20


def compare(task: Task, metric: Any, score: float, config: Any) -> Comparison:
    """Compare a score with the baselines that its kind of task has.

    Args:
        task: from ``find_task``.
        metric: one of the task's, after a pass over the rows.
        score: its result.
        config: of the model that was scored.
    """
    if isinstance(metric, Squad):
        return _of_answers(metric, score)
    if task.kind == "classification":
        return _of_classes(task, metric, score, config)
    rows = len(metric.labels())
    return Comparison(score, rows, None, "", rows, score * math.sqrt(max(rows - 1, 0)))


def required_z(rows: int, z: float) -> float:
    """Return the z-score to require, 0 to ``z``: a good model falls short of it on so few rows one time in 40.

    The correlation of two vectors of which one was shuffled has the variance ``1 / (rows - 1)``.
    """
    return min(z, max(ROUNDING, _GOOD * math.sqrt(max(rows - 1, 0)) - Z_1_IN_40))


def _of_classes(task: Task, metric: PairedMetric, score: float, config: Any) -> Comparison:
    """Compare classes with constant ones, shuffled ones and other orders."""
    predictions, labels = metric.predictions().astype(np.int64), metric.labels().astype(np.int64)
    ids, classes = model_label_ids(task, config), int(config.num_labels)
    names = dict(zip(ids, task.label_names, strict=True))
    rows = {k: int(np.sum(labels == k)) for k in ids}
    constants = {k: _score(metric, np.full_like(labels, k), labels) for k in ids}
    best = max(ids, key=lambda k: (constants[k], rows[k]))
    counts = _confusion(predictions, labels, classes)
    others = len(labels) - max(rows.values())
    plain = Comparison(score, len(labels), constants[best], names[best], others, _agreement_z(counts))
    stands_for = _best_order(counts)
    reread = stands_for[predictions]
    reordered = _score(metric, reread, labels)
    known = _agreement_z(_confusion(reread, labels, classes)) >= required_z(len(labels), Z_1_IN_100)
    if not known or reordered <= max(score, constants[best]) + ROUNDING:
        return plain
    order = tuple(names.get(int(k), str(k)) for k in stands_for)
    return replace(plain, order=order, reordered=reordered, order_z=_gain_z(predictions, reread, labels))


def _score(metric: PairedMetric, predictions: Array, labels: Array) -> float:
    return float(metric.scores(predictions, labels, np.ones((1, len(labels))))[0])


def _gain_z(before: Array, after: Array, labels: Array) -> float:
    """Return the z-score of the gain in rows predicted right (McNemar's test)."""
    gained = int(np.sum((after == labels) & (before != labels)))
    lost = int(np.sum((after != labels) & (before == labels)))
    return (gained - lost) / math.sqrt(max(gained + lost, 1))


def _confusion(predictions: Array, labels: Array, classes: int) -> Array:
    """Return the confusion matrix, float64 ``(predicted, true)``."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predictions, labels), 1)
    return counts


def _best_order(counts: Array) -> Array:
    """Return the assignment of predicted to true classes with most rows right, (classes,)."""
    order: Array = optimize.linear_sum_assignment(counts, maximize=True)[1]
    return order


def _agreement_z(counts: Array) -> float:
    """Return the z-score of the agreement of predictions and labels, against shuffled ones.

    Of n rows with a_k predictions and b_k labels of class k, shuffled ones agree on ``sum a_k b_k / n`` on average;
    the variance is the trace of the product of the two centred matrices ``diag(a) - a a' / n``, over n - 1. For two
    classes this is Matthews's coefficient times ``sqrt(n - 1)``.
    """
    n, predicted, true = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    both = predicted * true
    variance = (both.sum() - (both * (predicted + true)).sum() / n + (both.sum() / n) ** 2) / max(n - 1, 1)
    if variance <= ROUNDING:  # all predictions or all labels are of one class
        return 0.0
    return float((np.trace(counts) - both.sum() / n) / math.sqrt(variance))


def _of_answers(metric: Squad, score: float) -> Comparison:
    """Compare answers with "no answer" to every question."""
    answerable = metric.answerable()
    rows, others = len(answerable), int(answerable.sum())
    constant = 100 * (1 - others / rows)
    gains = metric.predictions().astype(np.float64) - ~answerable  # (questions,), over answering nothing
    bad_luck = bool(0 < gains.std() > -gains.mean() * math.sqrt(rows) / Z_1_IN_20)
    known = score > constant + ROUNDING or bad_luck
    return Comparison(score, rows, constant, "no answer", others, math.inf if known else -math.inf)
