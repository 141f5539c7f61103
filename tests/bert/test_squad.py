"""SQuAD from file to score: reading, windows, answers, the evaluation scripts' figures."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from ilit.errors import ConfigError, DataError
from ilit_bert.tasks import find_task
from ilit_bert.tasks.squad import (
    Answer,
    Question,
    Window,
    WindowSize,
    best_answers,
    cut_windows,
    exact_match,
    normalized,
    official_scores,
    read_questions,
    span_positions,
    token_f1,
)
from ilit_bert.tokenizer import load_tokenizer

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


# --- Windows ---------------------------------------------------------------------------------------------------------

LONG = " ".join(["He was old ."] * 10)  # 40 tokens


def test_a_short_context_is_one_window(tokenizer):
    """Question tokens have no offsets, context tokens have those of their characters."""
    (window,) = cut_windows([Question("q", "who was king?", CONTEXT)], tokenizer, WindowSize(40, 4, 10))
    assert tokenizer.convert_ids_to_tokens(window.input_ids.tolist())[:6] == [
        "[CLS]",
        "who",
        "was",
        "king",
        "?",
        "[SEP]",
    ]
    assert (window.offsets[:6] == -1).all()
    assert (window.offsets[-1] == -1).all()
    assert [CONTEXT[a:b] for a, b in window.offsets[6:-1]] == CONTEXT.replace(".", " .").split()
    assert window.token_type_ids.tolist() == [0] * 6 + [1] * (len(window.input_ids) - 6)
    assert window.null == 0


def test_a_long_context_is_cut_with_overlap(tokenizer):
    """Windows hold at most max_length tokens, share doc_stride context tokens and together hold the context."""
    questions = [Question("a", "who?", "He ran."), Question("b", "who was he?", LONG)]
    windows = cut_windows(questions, tokenizer, WindowSize(24, 5, 8))
    assert [window.question for window in windows] == [0, 1, 1, 1]
    assert all(len(window.input_ids) <= 24 for window in windows)
    starts = [[a for a in window.offsets[:, 0].tolist() if a >= 0] for window in windows[1:]]
    for left, right in itertools.pairwise(starts):
        assert left[-5:] == right[:5]
    words = [at for at in range(len(LONG)) if LONG[at] != " " and LONG[at - 1 : at] in ("", " ")]
    assert sorted({start for some in starts for start in some}) == words


def test_a_long_question_is_cut(tokenizer):
    """A question keeps its first question_length tokens; leading blanks count for nothing."""
    (window,) = cut_windows([Question("a", "  who was he not ?", "He ran.")], tokenizer, WindowSize(24, 5, 3))
    assert tokenizer.decode(window.input_ids[:5]).split() == ["[CLS]", "who", "was", "he", "[SEP]"]


def test_windows_need_room():
    """A window too short for question and stride is refused with the cure."""
    with pytest.raises(
        ConfigError,
        match=r"max length 128: leaves 60 context tokens beside a question of up to 64, .* "
        "raise the max length or lower the doc stride",
    ):
        WindowSize(128)


@pytest.mark.parametrize(
    ("positions", "wanted", "size"),
    [(512, None, (384, 128)), (512, 128, (128, 30)), (256, None, (256, 94)), (512, 512, (512, 128))],
)
def test_window_size_fits_the_model(tokenizer, positions, wanted, size):
    """The default is 384 tokens or the model's limit; the shared part shrinks with the window."""
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=positions))
    found = WindowSize.for_model(model, tokenizer, wanted)
    assert (found.max_length, found.doc_stride) == size
    with pytest.raises(ConfigError, match=f"max length 513: the model takes 8 to {positions} tokens"):
        WindowSize.for_model(model, tokenizer, 513)


def test_positions_to_train_on(tokenizer):
    """The tokens of the answer where the window holds all of it, else the classification token."""
    question = Question("a", "who?", LONG + " king ran", ("king ran",), (len(LONG) + 1,))
    windows = cut_windows([question], tokenizer, WindowSize(24, 5, 8))
    found = [span_positions(window, question) for window in windows]
    assert all(pair == (0, 0) for pair in found[:-1])
    start, end = found[-1]
    assert tokenizer.decode(windows[-1].input_ids[start : end + 1]) == "king ran"
    assert span_positions(windows[0], Question("a", "who?", LONG)) == (0, 0)


def test_an_answer_cut_by_a_window_is_not_trained_on(tokenizer):
    """A window that holds only the first or only the last words of an answer says 'not here'."""
    windows = cut_windows([Question("a", "who?", LONG)], tokenizer, WindowSize(24, 5, 8))
    edge = int(windows[0].offsets[-2, 0])  # where the first window's last word starts
    left = Question("a", "who?", LONG, (LONG[edge : edge + 20],), (edge,))
    assert span_positions(windows[0], left) == (0, 0)
    assert span_positions(windows[1], left) != (0, 0)
    start = int(windows[1].offsets[4, 0]) - 6  # before the second window's first context token
    right = Question("a", "who?", LONG, (LONG[start : start + 14],), (start,))
    assert span_positions(windows[1], right) == (0, 0)
    assert span_positions(windows[0], right) != (0, 0)


# --- Answers ---------------------------------------------------------------------------------------------------------


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


# --- Scores ----------------------------------------------------------------------------------------------------------


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
    assert normalized(text) == plain


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
    given = {}
    for index, piece in enumerate(windows):
        start, end = span_positions(piece, questions[piece.question])
        given[index] = logits(384, **{f"p{start}": 5}), logits(384, **{f"p{end}": 5})
    scores = official_scores(questions, best_answers(questions, windows, given), task)
    assert set(scores) == set(task.metrics)
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0))
