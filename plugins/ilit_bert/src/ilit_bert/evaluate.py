"""The work behind ``ilit bert evaluate``: one model's score on a task's dev split."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilit.errors import IlitWarning
from ilit.metric import Metric
from ilit_bert.checkpoints.loading import load_model
from ilit_bert.data.loaders import evaluation_loader
from ilit_bert.metrics.table import METRICS, tuning_metric
from ilit_bert.score_check.objection import objection
from ilit_bert.tasks.labels import name_labels
from ilit_bert.tasks.squad.read import read_questions
from ilit_bert.tasks.table import Task, find_task
from ilit_pytorch import PyTorchAdapter, saturated_twin


@dataclass(frozen=True)
class Evaluation:
    """A model's score.

    Attributes:
        task: official name of the task.
        metric: the metric's name.
        accuracy: its value.
        examples: examples it was evaluated on; for SQuAD questions, each of which has one window or more.
        seconds: wall time of the forward passes and the metric.
        notes: warnings for the user: a score no better than a constant answer's, a casing that is in doubt.
        saturated: the score is of the model's saturation twin.
    """

    task: str
    metric: str
    accuracy: float
    examples: int
    seconds: float
    notes: tuple[str, ...] = ()
    saturated: bool = False


@dataclass(frozen=True)
class EvaluateJob:
    """A model, a task and the options of ``ilit bert evaluate``.

    Attributes:
        model: folder of a float checkpoint or tuned model, or hub id.
        task: name of the task.
        data_dir: folder with the task's files.
        metric: one of the task's metrics; by default the one it is tuned on.
        max_length: tokens of an input at most; 128 by default, 384 for SQuAD.
        batch_size: rows of a batch.
        eval_samples: only the first so many examples.
        labels: what the model's ids stand for, in their order; by default what its configuration names them.
        saturate: score the model's saturation twin, ``ilit_pytorch.saturated_twin``.
    """

    model: str | Path
    task: str
    data_dir: Path
    metric: str | None = None
    max_length: int | None = None
    batch_size: int = 32
    eval_samples: int | None = None
    labels: Sequence[str] | None = None
    saturate: bool = False


def evaluate(job: EvaluateJob, on_rows: Callable[[int], None] | None = None) -> Evaluation:
    """Score a float checkpoint or a tuned folder.

    Args:
        job: model, task and options.
        on_rows: called with the number of rows of each batch as it is done.

    Raises:
        ilit.errors.IlitError: whatever is wrong with model, task or data, in one line.
    """
    task = find_task(job.task)
    name = task.metric_named(job.metric)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IlitWarning)
        model, tokenizer = load_model(job.model, task.kind)
    if job.saturate:
        model = saturated_twin(model)
    if job.labels is not None:
        name_labels(model.config, job.labels, task)
    lengths: dict[str, Any] = {"batch_size": job.batch_size, "max_length": job.max_length}
    loader = evaluation_loader(task, job.data_dir, model, tokenizer, samples=job.eval_samples, **lengths)
    named = tuning_metric(task, model, tokenizer, job.data_dir, job.model, name, job.max_length)
    begun, metric = time.perf_counter(), _metric(named)
    accuracy = PyTorchAdapter().evaluate(model, loader, metric, on_rows)
    seconds = time.perf_counter() - begun
    found = objection(task, metric, accuracy, model.config, who="the model")
    notes = (*(str(warning.message) for warning in caught), *([found.text] if found else []))
    examples = _examples(task, job.data_dir, job.eval_samples, loader.row_ids)
    return Evaluation(task.name, name, accuracy, examples, seconds, tuple(dict.fromkeys(notes)), job.saturate)


def _metric(named: Mapping[str, Mapping[str, Any]]) -> Metric:
    """Construct the metric that ``tuning_metric`` names."""
    ((name, options),) = named.items()
    return next(metric for metric in METRICS if metric.name == name)(**options)


def _examples(task: Task, data_dir: Path, samples: int | None, row_ids: tuple[int, ...]) -> int:
    """Return the number of examples; a question of SQuAD has one row or more."""
    if task.kind != "question_answering":
        return len(row_ids)
    return len(read_questions(task, data_dir, "dev")[:samples])
