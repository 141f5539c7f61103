"""Windows hold the whole context, and the positions of answers in them."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from ilit.errors import ConfigError
from ilit_bert.tasks.squad.read import Question
from ilit_bert.tasks.squad.windows import WindowSize, cut_windows, span_positions

CONTEXT = "A king was born in Normandy. He was old."
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
