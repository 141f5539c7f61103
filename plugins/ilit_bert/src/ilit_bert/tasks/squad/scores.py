"""Score answers as SQuAD's evaluation scripts do."""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit_bert.tasks.squad.answers import Answer
from ilit_bert.tasks.squad.read import Question
from ilit_bert.tasks.table import Task

Array = NDArray[Any]


def normalize_answer(text: str) -> str:
    """Lowercase an answer and remove ASCII punctuation, English articles and superfluous white space."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_match(answer: str, gold: str) -> float:
    """Return 1 where both are the same once normalized, else 0."""
    return float(normalize_answer(answer) == normalize_answer(gold))


def token_f1(answer: str, gold: str) -> float:
    """Return the harmonic mean of precision and recall of the answer's words; 1 where both have none."""
    said, wanted = normalize_answer(answer).split(), normalize_answer(gold).split()
    if not said or not wanted:
        return float(said == wanted)
    common = sum((collections.Counter(said) & collections.Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


@dataclass(frozen=True)
class AnswerScore:
    """The scores of the answer to one question.

    Attributes:
        has_answer: the question can be answered.
        odds: the answer's ``null_odds``.
        exact: the best exact match of the span with any answer that counts, 0 or 1.
        f1: the best ``token_f1`` likewise, 0 to 1.
    """

    has_answer: bool
    odds: float
    exact: float
    f1: float


def score_answer(question: Question, answer: Answer, task: Task) -> AnswerScore:
    """Score an answer by those that count."""
    golds = _golds(question, task)
    exact, overlap = (max(score(answer.text, gold) for gold in golds) for score in (exact_match, token_f1))
    return AnswerScore(has_answer(question, task), answer.null_odds, exact, overlap)


def has_answer(question: Question, task: Task) -> bool:
    """Return whether a question counts as one that can be answered."""
    return _golds(question, task) != [""]


def in_group(answerable: bool, metric: str) -> bool:
    """Return whether a metric is about questions of this kind: ``HasAns_f1`` is about those that have an answer."""
    return not metric.startswith("NoAns" if answerable else "HasAns")


def question_scores(scores: Sequence[AnswerScore], metric: str, task: Task, null_threshold: float = 0.0) -> Array:
    """Return the score of each question that the metric is about, 0 to 1; their mean is the metric.

    v1.1 takes the spans. v2.0 takes "no answer" where the odds exceed ``null_threshold``, and ``best_exact`` and
    ``best_f1`` at the threshold that is best for them. All thresholds are tried, also those above
    ``null_threshold``, so a model that says "no answer" too readily loses nothing by it.
    """
    about = [one for one in scores if in_group(one.has_answer, metric)]
    spans = np.asarray([one.exact if metric.endswith("exact") else one.f1 for one in about], np.float64)
    if not task.unanswerable:
        return spans
    answerable = np.asarray([one.has_answer for one in about], dtype=bool)
    odds = np.asarray([one.odds for one in about], np.float64)
    if not metric.startswith("best"):
        return np.where(odds > null_threshold, ~answerable, spans)
    # Questions are answered from the least odds up, one more each time; the best number of them is taken.
    order = np.argsort(odds, kind="stable")
    gains = np.where(answerable, spans, spans - 1)[order]
    answered = np.empty(len(about), bool)
    answered[order] = np.arange(len(about)) < np.argmax(np.concatenate([[0.0], np.cumsum(gains)]))
    return np.where(answered, spans, ~answerable)


def official_scores(
    questions: Sequence[Question], answers: Mapping[int, Answer], task: Task, null_threshold: float = 0.0
) -> dict[str, float]:
    """Score the answered questions, in percent, by all of the task's metrics.

    v1.1 gives ``exact`` and ``f1``; v2.0 besides both figures over the questions that have an answer
    (``HasAns_exact``, ...; left out where there are none) and those that have none (``NoAns_exact``, ...), and
    ``best_exact`` and ``best_f1``. See ``question_scores``.
    """
    answered = [score_answer(questions[index], answers[index], task) for index in sorted(answers)]
    scores = {metric: question_scores(answered, metric, task, null_threshold) for metric in task.metrics}
    return {metric: 100 * float(values.mean()) for metric, values in scores.items() if len(values)}


def _golds(question: Question, task: Task) -> list[str]:
    """Return the answers that count: in v2.0 those that are not empty once normalized."""
    golds = [text for text in question.answers if normalize_answer(text) or not task.unanswerable]
    return golds or [""]
