"""Read and validate the examples in GLUE's TSV files."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ilit.errors import ConfigError, DataError, ModelError, did_you_mean
from ilit_bert.tasks.files import split_file
from ilit_bert.tasks.table import Columns, Split, Task

_log = logging.getLogger("ilit.bert")

STS_B_RANGE = (0.0, 5.0)


@dataclass(frozen=True)
class Example:
    """One row of a task.

    Attributes:
        row: 0-based position among the file's examples.
        text_a: the first (or only) text.
        text_b: the second text, or None.
        label: the label's id (an ``int``), a score (a ``float``), or None where there is none to compare with.
        where: ``FILE:LINE`` for messages.
    """

    row: int
    text_a: str
    text_b: str | None = None
    label: int | float | None = None
    where: str = ""


def read_examples(task: Task, data_dir: str | Path, split: Split) -> list[Example]:
    """Read one split of a GLUE task; labels get their official ids.

    Fields are split at tabs and nowhere else: quotes are text. A byte-order mark, CRLF line ends and blank lines at
    the end of the file are taken as they come.

    Raises:
        ConfigError: ``task`` is not one of GLUE's.
        DataError: the file is missing, empty or not UTF-8; a column is missing; a row has too few or too many fields
            or a label that is none of the task's. Names file and line.
    """
    if task.columns is None:
        raise ConfigError(f"task '{task.name}' has no TSV files; read it with ilit_bert.tasks.squad.read")
    path = split_file(task, data_dir, split)
    lines = _lines(path)
    header = lines[0].split("\t") if task.columns.header else None
    layout = _layout(task.columns, header, task, path)
    first = 1 if task.columns.header else 0
    examples: list[Example] = []
    cut: list[int] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        fields = line.split("\t")
        if len(fields) < layout.needed and task.skips_cut_rows:
            cut.append(number)
        else:
            examples.append(_example(fields, layout, task, len(examples), f"{path}:{number}"))
    if not examples:
        raise DataError(f"{path}: holds no rows; {task.name}'s official file has a row per line")
    if cut:
        _log.warning("%s: left out %d rows cut short by a line break (first: line %d)", path, len(cut), cut[0])
    return examples


def check_labels(examples: Sequence[Example], num_labels: int) -> None:
    """Check that a model with ``num_labels`` outputs can give every example's label.

    Raises:
        ModelError: a score for a model that has more than one output, or a class label for a model that has one.
        DataError: a label is out of the model's range; names file and line.
    """
    for example in examples:
        if isinstance(example.label, float) and num_labels != 1:
            raise ModelError(
                f"num_labels: the model has {num_labels} outputs, but {example.where} has a score ({example.label:g}), "
                "which takes 1; use a checkpoint that was fine-tuned for this task"
            )
        if isinstance(example.label, int) and num_labels == 1:
            raise ModelError(
                f"num_labels: the model has 1 output, a score, but {example.where} has a class label "
                f"({example.label}); use a checkpoint that was fine-tuned for this task"
            )
        if isinstance(example.label, int) and not 0 <= example.label < num_labels:
            raise DataError(
                f"{example.where}: label {example.label} is out of range, the model has {num_labels} labels "
                f"(0 to {num_labels - 1}); use a checkpoint that was fine-tuned for this task"
            )


def with_label_ids(examples: Sequence[Example], ids: Sequence[int]) -> list[Example]:
    """Return the examples with ``ids[label]`` for each class label; scores stay as they are."""
    return [replace(e, label=ids[e.label]) if isinstance(e.label, int) else e for e in examples]


@dataclass(frozen=True)
class _Layout:
    """Where a row's fields are, 0-based, and how many fields a row may have at most."""

    text_a: int
    text_b: int | None
    label: int
    most: int

    @property
    def needed(self) -> int:
        """The fewest fields that hold all the task needs; columns behind these may be missing."""
        return max(self.text_a, self.text_b or 0, self.label) + 1


def _lines(path: Path) -> list[str]:
    """Read a file's lines without their ends, blank lines at the end left out; a lone CR is text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path}: is empty; fetch the task's file again")
    return lines


def _layout(columns: Columns, header: Sequence[str] | None, task: Task, path: Path) -> _Layout:
    """Find the task's columns in the header."""
    names = [name.strip() for name in header or ()]

    def position(wanted: str | int) -> int:
        if isinstance(wanted, int):
            return wanted
        if wanted not in names:
            raise DataError(
                f"{path}:1: no column '{wanted}', which {task.name} needs; the file has "
                f"{', '.join(repr(name) for name in names)}{did_you_mean(wanted, names)}"
            )
        return names.index(wanted)

    text_a = position(columns.text_a)
    text_b = None if columns.text_b is None else position(columns.text_b)
    layout = _Layout(text_a, text_b, position(columns.label), 0)
    return replace(layout, most=len(names) or layout.needed)


def _example(fields: Sequence[str], layout: _Layout, task: Task, row: int, where: str) -> Example:
    """Return the example of one row of a file."""
    _check_width(fields, layout, task, where)
    text_b = None if layout.text_b is None else fields[layout.text_b]
    return Example(row, fields[layout.text_a], text_b, _label(fields[layout.label].strip(), task, where), where)


def _check_width(fields: Sequence[str], layout: _Layout, task: Task, where: str) -> None:
    """Check that a row has the fields the task needs, and none beyond the named columns."""
    if layout.needed <= len(fields) <= layout.most:
        return
    allowed = str(layout.most) if layout.needed == layout.most else f"{layout.needed} to {layout.most}"
    raise DataError(
        f"{where}: {len(fields)} tab-separated fields where {task.name} has {allowed}; "
        "mend the line, or fetch the task's file again"
    )


def _label(text: str, task: Task, where: str) -> int | float:
    """Return the id of a class label, or the score."""
    if task.kind == "classification":
        if text in task.labels:
            return task.labels.index(text)
        raise DataError(f"{where}: label '{text}' is none of {task.name}'s; allowed: {', '.join(task.labels)}")
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    low, high = STS_B_RANGE
    if not low <= score <= high:  # also False for NaN
        raise DataError(
            f"{where}: label '{text}' is no score of {task.name}; allowed: numbers from {low:g} to {high:g}"
        )
    return score
