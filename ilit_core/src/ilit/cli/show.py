"""``ilit show``: what a run found out, from its folder alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ilit.cli.output import JsonFlag, report
from ilit.report.console import front_table, trials_table
from ilit.report.wording import evaluation_rows, evidence_fields, left_in_float, score_in_full, verdict
from ilit.result import TrialRecord
from ilit.run.folder import Run, open_run
from ilit.run.front import FrontMember, member_to_json
from ilit.run.journal import trial_to_json


def show(run: Annotated[Path, typer.Argument(help="The run folder.")], as_json: JsonFlag = False) -> None:
    """Show a run's trials, its target, and the recipe it ended with."""
    opened = open_run(run)
    report(_to_json(opened), as_json, lambda console: _show(opened, console))


def _to_json(run: Run) -> dict[str, Any]:
    header, finished, chosen = run.header, run.finished, run.best or run.closest
    return {
        "folder": run.folder,
        "state": run.state,
        "torn": run.torn,
        "met": finished.met if finished else None,
        "reason": finished.reason if finished else None,
        "metric": header.metric,
        "baseline": header.baseline,
        "target": header.target,
        "criterion": header.criterion,
        "strategy": header.strategy,
        "objective": header.objective,
        "ops_total": header.ops,
        "left_in_float": header.left_in_float,
        "recipes": str(header.recipes),
        "probes": len(run.probes),
        "cpu": asdict(header.cpu),
        "versions": header.versions,
        "best": run.best.number if run.best else None,
        "closest": run.closest.number if run.closest else None,
        **evidence_fields(chosen, chosen.evidence if chosen else None),
        "front": [_member(member) for member in run.front],
        "trials": [{**trial_to_json(trial), "ops_float": trial.recipe.float_ops} for trial in run.trials],
    }


def _member(member: FrontMember) -> dict[str, Any]:
    """Return a member of the front; its recipe is that of the trial with its number."""
    return {key: value for key, value in member_to_json(member).items() if key != "recipe"}


def _show(run: Run, console: Console) -> None:
    header = run.header
    console.print(trials_table(run))
    if len(run.front) > 1:
        console.print(front_table(run.front, header.metric))
    lines = [
        f"{header.metric}: {header.criterion}",
        f"strategy {header.strategy}, objective {header.objective}, {len(run.probes)} probes; {_size(header.recipes)}",
        f"CPU: {header.cpu.model}, {header.cpu.isa} (class {header.cpu.int8_class}), {header.cpu.threads} threads",
        f"{run.state}: {run.finished.reason if run.finished else 'the journal ends without a result'}",
    ]
    if run.torn:
        lines.append("the last record was cut off while it was written, and is left out")
    if run.best:
        lines += _ending("best", run.best, run)
    elif run.closest:
        lines += _ending("closest", run.closest, run)
    for line in (*lines, *left_in_float(header.left_in_float)):
        console.print(line, markup=False, soft_wrap=True)


def _size(recipes: int) -> str:
    return f"{recipes:,} recipes" if recipes < 10**9 else f"about 10^{recipes.bit_length() * 30103 // 100000} recipes"


def _ending(word: str, trial: TrialRecord, run: Run) -> list[str]:
    floats = trial.recipe.float_ops
    kept = f"in float: {', '.join(floats)}" if floats else "all of them in INT8"
    reached = score_in_full(trial, run.header.higher_is_better, evaluation_rows(run.trials))
    score = f", {run.header.metric} {reached}" if reached else ""
    proven = verdict(trial.evidence)
    saved = f", saved in {run.folder / word}" if (run.folder / word).is_dir() else ""
    return [
        f"{word}: trial {trial.number}{score}{saved}",
        *([proven] if proven else []),
        f"{len(trial.recipe.ops)} ops, {kept}",
    ]
