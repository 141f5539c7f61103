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
        INTERRUPTED: any(report.interrupted for report in reports),
        BUG: any(result.error and not result.mistake for result in results),
        USER_ERROR: any(result.mistake for result in results),
        MISSED: not all(report.passed for report in reports),
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
        table.add_row(
            result.name,
            tuned.metric,
            f"{tuned.baseline:.4f}",
            f"{tuned.target:.4f}",
            "-" if tuned.accuracy is None else f"{tuned.accuracy:.4f}",
            "-" if tuned.drop is None else drop(tuned.drop, tuned.relative),
            "-" if tuned.drop_bound is None else drop(tuned.drop_bound, tuned.relative),
            f"{len(tuned.ops_float)} of {tuned.ops_total}",
            "-" if tuned.speedup is None else f"{tuned.speedup:.2f}x",
            str(tuned.evaluations),
            f"{tuned.seconds:.1f}",
            verdict(tuned),
        )
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file has no edge to keep to
    console.print(table)
    for result in results:
        if result.report is not None and result.report.verdict:
            proven = f"{result.name}: {result.report.verdict}"
            console.print(proven, highlight=False, soft_wrap=True, markup=False)
        if result.error:
            console.print(f"{result.name}: {result.error}", highlight=False, soft_wrap=True, markup=False)
