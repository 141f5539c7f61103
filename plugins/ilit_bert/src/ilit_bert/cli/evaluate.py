"""``ilit bert evaluate``: a model's score on a task, float checkpoint or tuned folder alike."""

from __future__ import annotations

import sys
from dataclasses import asdict

from ilit.cli import JsonFlag, only_json, report
from ilit_bert.cli import options


def evaluate(
    model: options.Model,
    task: options.Task,
    data_dir: options.DataDir,
    metric: options.Metric = None,
    max_length: options.MaxLength = None,
    batch_size: options.BatchSize = 32,
    eval_samples: options.EvalSamples = None,
    labels: options.Labels = None,
    saturate: options.Saturate = False,
    as_json: JsonFlag = False,
) -> None:
    """Score a float checkpoint or a tuned model on a task's dev split."""
    from ilit_bert import evaluate as work

    with only_json(as_json):
        job = work.EvaluateJob(
            model=model,
            task=task,
            data_dir=data_dir,
            metric=metric,
            max_length=max_length,
            batch_size=batch_size,
            eval_samples=eval_samples,
            labels=options.label_names(labels),
            saturate=saturate,
        )
        scored = work.evaluate(job)
    for note in scored.notes:
        sys.stderr.write(f"warning: {note}\n")
    line = f"{scored.task}: {scored.metric} {scored.accuracy:.4f} on {scored.examples} examples, {scored.seconds:.1f} s"
    if scored.saturated:
        line += "; emulated: INT8 sums as on a CPU without VNNI, held within 16 bits a pair of products"
    report(asdict(scored), as_json, lambda console: console.print(line, highlight=False, soft_wrap=True))
