"""``ilit bert evaluate``: a model's score on a task, float checkpoint or tuned folder alike."""

from __future__ import annotations

import sys
from dataclasses import asdict

from ilit.cli import JsonFlag, only_json, report
from ilit_bert.cli.options import (
    BatchFlag,
    DataFlag,
    LabelsFlag,
    LengthFlag,
    MetricFlag,
    ModelFlag,
    SamplesFlag,
    TaskFlag,
    label_names,
)


def evaluate(
    model: ModelFlag,
    task: TaskFlag,
    data_dir: DataFlag,
    metric: MetricFlag = None,
    max_length: LengthFlag = None,
    batch_size: BatchFlag = 32,
    eval_samples: SamplesFlag = None,
    labels: LabelsFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Score a float checkpoint or a tuned model on a task's dev split."""
    from ilit_bert import evaluate as work

    with only_json(as_json):
        scored = work.evaluate(
            model,
            task,
            data_dir,
            metric=metric,
            max_length=max_length,
            batch_size=batch_size,
            eval_samples=eval_samples,
            labels=label_names(labels),
        )
    for note in scored.notes:
        sys.stderr.write(f"warning: {note}\n")
    line = f"{scored.task}: {scored.metric} {scored.accuracy:.4f} on {scored.examples} examples, {scored.seconds:.1f} s"
    report(asdict(scored), as_json, lambda console: console.print(line, highlight=False))
