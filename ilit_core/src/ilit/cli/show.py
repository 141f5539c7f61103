"""``ilit show``: a run's result, from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ilit.cli.output import JsonFlag, report
from ilit.report.console import show_trials
from ilit.report.receipt import read_receipt
from ilit.report.summary import Summary, summary_of_run, summary_to_json, trial_to_json
from ilit.report.wording import left_in_float
from ilit.run.front import FrontMember, member_to_json
from ilit.run.state import Run, open_run


def show(run: Annotated[Path, typer.Argument(help="The run folder.")], as_json: JsonFlag = False) -> None:
    """Show a run's trials, its target, and the recipe it ended with."""
    opened = open_run(run)
    summary = summary_of_run(opened)
    report(_to_json(opened, summary), as_json, lambda console: _show(opened, summary, console))


def _to_json(run: Run, summary: Summary) -> dict[str, Any]:
    header = run.header
    return {
        "folder": run.folder,
        "state": run.state,
        "torn": run.torn,
        "reason": summary.reason or None,
        "strategy": header.strategy,
        "objective": header.objective,
        "recipes": str(header.recipes),
        "versions": header.versions,
        "best": run.best.number if run.best else None,
        "closest": run.closest.number if run.closest else None,
        **summary_to_json(summary),
        "front": [_member(member) for member in summary.front],
        "trials": [trial_to_json(trial) for trial in summary.trials],
    }


def _member(member: FrontMember) -> dict[str, Any]:
    """Return a member of the front; its recipe is that of the trial with its number."""
    return {key: value for key, value in member_to_json(member).items() if key != "recipe"}


def _show(run: Run, summary: Summary, console: Console) -> None:
    header, cpu = run.header, summary.cpu
    show_trials(summary, console)
    searched = f"strategy {header.strategy}, objective {header.objective}, {summary.effort.probes} probes"
    lines = [
        f"{summary.asked.metric}: {summary.criterion}",
        f"{searched}; {_size(header.recipes)}",
        f"CPU: {cpu.model}, {cpu.isa} (class {cpu.int8_class}), {cpu.threads} threads",
        f"{run.state}: {summary.reason or 'the journal ends without a result'}",
    ]
    if run.torn:
        lines.append("the last record was cut off while it was written, and is left out")
    for line in (*lines, *_ending(summary), *left_in_float(summary.left_in_float)):
        console.print(line, markup=False, soft_wrap=True)


def _size(recipes: int) -> str:
    return f"{recipes:,} recipes" if recipes < 10**9 else f"about 10^{recipes.bit_length() * 30103 // 100000} recipes"


def _ending(summary: Summary) -> list[str]:
    """Return the lines on the trial that the run ended with; none where there is none."""
    word, trial = "best" if summary.passed else "closest", summary.chosen
    if trial.trial is None:
        return []
    floats = trial.ops.ops_float
    in_float = f"in float: {', '.join(floats)}" if floats else "all of them in INT8"
    score = f", {summary.asked.metric} {trial.reached}" if trial.reached else ""
    saved = f", saved in {summary.folder / word}" if (summary.folder / word).is_dir() else ""
    receipt = read_receipt(summary.folder / word)
    return [
        f"{word}: trial {trial.trial}{score}{saved}",
        *([trial.drop.verdict] if trial.drop.verdict else []),
        f"{summary.ops_total} ops, {in_float}",
        *([receipt.sentence] if receipt else []),
    ]
