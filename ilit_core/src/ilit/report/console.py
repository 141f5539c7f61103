"""A run on a terminal: a progress line while it searches, a table of its trials when it is over.

A built-in plugin on the event hooks; it writes to standard error, and only where that is a terminal. Elsewhere the
same facts are the log lines of the logger ``ilit``. A program with a display of its own takes the line over by
``shown_by``.
"""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ilit.hookspecs import hookimpl
from ilit.report.summary import Summary, TrialSummary, summary_of_result
from ilit.report.wording import drop, evaluation_rows, left_in_float, pruned, score
from ilit.result import TuneResult
from ilit.run.front import FrontMember
from ilit.run.state import Run

# The lines being shown, by run folder: events come one by one, so what is on the screen has to be known between them.
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
    summary = summary_of_result(result)
    show_trials(summary, line.console)
    for text in (ending(summary), summary.chosen.drop.verdict, *left_in_float(summary.left_in_float)):
        if text:
            line.console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress_line(run: Run) -> str:
    """Return a run's state in a line: its trial, the end of the last one, the best score so far, and the target."""
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


def show_trials(summary: Summary, console: Console) -> None:
    """Print the table of the trials, the reasons below it folded between words, and the front of two or more."""
    console.print(trials_table(summary))
    for line in trial_lines(summary):
        # A terminal would fold in the middle of a word.
        folded = textwrap.fill(
            line, console.width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        console.print(folded, markup=False, highlight=False, soft_wrap=True)
    if len(summary.front) > 1:
        console.print(front_table(summary.front, summary.asked.metric))


def trials_table(summary: Summary) -> Table:
    """Return one row a trial, narrow enough for 80 columns; the one the run ended with is marked.

    The drop has a column where it is known.
    """
    bounds = {trial.evidence.confidence for trial in summary.trials if trial.evidence}
    columns = [f"drop ({confidence * 100:g} % bound)" for confidence in sorted(bounds)[:1]]
    table = Table()
    for title in ("trial", "status", summary.asked.metric, *columns, "time", "speed-up"):
        table.add_column(title, no_wrap=title not in columns)
    mark = "best" if summary.passed else "closest"
    for trial in summary.trials:
        speedup = trial.cost.speedup
        table.add_row(
            f"{trial.trial} {mark}" if trial.trial == summary.chosen.trial else str(trial.trial),
            trial.status,
            trial.score,
            *[_drop(trial)] * len(columns),
            f"{trial.trial_seconds:.1f} s",
            "" if speedup is None else f"{speedup:.2f}",
        )
    return table


def trial_lines(summary: Summary) -> list[str]:
    """Return a line a trial: why it was asked for, what speaks against it, and how many of its ops are in float."""
    lines = []
    for trial in summary.trials:
        count = len(trial.ops.ops_float)
        in_float = f"{count} of {summary.ops_total} ops in float" if count else ""
        words = "; ".join(text for text in (trial.why, trial.objection, trial.stopped, in_float) if text)
        lines += [f"trial {trial.trial}: {words}"] if words else []
    return lines


def front_table(front: Sequence[FrontMember], metric: str) -> Table:
    """Return the Pareto front, a row a member: its accuracy, and its cost beside float32's."""
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


def _drop(trial: TrialSummary) -> str:
    found = trial.evidence
    return "" if found is None else f"{drop(found.drop, found.relative)} ({drop(found.bound, found.relative)})"


def ending(summary: Summary) -> str:
    """Return the end of a run in one line: met or missed, why it ended, and the trial chosen."""
    word, trial = "best" if summary.passed else "closest", summary.chosen
    about = f"{summary.asked.metric} {summary.criterion}; {summary.reason}"
    if trial.trial is None:
        return f"missed: {about}; no recipe could be evaluated"
    about += f"; {word} is trial {trial.trial}{f' with {trial.reached}' if trial.reached else ''}"
    saved = f", in {summary.folder / word}" if (summary.folder / word).is_dir() else ", not saved under its name"
    return f"{'met' if summary.passed else 'missed'}: {about}{saved}"
