"""The figures of SQuAD's evaluation scripts."""

from __future__ import annotations

import numpy as np
import pytest

from ilit_bert.checkpoints.tokenizer import load_tokenizer
from ilit_bert.tasks.squad.answers import Answer, best_answers
from ilit_bert.tasks.squad.read import Question, read_questions
from ilit_bert.tasks.squad.scores import exact_match, normalize_answer, official_scores, token_f1
from ilit_bert.tasks.squad.windows import WindowSize, cut_windows, span_positions
from ilit_bert.tasks.table import find_task

V1, V2 = find_task("squad"), find_task("squad2")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Normans.", "normans"),
        ("an apple, a day", "apple day"),
        ("U.S.-based", "usbased"),
        ("theatre", "theatre"),
        ("the", ""),
        ("§ 5", "§ 5"),
    ],
)
def test_normalized(text, plain):
    """Case, ASCII punctuation, articles and white space do not count."""
    assert normalize_answer(text) == plain


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("The king", "king", 1, 1),
        ("king of Normandy", "the king", 0, 0.5),
        ("old old king", "old king king", 0, 2 / 3),
        ("ran", "king", 0, 0),
        ("", "king", 0, 0),
        ("king", "", 0, 0),
        ("", "", 1, 1),
    ],
)
def test_exact_and_f1(answer, gold, exact, f1):
    """Exact match and word F1 are those of SQuAD's script."""
    assert exact_match(answer, gold) == exact
    assert token_f1(answer, gold) == pytest.approx(f1)


def test_scores_of_v1():
    """The best of several gold answers counts; figures are percents over the questions answered."""
    questions = [
        Question("a", "", "", ("king", "old king")),
        Question("b", "", "", ("Normandy",)),
        Question("c", "", "", ("unseen",)),
    ]
    answers = {0: Answer("the old king", 99.0), 1: Answer("in Normandy", -9.0)}
    scores = official_scores(questions, answers, V1)
    assert scores == pytest.approx({"exact": 50.0, "f1": 100 * (1 + 2 / 3) / 2})


# has answer, gold, answer, null odds: scored at threshold 0 and over all thresholds by hand
FOUR = [
    (("king",), "king", -5.0),
    (("old king",), "king", 1.0),
    ((), "ran", 2.0),
    ((), "bad", -1.0),
]


def test_scores_of_v2():
    """At threshold 0 two questions get 'no answer'; the best threshold for F1 lies above 0, for exact below -1."""
    questions = [Question(str(i), "", "", gold) for i, (gold, _, _) in enumerate(FOUR)]
    answers = {i: Answer(text, odds) for i, (_, text, odds) in enumerate(FOUR)}
    assert official_scores(questions, answers, V2) == pytest.approx(
        {
            "exact": 50.0, "f1": 50.0,
            "HasAns_exact": 50.0, "HasAns_f1": 50.0, "NoAns_exact": 50.0, "NoAns_f1": 50.0,
            "best_exact": 75.0, "best_f1": 75.0,
        }
    )  # fmt: skip
    better = {**answers, 3: Answer("bad", 1.5)}
    scores = official_scores(questions, better, V2)
    assert scores["f1"] == pytest.approx(75.0)
    assert scores["best_f1"] == pytest.approx(100 * (2 + 1 + 2 / 3) / 4)
    assert official_scores(questions, better, V2, null_threshold=1.2)["f1"] == pytest.approx(scores["best_f1"])


def test_groups_without_questions_are_left_out():
    """With no unanswerable question there are no NoAns figures, and the other way round."""
    assert "NoAns_f1" not in official_scores([Question("a", "", "", ("x",))], {0: Answer("x", -1.0)}, V2)
    scores = official_scores([Question("a", "", "")], {0: Answer("x", 1.0)}, V2)
    assert "HasAns_f1" not in scores
    assert scores["f1"] == scores["best_f1"] == 100.0


@pytest.mark.parametrize("task", [V1, V2], ids=["v1.1", "v2.0"])
def test_real_files_by_an_oracle(shared, task):
    """On real text, logits that point at the answers' own tokens score 100, so no step in between loses anything."""
    questions = read_questions(task, shared / "squad", "dev")
    windows = cut_windows(questions, load_tokenizer(shared / "checkpoints/mrpc-minilm"), WindowSize())
    assert len(windows) > len(questions) == {V1: 880, V2: 1858}[task]
    given, peaks = {}, np.eye(384)
    for index, piece in enumerate(windows):
        start, end = span_positions(piece, questions[piece.question])
        given[index] = peaks[start], peaks[end]
    scores = official_scores(questions, best_answers(questions, windows, given), task)
    assert set(scores) == set(task.metrics)
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0))
