"""Find the best answer to each question in the start and end logits of its windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit_bert.tasks.squad.read import Question
from ilit_bert.tasks.squad.windows import Window

Array = NDArray[Any]


@dataclass(frozen=True)
class Answer:
    """The model's answer to one question.

    Attributes:
        text: the best span, empty only where no span is allowed.
        null_odds: the logits of "no answer" (the least over the question's windows) minus those of the best span.
    """

    text: str
    null_odds: float


@dataclass(frozen=True)
class WindowAnswer:
    """The model's answer in one window.

    Attributes:
        null: the logits of "no answer".
        score: the logits of the best span; None where no span is allowed.
        text: the best span; empty where there is none.
    """

    null: float
    score: float | None
    text: str


def answer_in(
    window: Window, context: str, start: Array, end: Array, n_best: int = 20, max_answer_length: int = 30
) -> WindowAnswer:
    """Return the best answer in one window.

    The ``n_best`` likeliest starts and ends are paired; a pair is a span where both lie in the context, the end is not
    before the start and the span has at most ``max_answer_length`` tokens.

    Args:
        window: the window.
        context: its question's.
        start: logits ``(tokens of the window or more,)``; those beyond the window's tokens are padding.
        end: likewise.
        n_best: number of starts and of ends to pair.
        max_answer_length: in tokens.
    """
    start, end = (logits[: len(window.input_ids)].astype(np.float64) for logits in (start, end))
    found = _best_span(window, start, end, n_best, max_answer_length)
    null = float(start[window.null] + end[window.null])
    return WindowAnswer(null, found[0], context[slice(*found[1])]) if found else WindowAnswer(null, None, "")


def best_answer(found: Sequence[WindowAnswer]) -> Answer:
    """Return the best answer of a question's windows, given in their order; of equals the first."""
    spans = [(one.score, one.text) for one in found if one.score is not None]
    score, text = max(spans, key=lambda span: span[0]) if spans else (0.0, "")
    return Answer(text, min(one.null for one in found) - score)


def best_answers(
    questions: Sequence[Question],
    windows: Sequence[Window],
    logits: Mapping[int, tuple[Array, Array]],
    n_best: int = 20,
    max_answer_length: int = 30,
) -> dict[int, Answer]:
    """Return the best answer to each question of which at least one window was seen, by question index.

    Args:
        questions: all questions.
        windows: all windows.
        logits: window index -> start and end logits, as ``answer_in`` takes them.
        n_best: as in ``answer_in``.
        max_answer_length: as in ``answer_in``.
    """
    found: dict[int, list[WindowAnswer]] = {}
    for index in sorted(logits):
        window = windows[index]
        answer = answer_in(window, questions[window.question].context, *logits[index], n_best, max_answer_length)
        found.setdefault(window.question, []).append(answer)
    return {owner: best_answer(answers) for owner, answers in found.items()}


def _best_span(
    window: Window, start: Array, end: Array, n_best: int, max_answer_length: int
) -> tuple[float, tuple[int, int]] | None:
    """Return the best span's logits and its characters in the context, or None where there is no span."""
    starts = np.argsort(-start, kind="stable")[:n_best]
    ends = np.argsort(-end, kind="stable")[:n_best]
    starts = starts[window.offsets[starts, 0] >= 0]
    ends = ends[window.offsets[ends, 0] >= 0]
    length = ends[None, :] - starts[:, None] + 1  # (starts, ends)
    scores = np.where((length >= 1) & (length <= max_answer_length), start[starts][:, None] + end[ends], -np.inf)
    if not scores.size or scores.max() == -np.inf:
        return None
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    first, last = window.offsets[starts[row], 0], window.offsets[ends[column], 1]
    return float(scores[row, column]), (int(first), int(last))
