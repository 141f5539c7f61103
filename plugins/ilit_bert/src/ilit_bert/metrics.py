"""GLUE's and SQuAD's official metrics: the formulas, and the classes that gather predictions batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef  # type: ignore[import-untyped]  # ships no types

from ilit.errors import ConfigError, DataError, EvaluationError
from ilit.metric import Metric
from ilit_bert.tasks import Task, find_task
from ilit_bert.tasks.glue import model_label_ids
from ilit_bert.tasks.squad import (
    Question,
    Window,
    WindowSize,
    best_answers,
    cut_windows,
    official_scores,
    read_questions,
)
from ilit_bert.tokenizer import load_tokenizer

Array = NDArray[Any]


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
    """Return ``measure``'s statistic, or say why there is none."""
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


class _RowMetric:
    """Gathers one prediction and one label a row; a subclass names itself and says what is done with them."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, score: Callable[[Array, Array], float], classes: bool, label: str = "") -> None:
        self._score = score
        self._classes = classes
        self._label = label or self.name
        self._predictions: list[Array] = []
        self._labels: list[Array] = []

    def update(self, outputs: Any, labels: Any) -> None:
        """Take one batch.

        Args:
            outputs: logits ``(rows, classes)``, or scores ``(rows,)`` or ``(rows, 1)`` where the metric is a
                correlation; as an array, the only item of a tuple, or ``logits`` of a mapping.
            labels: ``(rows,)``, class ids or scores.

        Raises:
            DataError: labels and outputs do not fit each other.
            EvaluationError: an output is not finite.
        """
        logits = np.asarray(_one_array(self._label, outputs), dtype=np.float64)
        truth = np.asarray(labels).reshape(-1)
        if not np.isfinite(logits).all():
            raise EvaluationError(f"{self._label}: the model gave NaN or infinity; check the model")
        if len(logits) != len(truth) or (not self._classes and logits.size != len(truth)):
            raise DataError(
                f"{self._label}: {len(truth)} labels for outputs of shape {logits.shape}; it takes one label a row"
                + ("" if self._classes else " and one score a row")
            )
        self._predictions.append(_classes(self._label, logits, truth) if self._classes else logits.reshape(-1))
        self._labels.append(truth)

    def result(self) -> float:
        """Return the metric over all rows seen.

        Raises:
            EvaluationError: no row was seen, or the metric is not defined on these rows.
        """
        if not sum(map(len, self._labels)):
            raise EvaluationError(f"{self._label}: no row was seen; the evaluation data is empty")
        return self._score(np.concatenate(self._predictions), np.concatenate(self._labels))


class AccAndF1(_RowMetric):
    """Mean of accuracy and F1 of the class ``positive``."""

    name: ClassVar[str] = "acc_and_f1"

    def __init__(self, positive: int = 1) -> None:
        super().__init__(partial(acc_and_f1, positive=positive), classes=True)


class Mcc(_RowMetric):
    """Matthews's correlation coefficient."""

    name: ClassVar[str] = "mcc"

    def __init__(self) -> None:
        super().__init__(mcc, classes=True)


class Pearson(_RowMetric):
    """Pearson's correlation."""

    name: ClassVar[str] = "pearson"

    def __init__(self) -> None:
        super().__init__(pearson, classes=False)


class Spearmanr(_RowMetric):
    """Spearman's rank correlation."""

    name: ClassVar[str] = "spearmanr"

    def __init__(self) -> None:
        super().__init__(spearmanr, classes=False)


class Corr(_RowMetric):
    """Mean of Pearson's and Spearman's correlation."""

    name: ClassVar[str] = "corr"

    def __init__(self) -> None:
        super().__init__(corr, classes=False)


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
        formula = chosen.metric_named(metric)
        scores: dict[str, Callable[[Array, Array], float]] = {
            "acc": accuracy,
            "f1": partial(f1, positive=positive),
            "acc_and_f1": partial(acc_and_f1, positive=positive),
            "mcc": mcc,
            "pearson": pearson,
            "spearmanr": spearmanr,
            "corr": corr,
        }
        super().__init__(scores[formula], chosen.kind == "classification", f"{formula} of {chosen.name}")
        self.title = formula


