"""SQuAD's official metrics as a class that gathers windows batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilit.errors import ConfigError, DataError, EvaluationError
from ilit.metric_units import smallest
from ilit_bert.checkpoints.tokenizer import load_tokenizer
from ilit_bert.metrics.first_score import notify
from ilit_bert.tasks.squad.answers import WindowAnswer, answer_in, best_answer
from ilit_bert.tasks.squad.read import Question, read_questions
from ilit_bert.tasks.squad.scores import AnswerScore, has_answer, in_group, question_scores, score_answer
from ilit_bert.tasks.squad.windows import Window, WindowSize, cut_windows
from ilit_bert.tasks.table import find_task

Array = NDArray[Any]

_ROUNDING = 1e-10  # by which sums in another order may differ, in percent


class Squad:
    """An official metric of SQuAD, in percent.

    The labels say which window of which question a row is; the windows themselves are cut here once more, from the
    same file by the same tokenizer, and cached for the next evaluation. Of each window seen its best answer is stored.

    Units in the sense of ``PairedMetric`` are the questions that the metric is about, in the file's order. Those of
    ``best_exact`` and ``best_f1`` are scored at the threshold that is best for this model; pairing takes it as given.

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
    by_row: bool = False

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
        self._owners = np.asarray([window.question for window in self._windows], np.int64)  # (windows,)
        self._found: dict[int, dict[int, WindowAnswer]] = {}  # question -> window -> answer
        self._scored: dict[int, AnswerScore] = {}  # as far as no window was seen since
        self.share_of_right = self._metric.endswith("exact")

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
        _check_batch(start, end, keys)
        for (index, checksum), first, last in zip(keys.tolist(), start, end, strict=True):
            if not 0 <= index < len(self._windows) or self._windows[index].checksum != checksum:
                raise self._cut_differently(index)
            owner = self._windows[index].question
            context = self._questions[owner].context
            answer = answer_in(self._windows[index], context, first, last, *self._span_limits)
            self._found.setdefault(owner, {})[index] = answer
            self._scored.pop(owner, None)

    def result(self) -> float:
        """Return the metric over the questions of which a window was seen, in percent.

        Raises:
            EvaluationError: no window was seen, or no question of the kind the metric is about.
        """
        if not self._found:
            raise EvaluationError("squad: no window was seen; the evaluation data is empty")
        values = self._values(self._found)
        if not len(values):
            kind = "an answer" if self._metric.startswith("HasAns") else "no answer"
            raise EvaluationError(f"squad {self._metric}: no question seen has {kind}; evaluate on more questions")
        return notify(self, sum(map(len, self._found.values())), 100 * float(values.mean()))

    def answerable(self) -> NDArray[np.bool_]:
        """Return whether each question that ``predictions`` is about counts as one that has an answer, (questions,)."""
        kinds = [has_answer(self._questions[owner], self._task) for owner in sorted(self._found)]
        return np.asarray([kind for kind in kinds if in_group(kind, self._metric)], np.bool_)

    def predictions(self) -> Array:
        """Return each question's score, (questions,): uint8, 1 where right, for exact match, else float32, 0 to 1."""
        values = self._values(self._found)
        return values.astype(np.uint8) if self.share_of_right else smallest(values)

    def labels(self) -> Array:
        """Return ones where predictions are right or wrong, else float32 zeros, (questions,)."""
        count = len(self._values(self._found))
        return np.ones(count, np.uint8) if self.share_of_right else np.zeros(count, np.float32)

    def margins(self) -> NDArray[np.float32]:
        """Return an empty array: answers have no single margin."""
        return np.zeros(0, np.float32)

    def scores(self, predictions: Array, labels: Array, weights: Array) -> NDArray[np.float64]:
        """Return the mean score in percent for each row of weights."""
        values = predictions == labels if self.share_of_right else predictions - labels
        return np.asarray(100 * (weights @ values.astype(np.float64)) / weights.sum(axis=1), np.float64)

    def reachable(self, rest: Any) -> float | None:
        """Return the metric if every question of which a window is to come were answered perfectly.

        Exact for ``best_exact`` and ``best_f1`` too: no threshold spoils an answer that is right at every one.
        """
        indices = np.asarray(rest).reshape(-1, 2)[:, 0]
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self._windows):
            raise self._cut_differently(int(indices.max()))
        pending = set(np.unique(self._owners[indices]).tolist())
        values = self._values([owner for owner in self._found if owner not in pending])
        perfect = sum(in_group(has_answer(self._questions[owner], self._task), self._metric) for owner in pending)
        if not len(values) + perfect:
            return None
        best = 100 * (float(values.sum()) + perfect) / (len(values) + perfect)
        return best if best >= 100 else best + _ROUNDING

    def _values(self, owners: Iterable[int]) -> Array:
        """Return the scores of the questions that the metric is about, 0 to 1."""
        answer_scores = [self._score(owner) for owner in sorted(owners)]
        return question_scores(answer_scores, self._metric, self._task, self._null_threshold)

    def _score(self, owner: int) -> AnswerScore:
        if owner not in self._scored:
            found = self._found[owner]
            answer = best_answer([found[index] for index in sorted(found)])
            self._scored[owner] = score_answer(self._questions[owner], answer, self._task)
        return self._scored[owner]

    def _cut_differently(self, index: int) -> DataError:
        return DataError(
            f"squad: window {index} was cut differently for the model than for the metric; give both the same "
            "data, tokenizer, max_length, doc_stride and question_length"
        )


@lru_cache(maxsize=2)
def _dev_windows(
    task: str, data_dir: str, tokenizer: str, size: WindowSize
) -> tuple[Sequence[Question], Sequence[Window]]:
    """Read and cut the dev split; cached, since a search evaluates on it again and again."""
    questions = tuple(read_questions(find_task(task), data_dir, "dev"))
    return questions, tuple(cut_windows(questions, load_tokenizer(tokenizer), size))


def _check_batch(start: Array, end: Array, keys: Array) -> None:
    """Check that logits and labels of a batch are finite and fit each other."""
    if keys.ndim != 2 or keys.shape[1] != 2 or start.shape != end.shape or len(start) != len(keys):
        raise DataError(
            f"squad: labels of shape {keys.shape} for outputs of shapes {start.shape} and {end.shape}; it takes a "
            "window's index and checksum a row, as ilit_bert's evaluation_loader yields them"
        )
    wrong = int((~(np.isfinite(start) & np.isfinite(end)).all(axis=1)).sum())
    if wrong:
        raise EvaluationError(
            f"squad: the model gave NaN or infinity for {wrong} of {len(start)} windows of a batch, which is no "
            "answer; mend the model, or leave such questions out"
        )


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
