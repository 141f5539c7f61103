"""Progress and table: on a terminal only, and never on standard output."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

import ilit
from ilit import Trial
from ilit.errors import IlitWarning
from ilit.evidence.record import Evidence
from ilit.recipe import FLOAT32
from ilit.report.console import (
    ending,
    front_table,
    ilit_run_finished,
    ilit_run_started,
    progress_line,
    show_trials,
    shown_by,
    trial_lines,
    trials_table,
)
from ilit.report.summary import summary_of_result, summary_of_run
from ilit.report.verdict import sentence
from ilit.run.state import Run, open_run
from ilit.testing import fake_data, fake_model
from ilit.tuner import Tuner

MODEL = fake_model(sensitive=("layer2",))
DATA = {"q_dataloader": fake_data(MODEL, 64, seed=2), "eval_dataloader": fake_data(MODEL)}


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def miss_then_pass(space: Any, baseline: Any) -> Any:
    """Ask for a recipe that misses, then for one that passes."""
    yield Trial(space.recipe({}), "all in INT8")
    yield Trial(space.recipe({"layer2": FLOAT32}), "layer2 [float]")


def miss(space: Any, baseline: Any) -> Any:
    """Ask for a recipe that misses."""
    yield Trial(space.recipe({}))


def test_a_terminal_gets_progress_and_table(
    tuner: Callable[..., Tuner], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The target and the trials are shown on standard error, and the end in one line; standard output stays empty."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    tuner(miss_then_pass, metric="fake_accuracy").tune(MODEL, **DATA)
    shown = terminal.getvalue()
    assert "trial 1 of at most 100" in shown
    assert "layer2 [float]" in shown
    assert "met: fake_accuracy 1 % relative of 0.8828: at least 0.8740; the criterion is met after 2 trials" in shown
    assert capsys.readouterr().out == ""


def test_elsewhere_nothing_is_shown(tuner: Callable[..., Tuner], capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard error is no terminal, the log has the same facts and the streams stay empty."""
    tuned = tuner(miss_then_pass, metric="fake_accuracy")
    tuned.tune(MODEL, **DATA)
    assert capsys.readouterr() == ("", "")
    assert tuned.result is not None
    log = (tuned.result.folder / "log.txt").read_text()
    assert "trial 1 pruned: fake_accuracy at most 0.8555" in log
    assert "trial 2 passed: fake_accuracy 0.8828" in log


@pytest.fixture
def finished(tuner: Callable[..., Tuner]) -> tuple[Run, ilit.TuneResult]:
    """Return a run that met its criterion at its second trial."""
    tuned = tuner(miss_then_pass, metric="fake_accuracy")
    tuned.tune(MODEL, **DATA)
    assert tuned.result is not None
    return open_run(tuned.result.folder), tuned.result


def test_the_line_tells_where_the_run_is(finished: tuple[Run, ilit.TuneResult]) -> None:
    """Target, trial, the last one's end, the best score so far."""
    run = finished[0]
    target = "fake_accuracy, 1 % relative of 0.8828: at least 0.8740"
    lines = [progress_line(Run(run.folder, run.header, run.trials[:count])) for count in range(3)]
    assert lines == [
        f"trial 1 of at most 100; {target}",
        f"trial 2 of at most 100; the last pruned after 64 rows with at most 0.8555; {target}",
        f"trial 3 of at most 100; the last passed with 0.8828; {target}",
    ]


@pytest.mark.parametrize(
    ("higher", "bound"), [(True, "at most 0.9500"), (False, "at least 0.1000")], ids=["higher", "lower"]
)
def test_the_line_tells_where_a_trial_was_stopped(
    finished: tuple[Run, ilit.TuneResult], higher: bool, bound: str
) -> None:
    """What a pruned trial could still have reached is a bound, and no score to beat."""
    run = finished[0]
    stopped = replace(run.trials[0], number=3, status="pruned", accuracy=float(bound[-6:]), rows=16)
    missed, passed = run.trials
    complete = (replace(missed, status="missed", rows=128), replace(passed, rows=128))
    line = progress_line(replace(run, header=replace(run.header, higher_is_better=higher), trials=(*complete, stopped)))
    best = max(t.accuracy or 0 for t in complete) if higher else min(t.accuracy or 1 for t in complete)
    said = f"the last pruned after 16 of 128 rows with {bound}; best so far {best:.4f}; "
    assert line.startswith(f"trial 4 of at most 100; {said}")


EVIDENCE = Evidence(1725, 12, 15, 0.701, 0.00174, 0.00866, 0.95, 0.01, "tango", 1)


