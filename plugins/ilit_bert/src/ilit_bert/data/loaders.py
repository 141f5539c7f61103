"""Loaders of a task's splits, and of texts without labels, for one model."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ilit.errors import ConfigError, DataError
from ilit_bert.checkpoints.tokenizer import fitting_length
from ilit_bert.data.keyword_batches import takes_token_types
from ilit_bert.data.length_batches import LengthBatches, Row
from ilit_bert.tasks.glue import Example, check_labels, read_examples, with_label_ids
from ilit_bert.tasks.labels import assumed_order, has_numbered_labels, model_label_ids
from ilit_bert.tasks.squad.read import read_questions
from ilit_bert.tasks.squad.windows import Window, WindowSize, cut_windows
from ilit_bert.tasks.table import Split, Task

Item = TypeVar("Item")

USUAL_CALIBRATION_ROWS = 128
_log = logging.getLogger("ilit.bert")


def evaluation_loader(
    task: Task,
    data_dir: str | Path,
    model: Any,
    tokenizer: Any,
    *,
    samples: int | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
) -> LengthBatches:
    """Load a task's dev split.

    Args:
        task: from ``find_task``.
        data_dir: the folder with the task's files.
        model: the transformers model the batches are for; its configuration and forward are looked at.
        tokenizer: from ``load_tokenizer``.
        samples: the first so many examples (for SQuAD questions, with all their windows), all where there are fewer.
        batch_size: rows of a batch.
        max_length: tokens of an input at most; 128 by default, for SQuAD 384 as ``WindowSize.for_model`` has it.

    Raises:
        ConfigError: ``samples`` or ``max_length`` is out of range.
        DataError: the file is missing or damaged, or has labels the model does not.
        ModelError: the model is of another kind of task.
    """
    if samples is not None and samples < 1:
        raise ConfigError(f"evaluation samples {samples}: at least 1 is needed")
    if task.kind == "question_answering":
        questions = read_questions(task, data_dir, "dev")[:samples]
        rows = _window_rows(cut_windows(questions, tokenizer, WindowSize.for_model(model, tokenizer, max_length)))
    else:
        examples = _examples(task, data_dir, "dev", model)[:samples]
        if assumption := assumed_order(task, model.config):
            _log.log(logging.INFO if has_numbered_labels(model.config) else logging.WARNING, "%s", assumption)
        rows = tokenize(examples, tokenizer, fitting_length(model, tokenizer, max_length, 128))
    return _batches(rows, model, tokenizer, batch_size)


def calibration_loader(
    task: Task,
    data_dir: str | Path,
    model: Any,
    tokenizer: Any,
    *,
    rows: int | None = None,
    seed: int = 9527,
    batch_size: int = 32,
    max_length: int | None = None,
) -> LengthBatches:
    """Load a sample of a task's training split without replacement; never a row of the dev split.

    For SQuAD a row is a window, each of another question. The other arguments and errors are ``evaluation_loader``'s.

    Args:
        task: from ``find_task``.
        data_dir: the folder with the task's files.
        model: as in ``evaluation_loader``.
        tokenizer: from ``load_tokenizer``.
        rows: how many; None takes 128, or all where the split has fewer, which the log says.
        seed: of the choice and of the batches' order.
        batch_size: rows of a batch.
        max_length: tokens of an input at most.

    Raises:
        ConfigError: ``rows`` is less than 1.
        DataError: the training split is missing or has fewer rows than were asked for.
    """
    if rows is not None and rows < 1:
        raise ConfigError(f"calibration samples {rows}: at least 1 is needed")
    rng = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    if task.kind == "question_answering":
        questions = _sample(read_questions(task, data_dir, "train"), rows, rng, task)
        windows = cut_windows(questions, tokenizer, WindowSize.for_model(model, tokenizer, max_length))
        groups = [list(group) for _, group in itertools.groupby(windows, key=lambda window: window.question)]
        tokenized = _window_rows([rng.choice(group) for group in groups])
    else:
        examples = _sample(_examples(task, data_dir, "train", model), rows, rng, task)
        tokenized = tokenize(examples, tokenizer, fitting_length(model, tokenizer, max_length, 128))
    return _batches(tokenized, model, tokenizer, batch_size, seed)


def prediction_loader(
    texts: Sequence[tuple[str, str | None]],
    model: Any,
    tokenizer: Any,
    *,
    batch_size: int = 32,
    max_length: int | None = None,
) -> LengthBatches:
    """Load texts or pairs of texts without labels; their positions in ``texts`` are yielded in place of labels.

    Raises:
        ConfigError: ``max_length`` is out of range.
        DataError: there are no texts, or some have a second text and some have none.
    """
    examples = [
        Example(index, first, second, index, f"line {index + 1}") for index, (first, second) in enumerate(texts)
    ]
    rows = tokenize(examples, tokenizer, fitting_length(model, tokenizer, max_length, 128))
    return _batches(rows, model, tokenizer, batch_size)


def tokenize(examples: Sequence[Example], tokenizer: Any, max_length: int) -> list[Row]:
    """Tokenize single texts or pairs; the longer of a pair is cut first.

    Raises:
        DataError: there are no examples, or some have a second text and some have none.
    """
    paired = _are_pairs(examples)
    encoded = tokenizer(
        [example.text_a for example in examples],
        [example.text_b for example in examples] if paired else None,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    columns = zip(examples, encoded["input_ids"], encoded["token_type_ids"], strict=True)
    return [Row(e.row, np.asarray(ids, np.int64), np.asarray(kinds, np.int64), e.label) for e, ids, kinds in columns]


def _are_pairs(examples: Sequence[Example]) -> bool:
    """Return whether the examples are pairs of texts, after checking that all or none of them are."""
    if not examples:
        raise DataError("there is nothing to tokenize; give at least one text")
    paired = examples[0].text_b is not None
    odd = next((e for e in examples if (e.text_b is not None) != paired), None)
    if odd is not None:
        numbers = ("one text", "two") if paired else ("two texts", "one")
        raise DataError(
            f"{odd.where}: has {numbers[0]}, {examples[0].where} has {numbers[1]}; give all rows the same number"
        )
    return paired


def _examples(task: Task, data_dir: str | Path, split: Split, model: Any) -> list[Example]:
    """Read a GLUE split with the model's own label ids."""
    examples = read_examples(task, data_dir, split)
    if task.kind == "classification" and model.config.num_labels > 1:
        examples = with_label_ids(examples, model_label_ids(task, model.config))
    check_labels(examples, model.config.num_labels)
    return examples


