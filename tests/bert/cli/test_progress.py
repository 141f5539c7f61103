"""Promises of ``ilit_bert.cli.progress``: one bar for batches and trials, log lines above it."""

from __future__ import annotations

import dataclasses

from rich.progress import Progress

from ilit.adapter import Cpu
from ilit.recipe import Recipe
from ilit.report.console import ilit_run_finished, ilit_run_started, ilit_trial_finished
from ilit.result import TrialRecord
from ilit.run import Header, Run
from ilit_bert.cli.progress import progress

HEADER = Header("", "pytorch", {}, Cpu("", "", "A", 1), 1, {}, "f1", "1 %", 0.9, 0.8, True, "basic", "", 100, 1, 2)
TRIAL = TrialRecord(1, Recipe(), "pruned", 0.8612, rows=512)


def test_the_bar_counts_batches_and_then_trials(monkeypatch, tmp_path):
    """The first pass counts batches; then the search's own line is shown, until the next run's first pass."""
    bars = []

    class Seen(Progress):
        """A bar that a test can look at."""

        def __init__(self, *columns, **options):
            super().__init__(*columns, **options)
            bars.append(self)

    monkeypatch.setattr("ilit_bert.cli.progress.Progress", Seen)

    def state():
        (task,) = bars[0].tasks
        return task.description, task.completed, task.total

    run = Run(tmp_path, HEADER)
    with progress("MRPC: evaluating") as step:
        step(14, 14)
        assert state() == ("MRPC: evaluating", 14, 14)
        ilit_run_started(run)
        assert state() == ("trial 1 of at most 100; f1, 1 %", 0, None)
        ilit_trial_finished(dataclasses.replace(run, trials=(TRIAL,)))
        line = "trial 2 of at most 100; the last pruned after 512 rows with at most 0.8612; f1, 1 %"
        assert state() == (line, 0, None)
        step(3, 14)
        step(1, 14)
        assert state() == (line, 1, 14)
        ilit_run_finished(run, None)
        assert state() == ("MRPC: evaluating", 0, None)
