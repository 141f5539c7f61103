"""``ilit bert tune-suite``: many tasks and checkpoints in one go, one table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ilit.cli import BUG, DONE, INTERRUPTED, MISSED, USER_ERROR, JsonFlag, only_json, report
from ilit.report import drop
from ilit_bert.cli.progress import progress
from ilit_bert.cli.tune import as_mapping, verdict

if TYPE_CHECKING:
    from ilit.report import Summary
    from ilit_bert.suite import SuiteResult


def tune_suite(
    suite: Annotated[Path, typer.Argument(help="YAML with defaults and runs, keys as the flags of 'ilit bert tune'.")],
    as_json: JsonFlag = False,
) -> int:
    """Tune many checkpoints, one after the other; one that fails does not stop the rest."""
    from ilit_bert import suite as work

    runs = work.read_suite(suite)
    with only_json(as_json), progress("evaluating") as step:
        results = list(work.run_suite(runs, step))
    report({"runs": [_mapping(result) for result in results]}, as_json, lambda console: show(results, console))
    return exit_code(results)


def exit_code(results: Sequence[SuiteResult]) -> int:
    """Return the gravest ending of all: interrupted, a bug, a mistake, a miss, none of these."""
    reports = [result.report for result in results if result.report is not None]
    endings = {
        INTERRUPTED: any(report.summary.interrupted for report in reports),
        BUG: any(result.error and not result.mistake for result in results),
        USER_ERROR: any(result.mistake for result in results),
        MISSED: not all(report.summary.passed for report in reports),
    }
    return next((code for code, happened in endings.items() if happened), DONE)


def _mapping(result: SuiteResult) -> Mapping[str, Any]:
    about: dict[str, Any] = {"name": result.name, "model": result.model, "task": result.task}
    if result.report is None:
        return {**about, "error": result.error}
    return {**about, **as_mapping(result.report)}


def show(results: Sequence[SuiteResult], console: Console) -> None:
    """Print one row a run, and below the table what failed and why."""
    columns = (
        "run", "metric", "float32", "target", "INT8", "drop", "at most", "in float", "speed", "evaluations", "seconds",
        "outcome",
    )  # fmt: skip
    table = Table(*columns)
    for result in results:
        tuned = result.report
        if tuned is None:
            table.add_row(result.name, *["-"] * (len(columns) - 2), "failed")
            continue
        table.add_row(result.name, *_figures(tuned.summary), verdict(tuned))
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file has no edge to keep to
    console.print(table)
    for result in results:
        proven = result.report.summary.chosen.drop.verdict if result.report else None
        if proven:
            console.print(f"{result.name}: {proven}", highlight=False, soft_wrap=True, markup=False)
        if result.error:
            console.print(f"{result.name}: {result.error}", highlight=False, soft_wrap=True, markup=False)


def _figures(summary: Summary) -> tuple[str, ...]:
    """Return a run's cells between its name and its outcome."""
    asked, trial, effort = summary.asked, summary.chosen, summary.effort
    found, speedup = trial.evidence, trial.cost.speedup
    return (
        asked.metric,
        f"{asked.baseline:.4f}",
        f"{asked.target:.4f}",
        "-" if trial.accuracy is None else f"{trial.accuracy:.4f}",
        "-" if found is None else drop(found.drop, found.relative),
        "-" if found is None else drop(found.bound, found.relative),
        f"{len(trial.ops.ops_float)} of {summary.ops_total}",
        "-" if speedup is None else f"{speedup:.2f}x",
        str(effort.evaluations),
        "-" if effort.seconds is None else f"{effort.seconds:.1f}",
    )
