"""SQuAD v1.1 and v2.0: questions from JSON, windows over long contexts, answers from logits, official scores."""

from __future__ import annotations

import collections
import json
import re
import string
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.errors import ConfigError, DataError
from ilit_bert.tasks import Split, Task
from ilit_bert.tasks.glue import split_file
from ilit_bert.tokenizer import fitting_length

Array = NDArray[Any]

_SPECIAL_TOKENS = 4  # RoBERTa's pairs have the most


@dataclass(frozen=True)
class Question:
    """One question about one paragraph.

    Attributes:
        id: SQuAD's own id.
        question: its text.
        context: the paragraph.
        answers: the answers people gave; empty where the question cannot be answered.
        starts: where each answer starts in ``context``, in characters.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class WindowSize:
    """How a question and a context longer than the model takes are cut.

    Attributes:
        max_length: tokens of a window, question and special tokens included.
        doc_stride: tokens of the context that neighbouring windows share.
        question_length: tokens a question is cut to.
    """

    max_length: int = 384
    doc_stride: int = 128
    question_length: int = 64

    def __post_init__(self) -> None:
        room = self.max_length - self.question_length - _SPECIAL_TOKENS
        if not 0 <= self.doc_stride < room:
            raise ConfigError(
                f"max length {self.max_length}: leaves {room} context tokens beside a question of up to "
                f"{self.question_length}, so windows cannot share {self.doc_stride}; raise the max length or lower "
                "the doc stride"
            )

    @classmethod
    def for_model(cls, model: Any, tokenizer: Any, max_length: int | None = None) -> WindowSize:
        """Return windows of ``max_length`` tokens, or for None the smaller of 384 and the model's limit.

        Neighbours share 128 context tokens, or half of their context where that is less.

        Raises:
            ConfigError: the model does not take as many tokens, or they leave no room for a context.
        """
        length = fitting_length(model, tokenizer, max_length, cls.max_length)
        room = length - cls.question_length - _SPECIAL_TOKENS
        return cls(length, max(0, min(cls.doc_stride, room // 2)), cls.question_length)


@dataclass(frozen=True, eq=False)
class Window:
    """What the model reads of one question: the question and a piece of its context.

    Attributes:
        question: index of the question.
        input_ids: token ids, int64 ``(tokens,)``, without padding.
        token_type_ids: 0 for the question, 1 for the context, int64 ``(tokens,)``.
        offsets: first and one past the last character in the context, int64 ``(tokens, 2)``; -1 for tokens that are
            not of the context.
        null: position whose logits speak for "no answer": the classification token.
    """

    question: int
    input_ids: Array
    token_type_ids: Array
    offsets: Array
    null: int

    @property
    def checksum(self) -> int:
        """CRC-32 of the token ids, to notice windows that were cut differently."""
        return zlib.crc32(np.ascontiguousarray(self.input_ids, dtype="<i8").tobytes())


@dataclass(frozen=True)
class Answer:
    """What the model says.

    Attributes:
        text: the best span, empty only where no span is allowed.
        null_odds: the logits of "no answer" (the least over the question's windows) minus those of the best span.
    """

    text: str
    null_odds: float


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_questions(task: Task, data_dir: str | Path, split: Split) -> list[Question]:
    """Read one split of SQuAD, in the file's order.

    Raises:
        DataError: the file is missing or no JSON; a field is missing or of the wrong type, an id is there twice, or a
            question without answers is in v1.1. Names the place in the file, such as ``data[0].paragraphs[3]``.
    """
    path = split_file(task, data_dir, split)
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: is no JSON ({error}); fetch {task.file(split)} again") from error
    questions: dict[str, Question] = {}
    for entry, context, where in _entries(content, path):
        question = _question(entry, context, task, where)
        if question.id in questions:
            raise DataError(f"{where}.id: '{question.id}' is there twice; each question needs an id of its own")
        questions[question.id] = question
    if not questions:
        raise DataError(f"{path}: data holds no questions; fetch {task.file(split)} again")
    return list(questions.values())


def _entries(content: Any, path: Path) -> Iterator[tuple[Any, str, str]]:
    """Yield each entry of ``qas`` with its context and place."""
    for i, article in enumerate(_field(content, "data", list, f"{path}")):
        at = f"{path}: data[{i}]"
        for j, paragraph in enumerate(_field(article, "paragraphs", list, at)):
            here = f"{at}.paragraphs[{j}]"
            context = _field(paragraph, "context", str, here)
            for k, entry in enumerate(_field(paragraph, "qas", list, here)):
                yield entry, context, f"{here}.qas[{k}]"


def _question(entry: Any, context: str, task: Task, where: str) -> Question:
    """Read one entry of ``qas``."""
    name = _field(entry, "id", str, where)
    text = _field(entry, "question", str, where)
    impossible = "is_impossible" in entry and _field(entry, "is_impossible", bool, where)
    given = _field(entry, "answers", list, where)
    if not task.unanswerable and (impossible or not given):
        raise DataError(f"{where}: has no answer, which only SQuAD-v2.0 allows; use the task SQuAD-v2.0")
    if impossible:
        return Question(name, text, context)
    places = [f"{where}.answers[{n}]" for n in range(len(given))]
    answers = tuple(_field(answer, "text", str, at) for answer, at in zip(given, places, strict=True))
    starts = tuple(_field(answer, "answer_start", int, at) for answer, at in zip(given, places, strict=True))
    for answer, start, at in zip(answers, starts, places, strict=True):
        if not 0 <= start <= len(context) - len(answer):
            raise DataError(
                f"{at}.answer_start: {start} puts the answer outside its context of {len(context)} characters"
            )
    return Question(name, text, context, answers, starts)


def _field(holder: Any, key: str, kind: type, where: str) -> Any:
    """Return ``holder[key]``, an instance of ``kind``."""
    place = f"{where}.{key}" if ": " in where else f"{where}: {key}"
    if not isinstance(holder, Mapping):
        raise DataError(f"{where}: is a {type(holder).__name__}, not an object with '{key}'; it is no SQuAD file")
    if key not in holder:
        raise DataError(f"{place}: is missing; the object has {', '.join(map(str, holder)) or 'nothing'}")
    if not isinstance(holder[key], kind):
        raise DataError(f"{place}: is a {type(holder[key]).__name__}, not a {kind.__name__}; it is no SQuAD file")
    return holder[key]


# --- Windows ---------------------------------------------------------------------------------------------------------


def cut_windows(questions: Sequence[Question], tokenizer: Any, size: WindowSize) -> list[Window]:
    """Cut each question and its context into windows that overlap by ``doc_stride`` context tokens.

    Windows are in the questions' order, a question's own from left to right. ``tokenizer`` is a fast one.
    """
    windows: list[Window] = []
    for first in range(0, len(questions), 1000):  # so that memory stays flat however large the file
        chunk = questions[first : first + 1000]
        encoded = tokenizer(
            _cut_questions([q.question.lstrip() for q in chunk], tokenizer, size.question_length),
            [q.context for q in chunk],
            truncation="only_second",
            max_length=size.max_length,
            stride=size.doc_stride,
            padding=False,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        for index, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            windows.append(_window(encoded, index, first + owner, tokenizer))
    return windows


def _cut_questions(texts: Sequence[str], tokenizer: Any, length: int) -> list[str]:
    """Return each text, cut behind its token number ``length``."""
    spans = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    pairs = zip(texts, spans, strict=True)
    return [text if len(span) <= length else text[: span[length - 1][1]] for text, span in pairs]


def _window(encoded: Any, index: int, question: int, tokenizer: Any) -> Window:
    """Take one window out of the tokenizer's answer."""
    ids = np.asarray(encoded["input_ids"][index], dtype=np.int64)
    offsets = np.asarray(encoded["offset_mapping"][index], dtype=np.int64)  # (tokens, 2)
    of_context = np.asarray([part == 1 for part in encoded.sequence_ids(index)])
    offsets[~of_context] = -1
    types = np.asarray(encoded["token_type_ids"][index], dtype=np.int64)
    return Window(question, ids, types, offsets, int(np.argmax(ids == tokenizer.cls_token_id)))


def span_positions(window: Window, question: Question) -> tuple[int, int]:
    """Return the token positions where the question's first answer starts and ends in the window, to train on.

    Both are ``window.null`` where there is no answer or the window does not hold all of it.
    """
    if not question.answers:
        return window.null, window.null
    first, last = question.starts[0], question.starts[0] + len(question.answers[0])
    starts, ends = window.offsets[:, 0], window.offsets[:, 1]
    inside = np.flatnonzero((starts >= 0) & (ends > first) & (starts < last))
    if not len(inside) or starts[inside[0]] > first or ends[inside[-1]] < last:
        return window.null, window.null
    return int(inside[0]), int(inside[-1])


# --- Answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WindowAnswer:
    """What the model says of one window.

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
        n_best: starts and ends looked at.
        max_answer_length: in tokens.
    """
    start, end = (logits[: len(window.input_ids)].astype(np.float64) for logits in (start, end))
    found = _best_span(window, start, end, n_best, max_answer_length)
    null = float(start[window.null] + end[window.null])
    return WindowAnswer(null, found[0], context[slice(*found[1])]) if found else WindowAnswer(null, None, "")


def best_answer(found: Sequence[WindowAnswer]) -> Answer:
    """Return the answer to a question: the best span of its windows, given in their order; of equals the first."""
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


# --- Scores, as in SQuAD's evaluation scripts ------------------------------------------------------------------------


def normalized(text: str) -> str:
    """Return an answer in lower case, without ASCII punctuation, English articles and superfluous white space."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_match(answer: str, gold: str) -> float:
    """Return 1 where both are the same once normalized, else 0."""
    return float(normalized(answer) == normalized(gold))


def token_f1(answer: str, gold: str) -> float:
    """Return the harmonic mean of precision and recall of the answer's words; 1 where both have none."""
    said, wanted = normalized(answer).split(), normalized(gold).split()
    if not said or not wanted:
        return float(said == wanted)
    common = sum((collections.Counter(said) & collections.Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


@dataclass(frozen=True)
class Judgement:
    """How good the answer to one question is.

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


def judged(question: Question, answer: Answer, task: Task) -> Judgement:
    """Compare an answer with those that count."""
    golds = _golds(question, task)
    exact, overlap = (max(score(answer.text, gold) for gold in golds) for score in (exact_match, token_f1))
    return Judgement(has_answer(question, task), answer.null_odds, exact, overlap)


def has_answer(question: Question, task: Task) -> bool:
    """Return whether a question counts as one that can be answered."""
    return _golds(question, task) != [""]


def in_group(answerable: bool, metric: str) -> bool:
    """Return whether a metric is about questions of this kind: ``HasAns_f1`` is about those that have an answer."""
    return not metric.startswith("NoAns" if answerable else "HasAns")


def question_scores(judgements: Sequence[Judgement], metric: str, task: Task, null_threshold: float = 0.0) -> Array:
    """Return what each question that the metric is about adds to it, 0 to 1; their mean is the metric.

    v1.1 takes the spans. v2.0 takes "no answer" where the odds exceed ``null_threshold``, and ``best_exact`` and
    ``best_f1`` at the threshold that is best for them. All thresholds are tried, also those above
    ``null_threshold``, so a model that says "no answer" too readily loses nothing by it.
    """
    about = [one for one in judgements if in_group(one.has_answer, metric)]
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
    judgements = [judged(questions[index], answers[index], task) for index in sorted(answers)]
    scores = {metric: question_scores(judgements, metric, task, null_threshold) for metric in task.metrics}
    return {metric: 100 * float(values.mean()) for metric, values in scores.items() if len(values)}


def _golds(question: Question, task: Task) -> list[str]:
    """Return the answers that count: v2.0 takes those of which normalizing leaves something."""
    golds = [text for text in question.answers if normalized(text) or not task.unanswerable]
    return golds or [""]
