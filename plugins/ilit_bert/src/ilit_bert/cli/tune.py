"""``ilit bert tune``: a checkpoint and a task in, an INT8 model within the tolerated loss out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ilit.cli import DONE, INTERRUPTED, MISSED, JsonFlag, only_json, report
from ilit.report import drop, figures, read_receipt
from ilit_bert.cli import options
from ilit_bert.cli.progress import progress

if TYPE_CHECKING:
    from ilit.report import Effort
    from ilit_bert.tune import TuneReport


def tune(
    model: options.Model,
    task: options.Task,
    data_dir: options.DataDir,
    output: options.Output,
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration; 1 % relative loss without one.")
    ] = None,
    metric: options.Metric = None,
    max_length: options.MaxLength = None,
    batch_size: options.BatchSize = 32,
    calibration_samples: Annotated[
        int | None,
        typer.Option("--calibration-samples", min=1, help="Rows of the training split; 128, or all where fewer."),
    ] = None,
    eval_samples: options.EvalSamples = None,
    seed: Annotated[int | None, typer.Option("--seed", help="9527 by default.")] = None,
    labels: options.Labels = None,
    allow_weak_baseline: Annotated[
        bool,
        typer.Option("--allow-weak-baseline", help="Tune a model too that scores no better than a constant answer."),
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Turn a fine-tuned checkpoint into an INT8 model that keeps its score on a task.

    Where no model passes, the closest is saved in OUTPUT-closest and the exit code is 1. A float32 model that scores no
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
        labels=options.label_names(labels),
        allow_weak_baseline=allow_weak_baseline,
    )
    with only_json(as_json), progress(f"{task}: evaluating") as step:
        tuned = work.tune(job, step)
    report(as_mapping(tuned), as_json, lambda console: show(tuned, console))
    return exit_code(tuned)


def as_mapping(tuned: TuneReport) -> Mapping[str, Any]:
    """Return the report as the JSON has it: the summary's figures, two of them by older names, task and folder."""
    older = {"gained": "fixed", "lost": "broken"}
    told = {older.get(name, name): value for name, value in figures(tuned.summary).items()}
    return {"task": tuned.task, **told, "output": tuned.output}


def exit_code(tuned: TuneReport) -> int:
    """Return the exit code of the command."""
    saved = tuned.summary.passed and tuned.output is not None
    return INTERRUPTED if tuned.summary.interrupted else DONE if saved else MISSED


def show(tuned: TuneReport, console: Console) -> None:
    """Print the closing table, and below it what was asked, what is proven and what it took."""
    summary, trial = tuned.summary, tuned.summary.chosen
    console.print(_table(tuned))
    console.print(f"asked     {summary.asked.metric}, {summary.criterion}", highlight=False)
    if trial.drop.verdict:
        console.print(f"proven    {trial.drop.verdict}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"search    {summary.reason}: {_effort(summary.effort)}", highlight=False)
    if trial.cost.speedup is not None:
        console.print(f"speed     {trial.cost.speedup:.2f} times float32 on {summary.cpu.model}", highlight=False)
    if tuned.output is not None and (receipt := read_receipt(tuned.output)) is not None:
        console.print(f"kernels   {receipt.sentence}", highlight=False, soft_wrap=True, markup=False)
    if trial.ops.ops_float:
        console.print(f"in float  {', '.join(trial.ops.ops_float)}", highlight=False, soft_wrap=True)
    if len(summary.front) > 1:
        console.print(f"front     {len(summary.front)} recipes that passed, none of which beats another; see ilit show")
    for note in tuned.notes:
        console.print(f"note      {note}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"model     {tuned.output or 'none was kept'}", highlight=False, soft_wrap=True)
    console.print(f"run       {summary.folder}", highlight=False, soft_wrap=True)


def _table(tuned: TuneReport) -> Table:
    """Return the figures of both models side by side."""
    summary, trial = tuned.summary, tuned.summary.chosen
    cost, found, in_float = trial.cost, trial.evidence, len(trial.ops.ops_float)
    table = Table("", "float32", "INT8", title=f"{tuned.task}: {verdict(tuned)}", title_justify="left")
    table.add_row(summary.asked.metric, f"{summary.asked.baseline:.4f}", _number(trial.accuracy, "{:.4f}"))
    if found is not None:
        drops = f"{drop(found.drop, found.relative)}, {drop(found.bound, found.relative)}"
        table.add_row(f"drop, and its {found.confidence * 100:g} % bound", "", drops)
    latencies = (cost.latency_fp32_ms, cost.latency_int8_ms)
    table.add_row("forward pass of a batch", *(_number(latency, "{:.2f} ms") for latency in latencies))
    table.add_row("size", _bytes(cost.size_fp32_bytes), _bytes(cost.size_int8_bytes))
    table.add_row("operations", str(in_float), str(summary.ops_total - in_float))
    return table


def verdict(tuned: TuneReport) -> str:
    """Return the outcome in a word or two."""
    if tuned.summary.passed:
        return "passed"
    return "missed, the closest is kept" if tuned.output else "missed"


def _effort(effort: Effort) -> str:
    return f"{effort.evaluations} evaluations, {effort.probes} probes, {_number(effort.seconds, '{:.1f}')} s"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.2f} MB"
