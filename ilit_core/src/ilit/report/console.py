"""What a run shows on a terminal: a progress line while it searches, a table of its trials when it is over.

A built-in plugin on the event hooks; it writes to standard error, and only where that is a terminal. Elsewhere the
same facts are the log lines of the logger ``ilit``. A program with a display of its own takes the line over by
``shown_by``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ilit.evidence.record import Evidence
from ilit.hookspecs import hookimpl
from ilit.report.wording import drop, evaluation_rows, left_in_float, pruned, score, score_in_full
from ilit.report.wording import verdict as proven
from ilit.result import TrialRecord, TuneResult
from ilit.run.folder import Run
from ilit.run.front import FrontMember

# The lines being shown, by run folder: events come one by one, so what is on the screen has to be kept between them.
_lines: dict[Path, Progress] = {}
# Who shows the progress line instead, the last one wins.
_others: list[Callable[[str], None]] = []


@contextlib.contextmanager
def shown_by(show: Callable[[str], None]) -> Iterator[None]:
    """Hand each progress line to ``show`` while the block runs, and show no line and no table here.

    When a run is over, the line is empty.

    For programs with a display of their own: two that move the cursor of one terminal spoil each other.
    """
    _others.append(show)
    try:
        yield
    finally:
        _others.remove(show)


@hookimpl
def ilit_run_started(run: Run) -> None:
    """Begin the progress line."""
    if _others:
        _others[-1](progress_line(run))
        return
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
    if _others:
        _others[-1](progress_line(run))
    line = _lines.get(run.folder)
    if line is not None:
        line.update(line.task_ids[0], description=progress_line(run))


@hookimpl
def ilit_run_finished(run: Run, result: TuneResult) -> None:
    """Take the progress line away and show the table."""
    if _others:
        _others[-1]("")
    line = _lines.pop(run.folder, None)
    if line is None:
        return
    line.stop()
    line.console.print(trials_table(run))
    if len(run.front) > 1:
        line.console.print(front_table(run.front, run.header.metric))
    for text in (verdict(run, result), proven(_evidence(result)), *left_in_float(result.left_in_float)):
        if text:
            line.console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress_line(run: Run) -> str:
    """Return where a run is: its trial, how the last one went, the nearest so far, and the target."""
    header = run.header
    parts = [f"trial {len(run.trials) + 1} of at most {header.max_trials}"]
    if run.trials:
        last = run.trials[-1]
        reached = score(last, header.higher_is_better)
        ended = pruned(last, evaluation_rows(run.trials)) or last.status
        parts.append(f"the last {ended}{f' with {reached}' if reached else ''}")
    # What a pruned trial has is no score, only what it could still have reached.
    scores = [trial.accuracy for trial in run.trials if trial.accuracy is not None and trial.status != "pruned"]
    if len(scores) > 1:
        nearest = max(scores) if header.higher_is_better else min(scores)
        parts.append(f"best so far {nearest:.4f}")
    # Last, since it never changes and a narrow terminal cuts the end off.
    return "; ".join([*parts, f"{header.metric}, {header.criterion}"])


def trials_table(run: Run) -> Table:
    """Return one row a trial; the one the run ended with is marked. The drop has a column where it is known."""
    bounds = {trial.evidence.confidence for trial in run.trials if trial.evidence}
    columns = [f"drop ({confidence * 100:g} % bound)" for confidence in sorted(bounds)[:1]]
    last = ("float ops", "time", "speed-up", "asked for, and why not")
    table = Table("trial", "status", run.header.metric, *columns, *last)
    rows = evaluation_rows(run.trials)
    for trial in run.trials:
        mark = "best" if trial == run.best else "closest" if trial == run.closest else ""
        table.add_row(
            f"{trial.number} {mark}".strip(),
            trial.status,
            score(trial, run.header.higher_is_better),
            *[_drop(trial)] * len(columns),
            str(len(trial.recipe.float_ops)),
            f"{trial.seconds:.1f} s",
            _speed_up(trial),
            escape("; ".join(text for text in (trial.why, trial.why_not, pruned(trial, rows)) if text)),
        )
    return table


def front_table(front: Sequence[FrontMember], metric: str) -> Table:
    """Return the Pareto front, a row a member: what each keeps of accuracy and what it costs beside float32."""
    table = Table(
        "trial", metric, "time", "size", "float ops", title="none of these beats another", title_justify="left"
    )
    for member in front:
        table.add_row(
            str(member.trial),
            f"{member.accuracy:.4f}",
            f"{member.relative_latency * 100:.1f} % of float32",
            f"{member.relative_size * 100:.1f} % of float32",
            str(len(member.recipe.float_ops)),
        )
    return table


def _drop(trial: TrialRecord) -> str:
    found = trial.evidence
    return "" if found is None else f"{drop(found.drop, found.relative)} ({drop(found.bound, found.relative)})"


def _evidence(result: TuneResult) -> Evidence | None:
    trial = result.best or result.closest
    return trial.evidence if trial else None


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
    reached = score_in_full(trial, run.header.higher_is_better, evaluation_rows(run.trials))
    ending += f"; {word} is trial {trial.number}{f' with {reached}' if reached else ''}"
    saved = f", in {run.folder / word}" if (run.folder / word).is_dir() else ", not saved under its name"
    return f"{'met' if result.met else 'missed'}: {ending}{saved}"
