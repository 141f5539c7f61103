"""SQuAD's files as they really are, and every way they can be wrong."""

from __future__ import annotations

import json

import pytest

from ilit.errors import DataError
from ilit_bert.tasks.squad.read import Question, read_questions
from ilit_bert.tasks.table import find_task

V1, V2 = find_task("squad"), find_task("squad2")
CONTEXT = "A king was born in Normandy. He was old."


def qa(**changes):
    """An entry of ``qas``."""
    return {"id": "q1", "question": "Who?", "answers": [{"text": "king", "answer_start": 2}], **changes}


def content(*qas, context=CONTEXT):
    """A file of one paragraph."""
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def write(folder, data, task=V1, split="dev"):
    """Write a split's file."""
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / task.file(split)).write_text(text, encoding="utf-8")
    return folder


def test_reads_v1(tmp_path):
    """A v1.1 file gives its questions in order, with every answer and where it starts."""
    second = qa(
        id="q2", answers=[{"text": "Normandy", "answer_start": 19}, {"text": "in Normandy", "answer_start": 16}]
    )
    assert read_questions(V1, write(tmp_path, content(qa(), second)), "dev") == [
        Question("q1", "Who?", CONTEXT, ("king",), (2,)),
        Question("q2", "Who?", CONTEXT, ("Normandy", "in Normandy"), (19, 16)),
    ]


def test_reads_v2(tmp_path):
    """A v2.0 file's impossible questions have no answers, plausible ones left aside."""
    impossible = qa(id="q2", is_impossible=True, answers=[], plausible_answers=[{"text": "A", "answer_start": 0}])
    questions = read_questions(V2, write(tmp_path, content(qa(is_impossible=False), impossible), V2), "dev")
    assert [q.answers for q in questions] == [("king",), ()]


BROKEN = [
    ("no json", V1, "{", "dev-v1.1.json: is no JSON"),
    ("a list", V1, [1], "dev-v1.1.json: is a list, not an object with 'data'"),
    ("no data", V1, {"version": "1.1"}, "dev-v1.1.json: data: is missing; the object has version"),
    ("data no list", V1, {"data": {}}, "dev-v1.1.json: data: is a dict, not a list"),
    ("no questions", V1, {"data": []}, "dev-v1.1.json: data holds no questions"),
    ("no paragraphs", V1, {"data": [{"title": "t"}]}, "data[0].paragraphs: is missing; the object has title"),
    ("no id", V1, content({"question": "Who?", "answers": []}), "data[0].paragraphs[0].qas[0].id: is missing"),
    ("id a number", V1, content(qa(id=3)), "data[0].paragraphs[0].qas[0].id: is a int, not a str"),
    ("id twice", V1, content(qa(), qa()), "data[0].paragraphs[0].qas[1].id: 'q1' is there twice"),
    ("no answer in v1", V1, content(qa(answers=[])), "qas[0]: has no answer, which only SQuAD-v2.0 allows"),
    ("v2 file as v1", V1, content(qa(is_impossible=True)), "use the task SQuAD-v2.0"),
    ("flag a word", V2, content(qa(is_impossible="no")), "qas[0].is_impossible: is a str, not a bool"),
    ("answer without text", V1, content(qa(answers=[{"answer_start": 0}])), "qas[0].answers[0].text: is missing"),
    ("answer outside", V1, content(qa(answers=[{"text": "king", "answer_start": 38}])),
     "qas[0].answers[0].answer_start: 38 puts the answer outside its context of 40 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "data", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_refuses_a_broken_file(tmp_path, task, data, message):
    """What is wrong is said in one line with the place in the file."""
    with pytest.raises(DataError) as caught:
        read_questions(task, write(tmp_path, data, task), "dev")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_training_split_is_said(tmp_path):
    """Without a training split there is nothing to calibrate on, and the message says that."""
    with pytest.raises(DataError, match=r"train-v1\.1\.json: is missing \(calibration takes"):
        read_questions(V1, write(tmp_path, content(qa())), "train")