def few_rows(task: Task, rows: int) -> str:
    """Return a line on calibrating by default on fewer rows than usual; empty where they are not fewer.

    Args:
        task: from ``find_task``.
        rows: of a ``calibration_loader`` that was asked for no number.
    """
    if rows >= USUAL_CALIBRATION_ROWS:
        return ""
    return f"{task.name}'s {task.train} has {rows} rows, so all {rows} rows calibrate, not {USUAL_CALIBRATION_ROWS}"


def _sample(items: Sequence[Item], wanted: int | None, rng: random.Random, task: Task) -> list[Item]:
    """Sample ``wanted`` items in the file's order; for None the usual number, or all where there are fewer."""
    count = min(USUAL_CALIBRATION_ROWS, len(items)) if wanted is None else wanted
    if wanted is None and (remark := few_rows(task, count)):
        _log.info("%s", remark)
    if count > len(items):
        raise DataError(f"calibration samples {count}: {task.name}'s {task.train} has {len(items)} rows; ask for fewer")
    return [items[index] for index in sorted(rng.sample(range(len(items)), count))]


def _window_rows(windows: Sequence[Window]) -> list[Row]:
    """Return the windows as rows, labelled with index and checksum."""
    return [
        Row(index, window.input_ids, window.token_type_ids, (index, window.checksum))
        for index, window in enumerate(windows)
    ]


def _batches(rows: Sequence[Row], model: Any, tokenizer: Any, batch_size: int, seed: int = 9527) -> LengthBatches:
    """Batch rows for a model; where there is no padding token any id does, since the mask hides it."""
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return LengthBatches(rows, pad_id, token_types=takes_token_types(model), batch_size=batch_size, seed=seed)
