"""What a run shows on a terminal: a progress line while it searches, a table of its trials when it is over.

A built-in plugin on the event hooks; it writes to standard error, and only where that is a terminal. Elsewhere the
same facts are the log lines of the logger ``ilit``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ilit.hookspecs import hookimpl
from ilit.result import TrialRecord, TuneResult
from ilit.run import Run

# The lines being shown, by run folder: events come one by one, so what is on the screen has to be kept between them.
_lines: dict[Path, Progress] = {}


@hookimpl
def ilit_run_started(run: Run) -> None:
    """Begin the progress line."""
    if not sys.stderr.isatty():
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    # What an eval_func prints is none of ours: with --json its standard output would end up among the JSON.
    console = Console(stderr=True)
    line = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    line.add_task(progress_line(run))
    line.start()
    _lines[run.folder] = line


@hookimpl
def ilit_trial_finished(run: Run) -> None:
    """Bring the progress line up to date."""
    line = _lines.get(run.folder)
    if line is not None:
        line.update(line.task_ids[0], description=progress_line(run))


@hookimpl
def ilit_run_finished(run: Run, result: TuneResult) -> None:
    """Take the progress line away and show the table."""
    line = _lines.pop(run.folder, None)
    if line is None:
        return
    line.stop()
    line.console.print(trials_table(run))
    line.console.print(verdict(run, result), markup=False, highlight=False, soft_wrap=True)


def progress_line(run: Run) -> str:
    """Return where a run is: the target, the trial it is at, how the last one went and the nearest so far."""
    header = run.header
    parts = [f"{header.metric}, {header.criterion}", f"trial {len(run.trials) + 1} of at most {header.max_trials}"]
    if run.trials:
        last = run.trials[-1]
        score = "" if last.accuracy is None else f" with {last.accuracy:.4f}"
        parts.append(f"the last {last.status}{score}")
    scores = [trial.accuracy for trial in run.trials if trial.accuracy is not None]
    if len(scores) > 1:
        nearest = max(scores) if header.higher_is_better else min(scores)
        parts.append(f"best so far {nearest:.4f}")
    return "; ".join(parts)


def trials_table(run: Run) -> Table:
    """Return one row a trial; the one the run ended with is marked."""
    table = Table("trial", "status", run.header.metric, "float ops", "time", "speed-up", "asked for, and why not")
    for trial in run.trials:
        mark = "best" if trial == run.best else "closest" if trial == run.closest else ""
        table.add_row(
            f"{trial.number} {mark}".strip(),
            trial.status,
            "" if trial.accuracy is None else f"{trial.accuracy:.4f}",
            str(len(trial.recipe.float_ops)),
            f"{trial.seconds:.1f} s",
            _speed_up(trial),
            escape("; ".join(text for text in (trial.why, trial.reason) if text)),
        )
    return table


def _speed_up(trial: TrialRecord) -> str:
    if trial.cost is None or trial.float_cost is None or not trial.cost.seconds:
        return ""
    return f"{trial.float_cost.seconds / trial.cost.seconds:.2f}"


def verdict(run: Run, result: TuneResult) -> str:
    """Return how the run ended, in one line."""
    word, trial = ("best", result.best) if result.best else ("closest", result.closest)
    ending = f"{run.header.metric} {run.header.criterion}; {result.reason}"
    if trial is None:
        return f"missed: {ending}; no recipe could be evaluated"
    score = "" if trial.accuracy is None else f" with {trial.accuracy:.4f}"
    return (
        f"{'met' if result.met else 'missed'}: {ending}; {word} is trial {trial.number}{score}, in {run.folder / word}"
    )
