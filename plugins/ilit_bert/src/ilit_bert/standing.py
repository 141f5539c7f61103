"""Whether a score shows that a model knows its task: beside constant answers, chance and other orders of the labels.

What looks like a bad model is mostly a good one that is read wrongly: labels in another order than the task's, text
lowercased for a cased vocabulary, the wrong task. Tuning such a model succeeds and means nothing.
"""

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

FEW_ROWS = 200
"""Below, a good model may score no better than a constant answer by bad luck, and its answers are looked at."""
FEWEST_OTHERS = 5
"""Rows that are not of the commonest label: with fewer, next to nothing tells a good model from a constant answer."""
# Normal deviates that chance exceeds so often.
_ONE_IN_20 = 1.645
_ONE_IN_40 = 1.96
_ONE_IN_100 = 2.326
_ONE_IN_740 = 3.0
_GOOD = 0.5  # the correlation with the labels that a good model is granted
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Objection:
    """What is to be said against a score.

    Attributes:
        text: one line without the cure's last words: what was scored and what it means.
        grave: the score shows nothing of what the model knows; else there are too few rows to say.
    """

    text: str
    grave: bool


@dataclass(frozen=True)
class Standing:
    """A score and what it has to beat.

    Attributes:
        rows: what it is about; questions for SQuAD.
        constant: the best score of a constant answer, None for a correlation, which has none.
        answer: that answer.
        others: rows that this answer gets wrong; all of them for a correlation.
        deviate: by how many standard deviations predictions agree with labels more than they would if dealt to the
            rows at random.
        order: the label that each of the checkpoint's ids would have to stand for to be right most often, where that
            is more often than as it is read; else empty.
        reordered: the score in that order.
        order_deviate: how sure it is that the order is better, in standard deviations.
    """

    score: float
    rows: int
    constant: float | None
    answer: str
    others: int
    deviate: float
    order: tuple[str, ...] = ()
    reordered: float = 0.0
    order_deviate: float = 0.0


def objection(task: Task, metric: Any, score: float, config: Any, who: str = "float32") -> Objection | None:
    """Return what is to be said against a score, or None.

    It is grave where the score is no better than the best constant answer on the same rows, for correlations and
    Matthews's (0 for a constant) no better than chance; and where another order of the labels is right on clearly more
    rows. A score above a constant's is not grave, but said where chance may have given it. On fewer than ``FEW_ROWS``
    rows a low score is not grave where predictions agree with the labels as a good model's do.

    Args:
        task: from ``find_task``.
        metric: one of the task's, after a pass over the rows.
        score: its result.
        config: of the model that was scored.
        who: what to call it.
    """
    title = getattr(metric, "title", metric.name)
    if title.startswith("NoAns"):
        return None  # about questions to which no answer is right, so a constant answer is perfect
    if isinstance(metric, Squad):
        standing = _of_answers(metric, score)
    elif task.kind == "classification":
        standing = _of_classes(task, metric, score, config)
    else:
        rows = len(metric.labels())
        standing = Standing(score, rows, None, "", rows, score * math.sqrt(max(rows - 1, 0)))
    said = f"{task.name}: {who} scores {title} {score:.4f} on {standing.rows} examples"
    weak, doubtful = _is_weak(standing, title), _is_doubtful(standing, title)
    if not weak and not doubtful:
        return None
    return Objection(f"{said}, {_comparison(standing, title)}; {_cause(task, standing)}", weak)


def _is_correlation(standing: Standing, title: str) -> bool:
    return standing.constant is None or title == "mcc"


def _is_turned(standing: Standing) -> bool:
    """Return whether scores fall where the labels rise, by more than chance."""
    return standing.constant is None and standing.deviate < -_ONE_IN_20


def _is_weak(standing: Standing, title: str) -> bool:
    """Return whether the score shows that something is wrong."""
    if standing.order_deviate > _ONE_IN_740:
        return True
    if standing.others < FEWEST_OTHERS:
        return False
    if _is_correlation(standing, title):
        return standing.deviate < _expected(standing.rows, _ONE_IN_20)
    excused = standing.rows < FEW_ROWS and standing.deviate >= _expected(standing.rows, _ONE_IN_100)
    return not _beats_constant(standing) and not excused


def _is_doubtful(standing: Standing, title: str) -> bool:
    """Return whether the score may be a matter of luck."""
    by_chance = standing.deviate < _expected(standing.rows, _ONE_IN_20)
    return by_chance or not (_is_correlation(standing, title) or _beats_constant(standing))


def _beats_constant(standing: Standing) -> bool:
    return standing.constant is None or standing.score > standing.constant + _ROUNDING


def _expected(rows: int, deviate: float) -> float:
    """Return the deviate to ask for, 0 to ``deviate``: one that a good model falls short of on so few rows one in 40.

    The correlation of two vectors of which one was shuffled has the variance ``1 / (rows - 1)``.
    """
    return min(deviate, max(_ROUNDING, _GOOD * math.sqrt(max(rows - 1, 0)) - _ONE_IN_40))


