"""The best answers that logits allow."""

from __future__ import annotations

import numpy as np
import pytest

from ilit_bert.tasks.squad.answers import Answer, best_answers
from ilit_bert.tasks.squad.read import Question
from ilit_bert.tasks.squad.windows import Window


def window(question, words, context):
    """A window ``[CLS] ? [SEP] words [SEP]`` whose context tokens are ``words`` in ``context``."""
    spans, at = [], 0
    for word in words:
        at = context.index(word, at)
        spans.append((at, at + len(word)))
        at += len(word)
    offsets = np.array([(-1, -1)] * 3 + spans + [(-1, -1)])
    return Window(question, np.arange(len(offsets)), np.zeros(len(offsets), int), offsets, 0)


def logits(size, **peaks):
    """Logits that are low but at the positions named, such as ``p5=4``."""
    values = np.full(size, -9.0)
    for position, value in peaks.items():
        values[int(position[1:])] = value
    return values


TEXT = "He was old and bad"
ONE = window(0, TEXT.split(), TEXT)  # positions 3 to 7
QUESTION = Question("a", "how?", TEXT, ("old",), (7,))


@pytest.mark.parametrize(
    ("start", "end", "text", "odds"),
    [
        ({"p5": 5}, {"p5": 4}, "old", -18 - 9),
        ({"p5": 5}, {"p7": 4, "p5": 1}, "old and bad", -18 - 9),
        ({"p6": 5, "p5": 4}, {"p5": 5}, "old", -18 - 9),  # the likeliest pair ends before it starts
        ({"p1": 9, "p5": 5}, {"p1": 9, "p5": 4}, "old", -18 - 9),  # the question is no answer
        ({"p0": 7, "p5": 1}, {"p0": 8, "p5": 2}, "old", 15 - 3),
        ({"p9": 99, "p5": 1}, {"p9": 99, "p5": 2}, "old", -18 - 3),  # padding
    ],
    ids=["word", "span", "order", "question", "no answer", "padding"],
)
def test_best_span(start, end, text, odds):
    """The best allowed span of the window is the answer, whatever question, specials and padding score."""
    found = best_answers([QUESTION], [ONE], {0: (logits(12, **start), logits(12, **end))})
    assert found == {0: Answer(text, odds)}


def test_spans_have_a_longest_length():
    """A span of more tokens than max_answer_length is no candidate."""
    given = {0: (logits(9, p4=5), logits(9, p7=5, p5=4))}
    assert best_answers([QUESTION], [ONE], given)[0].text == "was old and bad"
    assert best_answers([QUESTION], [ONE], given, max_answer_length=3)[0].text == "was old"


def test_n_best_starts_and_ends_are_looked_at():
    """Beyond the n_best likeliest starts and ends there are no candidates; without any the answer is empty."""
    given = {0: (logits(9, p1=5, p4=4), logits(9, p2=5, p4=4))}
    assert best_answers([QUESTION], [ONE], given, n_best=2)[0].text == "was"
    assert best_answers([QUESTION], [ONE], given, n_best=1)[0] == Answer("", -18)


def test_windows_of_one_question_compete():
    """The best span wins over windows; no answer counts as the window least sure of it does; others are left out."""
    left, right = window(0, TEXT.split()[:3], TEXT), window(0, TEXT.split()[2:], TEXT)
    given = {
        1: (logits(8, p0=3, p5=6), logits(8, p0=3, p5=6)),
        0: (logits(8, p0=1, p4=2), logits(8, p0=2, p4=2)),
    }
    unseen = window(1, ["He"], TEXT)
    assert best_answers([QUESTION, QUESTION], [left, right, unseen], given) == {0: Answer("bad", 3 - 12)}
