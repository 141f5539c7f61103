"""Cut questions and contexts that are longer than the model takes into overlapping windows of tokens."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.errors import ConfigError
from ilit_bert.checkpoints.tokenizer import fitting_length
from ilit_bert.tasks.squad.read import Question

Array = NDArray[Any]

_SPECIAL_TOKENS = 4  # RoBERTa's pairs have the most


@dataclass(frozen=True)
class WindowSize:
    """The size of windows and of their overlap.

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
    """One input of the model: a question and a piece of its context.

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
    """Truncate each text to ``length`` tokens."""
    spans = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    pairs = zip(texts, spans, strict=True)
    return [text if len(span) <= length else text[: span[length - 1][1]] for text, span in pairs]


def _window(encoded: Any, index: int, question: int, tokenizer: Any) -> Window:
    """Return one window of the tokenizer's output."""
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