class Squad:
    """An official metric of SQuAD, in percent.

    The labels say which window of which question a row is; the windows themselves are cut here once more, from the
    same file by the same tokenizer, and kept for the next evaluation.

    Args:
        task: ``SQuAD-v1.1`` or ``SQuAD-v2.0``.
        data_dir: the folder with the task's dev file.
        tokenizer: checkpoint folder or Hub id of the tokenizer.
        metric: one of the task's metrics; by default the one it is tuned on.
        max_length: tokens of a window.
        doc_stride: context tokens that neighbouring windows share.
        question_length: tokens a question is cut to.
        n_best: starts and ends looked at per window.
        max_answer_length: tokens an answer may have.
        null_threshold: v2.0 takes "no answer" where its logits exceed the best span's by more than this.

    Raises:
        ConfigError: there is no such task or metric, or the windows are too short for their stride.
        DataError: the dev file is missing or damaged.
        ModelError: the tokenizer does not load.
    """

    name: ClassVar[str] = "squad"
    higher_is_better: ClassVar[bool] = True

    def __init__(
        self,
        task: str,
        data_dir: str,
        tokenizer: str,
        metric: str | None = None,
        max_length: int = WindowSize.max_length,
        doc_stride: int = WindowSize.doc_stride,
        question_length: int = WindowSize.question_length,
        n_best: int = 20,
        max_answer_length: int = 30,
        null_threshold: float = 0.0,
    ) -> None:
        self._task = find_task(task)
        if self._task.kind != "question_answering":
            raise ConfigError(f"metric squad: {self._task.name} is no SQuAD task; use the metric 'glue'")
        self._metric = self.title = self._task.metric_named(metric)
        size = WindowSize(max_length, doc_stride, question_length)
        self._questions, self._windows = _dev_windows(self._task.name, data_dir, tokenizer, size)
        self._span_limits = (n_best, max_answer_length)
        self._null_threshold = null_threshold
        self._logits: dict[int, tuple[Array, Array]] = {}

    def update(self, outputs: Any, labels: Any) -> None:
        """Take one batch of windows.

        Args:
            outputs: ``start_logits`` and ``end_logits`` by name or in this order, ``(windows, tokens)`` each, padded to
                the longest of the batch.
            labels: int64 ``(windows, 2)``: each window's index and the checksum of its token ids.

        Raises:
            DataError: outputs and labels do not fit each other, or the windows were cut differently.
            EvaluationError: an output is not finite.
        """
        start, end = _two_arrays(outputs)
        keys = np.asarray(labels)
        if keys.ndim != 2 or keys.shape[1] != 2 or start.shape != end.shape or len(start) != len(keys):
            raise DataError(
                f"squad: labels of shape {keys.shape} for outputs of shapes {start.shape} and {end.shape}; it takes a "
                "window's index and checksum a row, as ilit_bert's evaluation_loader yields them"
            )
        if not (np.isfinite(start).all() and np.isfinite(end).all()):
            raise EvaluationError("squad: the model gave NaN or infinity; check the model")
        for (index, checksum), *pair in zip(keys.tolist(), start, end, strict=True):
            if not 0 <= index < len(self._windows) or self._windows[index].checksum != checksum:
                raise DataError(
                    f"squad: window {index} was cut differently for the model than for the metric; give both the same "
                    "data, tokenizer, max_length, doc_stride and question_length"
                )
            tokens = len(self._windows[index].input_ids)
            self._logits[index] = pair[0][:tokens], pair[1][:tokens]

    def result(self) -> float:
        """Return the metric over the questions of which a window was seen, in percent.

        Raises:
            EvaluationError: no window was seen, or no question of the kind the metric is about.
        """
        scores = self.scores()
        if self._metric not in scores:
            kind = "an answer" if self._metric.startswith("HasAns") else "no answer"
            raise EvaluationError(f"squad {self._metric}: no question seen has {kind}; evaluate on more questions")
        return scores[self._metric]

    def scores(self) -> dict[str, float]:
        """Return all official figures over the questions of which a window was seen, in percent.

        Raises:
            EvaluationError: no window was seen.
        """
        if not self._logits:
            raise EvaluationError("squad: no window was seen; the evaluation data is empty")
        answers = best_answers(self._questions, self._windows, self._logits, *self._span_limits)
        return official_scores(self._questions, answers, self._task, self._null_threshold)


METRICS: tuple[type[Metric], ...] = (Glue, Squad, AccAndF1, Mcc, Pearson, Spearmanr, Corr)
"""What ilit-bert registers. Accuracy and F1 by themselves are ilit-pytorch's, so their names are left to it."""


def tuning_metric(
    task: Task,
    model: Any,
    tokenizer: Any,
    data_dir: str | Path,
    source: str | Path,
    metric: str | None = None,
    max_length: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return what ``tuning.metric`` of the configuration is to judge the model by: a metric's name and options.

    Args:
        task: from ``find_task``.
        model: the float32 model; its label order decides what F1's positive class is.
        tokenizer: from ``load_tokenizer``.
        data_dir: the folder with the task's files.
        source: checkpoint folder or Hub id that ``tokenizer`` is from.
        metric: one of the task's metrics; by default the one it is tuned on.
        max_length: as given to ``evaluation_loader``.

    Raises:
        ConfigError: the task has no such metric, or the model does not take ``max_length`` tokens.
        ModelError: the checkpoint's labels are another task's.
    """
    options: dict[str, Any] = {"task": task.name, "metric": task.metric_named(metric)}
    if task.kind == "question_answering":
        size = WindowSize.for_model(model, tokenizer, max_length)
        return {"squad": {**options, "data_dir": str(data_dir), "tokenizer": str(source), **asdict(size)}}
    if options["metric"] in ("f1", "acc_and_f1"):
        options["positive"] = model_label_ids(task, model.config)[1]
    return {"glue": options}


@lru_cache(maxsize=2)
def _dev_windows(
    task: str, data_dir: str, tokenizer: str, size: WindowSize
) -> tuple[Sequence[Question], Sequence[Window]]:
    """Read and cut the dev split; kept, since a search evaluates on it again and again."""
    questions = tuple(read_questions(find_task(task), data_dir, "dev"))
    return questions, tuple(cut_windows(questions, load_tokenizer(tokenizer), size))


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


def _two_arrays(outputs: Any) -> tuple[Array, Array]:
    """Return start and end logits among the model's outputs."""
    names = ("start_logits", "end_logits")
    if isinstance(outputs, Mapping) and all(name in outputs for name in names):
        pair = [outputs[name] for name in names]
    elif isinstance(outputs, tuple | list) and len(outputs) == 2:
        pair = list(outputs)
    else:
        got = ", ".join(map(str, outputs)) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise DataError(
            f"squad: the model's outputs are {got}, not start_logits and end_logits; use a model for question answering"
        )
    return np.asarray(pair[0]), np.asarray(pair[1])
