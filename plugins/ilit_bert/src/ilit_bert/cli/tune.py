"""``ilit bert tune``: a checkpoint and a task in, an INT8 model within the tolerated loss out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ilit.cli import DONE, INTERRUPTED, MISSED, JsonFlag, only_json, report
from ilit.report import drop
from ilit_bert.cli.options import (
    BatchFlag,
    DataFlag,
    LabelsFlag,
    LengthFlag,
    MetricFlag,
    ModelFlag,
    OutputFlag,
    SamplesFlag,
    TaskFlag,
    label_names,
)
from ilit_bert.cli.progress import progress

if TYPE_CHECKING:
    from ilit_bert.tune import TuneReport


def tune(
    model: ModelFlag,
    task: TaskFlag,
    data_dir: DataFlag,
    output: OutputFlag,
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration; 1 % relative loss without one.")
    ] = None,
    metric: MetricFlag = None,
    max_length: LengthFlag = None,
    batch_size: BatchFlag = 32,
    calibration_samples: Annotated[
        int | None,
        typer.Option("--calibration-samples", min=1, help="Rows of the training split; 128, or all where fewer."),
    ] = None,
    eval_samples: SamplesFlag = None,
    seed: Annotated[int | None, typer.Option("--seed", help="9527 by default.")] = None,
    labels: LabelsFlag = None,
    allow_weak_baseline: Annotated[
        bool,
        typer.Option("--allow-weak-baseline", help="Tune a model too that scores no better than a constant answer."),
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Turn a fine-tuned checkpoint into an INT8 model that keeps its score on a task.

    Where no model passes, the closest is kept in OUTPUT-closest and the exit code is 1. A float32 model that scores no
    better than the best constant answer is refused, with the likely cause.
    """
    from ilit_bert import tune as work

    job = work.TuneJob(
        model=model,
        task=task,
        data_dir=data_dir,
        output=output,
        config=config,
        metric=metric,
        max_length=max_length,
        batch_size=batch_size,
        calibration_samples=calibration_samples,
        eval_samples=eval_samples,
        seed=seed,
        labels=label_names(labels),
        allow_weak_baseline=allow_weak_baseline,
    )
    with only_json(as_json), progress(f"{task}: evaluating") as step:
        tuned = work.tune(job, step)
    report(as_mapping(tuned), as_json, lambda console: show(tuned, console))
    return exit_code(tuned)


def as_mapping(tuned: TuneReport) -> Mapping[str, Any]:
    """Return the report as the JSON has it."""
    from ilit_bert.tune import JSON_KEYS

    everything = asdict(tuned)
    return {key: everything[key] for key in JSON_KEYS}


def exit_code(tuned: TuneReport) -> int:
    """Return how the command ends."""
    kept = tuned.passed and tuned.output is not None
    return INTERRUPTED if tuned.interrupted else DONE if kept else MISSED


def show(tuned: TuneReport, console: Console) -> None:
    """Print the closing table: what was asked, what was found, what it costs."""
    table = Table("", "float32", "INT8", title=f"{tuned.task}: {verdict(tuned)}", title_justify="left")
    table.add_row(tuned.metric, f"{tuned.baseline:.4f}", _number(tuned.accuracy, "{:.4f}"))
    if tuned.drop is not None and tuned.drop_bound is not None:
        sure = f"drop, and its {_number(tuned.confidence and tuned.confidence * 100, '{:g}')} % bound"
        table.add_row(sure, "", f"{drop(tuned.drop, tuned.relative)}, {drop(tuned.drop_bound, tuned.relative)}")
    table.add_row(
        "forward pass of a batch",
        _number(tuned.latency_fp32_ms, "{:.2f} ms"),
        _number(tuned.latency_int8_ms, "{:.2f} ms"),
    )
    table.add_row("size", _bytes(tuned.size_fp32_bytes), _bytes(tuned.size_int8_bytes))
    table.add_row("operations", str(len(tuned.ops_float)), str(tuned.ops_total - len(tuned.ops_float)))
    console.print(table)
    console.print(f"asked     {tuned.metric}, {tuned.target_sentence}", highlight=False)
    if tuned.verdict:
        console.print(f"proven    {tuned.verdict}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"search    {tuned.reason}: {_effort(tuned)}", highlight=False)
    if tuned.speedup is not None:
        console.print(f"speed     {tuned.speedup:.2f} times float32 on {tuned.cpu['model']}", highlight=False)
    if tuned.ops_float:
        console.print(f"in float  {', '.join(tuned.ops_float)}", highlight=False, soft_wrap=True)
    if tuned.front and tuned.front > 1:
        console.print(f"front     {tuned.front} recipes that passed, none of which beats another; see ilit show")
    for note in tuned.notes:
        console.print(f"note      {note}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"model     {tuned.output or 'none was kept'}", highlight=False, soft_wrap=True)
    console.print(f"run       {tuned.run}", highlight=False, soft_wrap=True)


def verdict(tuned: TuneReport) -> str:
    """Return the outcome in a word or two."""
    if tuned.passed:
        return "passed"
    return "missed, the closest is kept" if tuned.output else "missed"


def _effort(tuned: TuneReport) -> str:
    return f"{tuned.evaluations} evaluations, {tuned.probes} probes, {tuned.seconds:.1f} s"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.2f} MB"