# --- Figures ---------------------------------------------------------------------------------------------------------


def _of_classes(task: Task, metric: PairedMetric, score: float, config: Any) -> Standing:
    """Compare classes with constant ones, with shuffled ones and with other orders."""
    predictions, labels = metric.predictions().astype(np.int64), metric.labels().astype(np.int64)
    ids, classes = model_label_ids(task, config), int(config.num_labels)
    names = dict(zip(ids, task.label_names, strict=True))
    rows = {k: int(np.sum(labels == k)) for k in ids}
    constants = {k: _score(metric, np.full_like(labels, k), labels) for k in ids}
    best = max(ids, key=lambda k: (constants[k], rows[k]))
    counts = _confusion(predictions, labels, classes)
    plain = Standing(
        score, len(labels), constants[best], names[best], len(labels) - max(rows.values()), _agreement(counts)
    )
    stands_for = _best_order(counts)
    reread = stands_for[predictions]
    reordered = _score(metric, reread, labels)
    if reordered <= max(score, constants[best]) + _ROUNDING:
        return plain
    if _agreement(_confusion(reread, labels, classes)) < _expected(len(labels), _ONE_IN_100):
        return plain
    order = tuple(names.get(int(k), str(k)) for k in stands_for)
    return replace(plain, order=order, reordered=reordered, order_deviate=_gain(predictions, reread, labels))


def _score(metric: PairedMetric, predictions: Array, labels: Array) -> float:
    return float(metric.scores(predictions, labels, np.ones((1, len(labels))))[0])


def _gain(before: Array, after: Array, labels: Array) -> float:
    """Return by how many standard deviations more rows are right after than before (McNemar's test)."""
    gained = int(np.sum((after == labels) & (before != labels)))
    lost = int(np.sum((after != labels) & (before == labels)))
    return (gained - lost) / math.sqrt(max(gained + lost, 1))


def _confusion(predictions: Array, labels: Array, classes: int) -> Array:
    """Return how often each class was answered to each label, float64 ``(predicted, true)``."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predictions, labels), 1)
    return counts


def _best_order(counts: Array) -> Array:
    """Return the class that each predicted class had to stand for to be right most often, (classes,)."""
    order: Array = optimize.linear_sum_assignment(counts, maximize=True)[1]
    return order


def _agreement(counts: Array) -> float:
    """Return by how many standard deviations predictions and labels agree more than shuffled ones do.

    Of n rows with a_k predictions and b_k labels of class k, shuffled ones agree on ``sum a_k b_k / n`` on average;
    the variance is the trace of the product of the two centred matrices ``diag(a) - a a' / n``, over n - 1. For two
    classes this is Matthews's coefficient times ``sqrt(n - 1)``.
    """
    n, predicted, true = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    both = predicted * true
    variance = (both.sum() - (both * (predicted + true)).sum() / n + (both.sum() / n) ** 2) / max(n - 1, 1)
    if variance <= _ROUNDING:  # all predictions or all labels are of one class
        return 0.0
    return float((np.trace(counts) - both.sum() / n) / math.sqrt(variance))


def _of_answers(metric: Squad, score: float) -> Standing:
    """Compare answers with giving none to any question, which is right where there is none."""
    answerable = metric.answerable()
    rows, others = len(answerable), int(answerable.sum())
    constant = 100 * (1 - others / rows)
    gains = metric.predictions().astype(np.float64) - ~answerable  # (questions,), over answering nothing
    bad_luck = bool(0 < gains.std() > -gains.mean() * math.sqrt(rows) / _ONE_IN_20)
    known = score > constant + _ROUNDING or bad_luck
    return Standing(score, rows, constant, "no answer", others, math.inf if known else -math.inf)


# --- Words -----------------------------------------------------------------------------------------------------------


def _comparison(standing: Standing, title: str) -> str:
    """Return what the score is no better than."""
    if _is_turned(standing):
        return "the opposite of what the labels say"
    if _is_correlation(standing, title):
        return "no better than chance"
    if not _beats_constant(standing):
        return f"no better than always answering '{standing.answer}' ({standing.constant:.4f})"
    if standing.order:
        return "less than in another order of the labels"
    return "no more than chance may give"


def _cause(task: Task, standing: Standing) -> str:
    """Return what is likely to be wrong, with its cure."""
    if standing.order and standing.order_deviate > _ONE_IN_20:
        ids = ",".join(standing.order)
        return (
            f"its labels seem to be in another order: with the checkpoint's ids read as {', '.join(standing.order)} it "
            f"would be {standing.reordered:.4f}, so give --labels {ids}"
        )
    if _is_turned(standing):
        return "check the sign of the model's score: higher has to mean more alike"
    if standing.others < FEWEST_OTHERS:
        return f"all but {standing.others} of the examples are of one kind, so evaluate on more"
    order = "the order of its labels, " if task.kind == "classification" else ""
    return f"check that the checkpoint was fine-tuned for {task.name}, {order}and that its tokenizer's casing is right"