def cells(table: Table) -> list[list[str]]:
    """Return the rows of a table as it is printed, the titles first."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # the StringIO above
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines if line[:1] in ("│", "┃")]


def test_the_table_has_a_row_a_trial(finished: tuple[Run, ilit.TuneResult]) -> None:
    """Number, status, score and speed-up."""
    run = finished[0]
    bare = replace(run, trials=tuple(replace(trial, evidence=None) for trial in run.trials))
    titles, *rows = cells(trials_table(summary_of_run(bare)))
    assert titles == ["trial", "status", "fake_accuracy", "time", "speed-up"]
    assert [row[:3] for row in rows] == [["1", "pruned", "at most 0.8555"], ["2 best", "passed", "0.8828"]]
    assert rows[1][4:] == ["1.53"]


def test_the_table_has_the_drop_where_it_is_known(finished: tuple[Run, ilit.TuneResult]) -> None:
    """The drop seen and its bound, rounded up, stand beside the score; a pruned trial has a bound of its score only."""
    run, _ = finished
    stopped = replace(run.trials[0], status="pruned", accuracy=0.8612, rows=512, evidence=None)
    proven = replace(run.trials[1], rows=1725, evidence=EVIDENCE)
    summary = summary_of_run(replace(run, trials=(stopped, proven)))
    titles, first, second = cells(trials_table(summary))
    assert titles[2:4] == ["fake_accuracy", "drop (95 % bound)"]
    assert first[1:4] == ["pruned", "at most 0.8612", ""]
    assert second[1:4] == ["passed", "0.8828", "0.18 % (0.87 %)"]
    assert trial_lines(summary) == [
        "trial 1: all in INT8; pruned after 512 of 1725 rows",
        "trial 2: layer2 [float]; 1 of 4 ops in float",
    ]


def test_trials_are_readable_at_80_columns(finished: tuple[Run, ilit.TuneResult]) -> None:
    """Every line fits, and no word of a reason or cell of the table is broken; a name longer than a line is whole."""
    run, _ = finished
    op = "bert.encoder.layer.11.attention.output.dense"
    why = f"the [per_channel] scales of {op} and {op} are taken\nback one after the other; and so is {op * 2}"
    reason = "performance: INT8 costs 0.01742 s, float32 0.01638 s"
    first = replace(run.trials[0], number=99, accuracy=0.8612, rows=512, why=why)
    second = replace(run.trials[1], number=100, rows=1725, evidence=EVIDENCE, seconds=123.4, reason=reason)
    header = replace(run.header, metric="acc_and_f1")
    end = replace(run.finished, best=None, closest=100, met=False)  # type: ignore[type-var]  # the run has finished
    summary = summary_of_run(replace(run, header=header, trials=(first, second), finished=end))
    console = Console(file=io.StringIO(), width=80)
    show_trials(summary, console)
    table, below = console.file.getvalue().split("┘\n")  # type: ignore[attr-defined]  # the StringIO above
    assert " ".join(below.split()) == " ".join(" ".join(trial_lines(summary)).split())
    assert [line for line in below.splitlines() if len(line) > 80] == [f"  {op * 2};"]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    for cell in ("at most 0.8612", "100 closest", "0.18 % (0.87 %)", "123.4 s"):
        assert cell in table


def test_the_front_is_a_table(finished: tuple[Run, ilit.TuneResult]) -> None:
    """Each member's score, and its time and size beside float32's."""
    member = replace(finished[0].front[0], relative_latency=0.654, relative_size=0.25)
    assert cells(front_table([member], "f1")) == [
        ["trial", "f1", "time", "size", "float ops"],
        ["2", "0.8828", "65.4 % of float32", "25.0 % of float32", "1"],
    ]


@pytest.mark.parametrize("members", [1, 2])
def test_a_front_of_two_is_shown_and_so_is_the_proof(
    finished: tuple[Run, ilit.TuneResult], monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    """At the end of a run on a terminal; one member alone is the best, which is told anyway."""
    run, result = finished
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    ilit_run_started(run)
    best = replace(run.trials[1], evidence=EVIDENCE)
    trials = (run.trials[0], best)
    ilit_run_finished(run, replace(result, best=best, trials=trials, front=result.front * members))
    assert ("none of these beats another" in terminal.getvalue()) == (members == 2)
    assert sentence(EVIDENCE) in terminal.getvalue()


def test_what_stays_in_float_is_told_at_the_end(
    finished: tuple[Run, ilit.TuneResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the verdict."""
    run, result = finished
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    ilit_run_started(run)
    ilit_run_finished(run, replace(result, left_in_float={"layer9": "its forward was replaced"}))
    assert "layer9 stays in float: its forward was replaced" in terminal.getvalue()


def test_a_model_that_is_not_saved_is_not_said_to_be(finished: tuple[Run, ilit.TuneResult], tmp_path: Path) -> None:
    """The folder is named where it is there."""
    run, result = finished
    assert ending(summary_of_result(result)).endswith(f"in {run.folder}/best")
    moved = summary_of_result(replace(result, folder=tmp_path))
    assert ending(moved).endswith("with 0.8828, not saved under its name")


def test_another_program_can_show_the_line(tuner: Callable[..., Tuner], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told each line, and an empty one at the end; nothing is written here, though it be a terminal."""
    terminal, told = Terminal(), list[str]()
    monkeypatch.setattr("sys.stderr", terminal)
    with shown_by(told.append):
        tuner(miss_then_pass, metric="fake_accuracy").tune(MODEL, **DATA)
    assert [line.split(";")[0] for line in told] == [f"trial {n} of at most 100" for n in (1, 2, 3)] + [""]
    assert terminal.getvalue() == ""


def test_a_miss_is_a_verdict_too(tuner: Callable[..., Tuner]) -> None:
    """The closest is named with its folder."""
    tuned = tuner(miss, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match="no recipe met"):
        tuned.tune(MODEL, **DATA)
    assert tuned.result is not None
    line = ending(summary_of_result(tuned.result))
    assert line.startswith("missed: fake_accuracy 1 % relative of 0.8828")
    assert line.endswith(f"closest is trial 1 with 0.6914, in {tuned.result.folder}/closest")
