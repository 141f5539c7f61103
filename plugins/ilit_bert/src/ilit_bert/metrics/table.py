"""The table of metrics that ilit-bert registers, and the choice of one for a task."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ilit.metric import Metric
from ilit_bert.metrics.glue import AccAndF1, Corr, Glue, Mcc, Pearson, Spearmanr
from ilit_bert.metrics.squad import Squad
from ilit_bert.tasks.labels import model_label_ids
from ilit_bert.tasks.squad.windows import WindowSize
from ilit_bert.tasks.table import Task

METRICS: tuple[type[Metric], ...] = (Glue, Squad, AccAndF1, Mcc, Pearson, Spearmanr, Corr)
"""What ilit-bert registers. Accuracy and F1 by themselves are ilit-pytorch's, so their names are left to it."""


def tuning_metric(
    task: Task,
    model: Any,
    tokenizer: Any,
    data_dir: str | Path,
    source: str | Path,
    metric: str | None = None,
    max_length: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the value of ``tuning.metric`` in the configuration: a metric's name and its options.

    Args:
        task: from ``find_task``.
        model: the float32 model; its label order decides what F1's positive class is.
        tokenizer: from ``load_tokenizer``.
        data_dir: the folder with the task's files.
        source: checkpoint folder or Hub id that ``tokenizer`` is from.
        metric: one of the task's metrics; by default the one it is tuned on.
        max_length: as given to ``evaluation_loader``.

    Raises:
        ConfigError: the task has no such metric, or the model does not take ``max_length`` tokens.
        ModelError: the checkpoint's labels are another task's.
    """
    options: dict[str, Any] = {"task": task.name, "metric": task.metric_named(metric)}
    if task.kind == "question_answering":
        size = WindowSize.for_model(model, tokenizer, max_length)
        return {"squad": {**options, "data_dir": str(data_dir), "tokenizer": str(source), **asdict(size)}}
    if options["metric"] in ("f1", "acc_and_f1"):
        options["positive"] = model_label_ids(task, model.config)[1]
    return {"glue": options}
