"""Read and validate the questions in SQuAD's JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilit.errors import DataError
from ilit_bert.tasks.files import split_file
from ilit_bert.tasks.table import Split, Task


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
