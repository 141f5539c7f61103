"""The work behind ``ilit bert predict``: lines of text in, a label and its score a line out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.errors import ConfigError, DataError
from ilit_bert.checkpoints.heads import QUESTION_ANSWERING
from ilit_bert.checkpoints.loading import head_of, load_model
from ilit_bert.data.keyword_batches import takes_token_types
from ilit_bert.data.length_batches import LengthBatches, Row
from ilit_bert.data.loaders import prediction_loader
from ilit_bert.tasks.labels import name_labels
from ilit_bert.tasks.squad.answers import best_answers
from ilit_bert.tasks.squad.read import Question
from ilit_bert.tasks.squad.windows import Window, WindowSize, cut_windows
from ilit_pytorch import PyTorchAdapter

Array = NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """The model's prediction for one line.

    Attributes:
        label: the class's name, the answer, or for a model that gives a score the word ``score``.
        score: the class's probability; the model's score; for an answer how much likelier it is than "no answer", as
            a difference of logits.
    """

    label: str
    score: float


def read_lines(lines: Iterable[str], place: str) -> list[tuple[str, str | None]]:
    """Read sentences, or pairs separated by a tab, one a line.

    Raises:
        DataError: there are no lines, a line is empty or has more than one tab; names the line.
    """
    texts: list[tuple[str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.rstrip("\r\n").removeprefix("\ufeff").split("\t")
        if len(fields) > 2 or not all(field.strip() for field in fields):
            raise DataError(f"{place}:{number}: give one sentence, or two separated by one tab, on each line")
        texts.append((fields[0], fields[1] if len(fields) == 2 else None))
    if not texts:
        raise DataError(f"{place}: has no lines; give one sentence, or two separated by a tab, on each")
    return texts


def predict(
    model: str | Path,
    texts: Sequence[tuple[str, str | None]],
    *,
    max_length: int | None = None,
    batch_size: int = 32,
    labels: Sequence[str] | None = None,
) -> list[Prediction]:
    """Predict each text, in order.

    Args:
        model: folder of a float checkpoint or tuned model, or hub id; for classification, regression or question
            answering.
        texts: sentences or pairs; for question answering question and context.
        max_length: tokens of an input at most; 128 by default, 384 for question answering.
        batch_size: rows of a batch.
        labels: names of the model's ids, in their order; by default what its configuration names them.

    Raises:
        ConfigError: the labels are not one for each of the model's outputs.
        ModelError: the model cannot be loaded, or is for none of these.
        DataError: single texts for question answering, or single texts and pairs in one go.
    """
    if head_of(model) == QUESTION_ANSWERING:
        if labels is not None:
            raise ConfigError(f"labels: {model} answers questions and has no labels; leave --labels out")
        return _answers(model, texts, max_length, batch_size)
    network, tokenizer = load_model(model, "classification")
    if labels is not None:
        name_labels(network.config, labels)
    loader = prediction_loader(texts, network, tokenizer, batch_size=batch_size, max_length=max_length)
    adapter = PyTorchAdapter()
    logits = np.concatenate([np.asarray(adapter.outputs(network, batch)) for batch in loader])  # (texts, classes)
    names = getattr(network.config, "id2label", {})
    return loader.in_file_order([_prediction(row, names) for row in logits])


def _prediction(logits: Array, names: dict[int, str]) -> Prediction:
    """Return the likeliest class of one row ``(classes,)``, or the score of a model that has one output."""
    if len(logits) == 1:
        return Prediction("score", float(logits[0]))
    chosen = int(logits.argmax())
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return Prediction(str(names.get(chosen, chosen)), float(shifted[chosen] / shifted.sum()))


def _answers(
    model: str | Path, texts: Sequence[tuple[str, str | None]], max_length: int | None, batch_size: int
) -> list[Prediction]:
    """Answer each question from its context."""
    questions: list[Question] = []
    for number, (question, context) in enumerate(texts, start=1):
        if context is None:
            raise DataError(f"line {number}: {model} answers questions; give question and context separated by a tab")
        questions.append(Question(f"line {number}", question, context))
    network, tokenizer = load_model(model, "question_answering")
    windows = cut_windows(questions, tokenizer, WindowSize.for_model(network, tokenizer, max_length))
    answers = best_answers(questions, windows, _span_logits(network, tokenizer, windows, batch_size))
    return [Prediction(answers[index].text, -answers[index].null_odds) for index in range(len(questions))]


def _span_logits(
    network: Any, tokenizer: Any, windows: Sequence[Window], batch_size: int
) -> dict[int, tuple[Array, Array]]:
    """Return window index -> start and end logits, padded to the longest window of its batch."""
    adapter = PyTorchAdapter()
    logits: dict[int, tuple[Array, Array]] = {}
    rows = [Row(index, window.input_ids, window.token_type_ids, index) for index, window in enumerate(windows)]
    pad_id = tokenizer.pad_token_id or 0
    for batch in LengthBatches(rows, pad_id, token_types=takes_token_types(network), batch_size=batch_size):
        outputs = adapter.outputs(network, batch)
        spans = zip(batch[1].tolist(), outputs["start_logits"], outputs["end_logits"], strict=True)
        logits |= {index: (start, end) for index, start, end in spans}
    return logits
