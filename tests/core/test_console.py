"""Progress and table: on a terminal only, and never on standard output."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

import ilit
from ilit import Trial
from ilit.console import progress_line, trials_table, verdict
from ilit.errors import IlitWarning
from ilit.recipe import FLOAT32
from ilit.run import Run, open_run
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
    assert "trial 1 missed: fake_accuracy 0.6914" in log
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
        f"{target}; trial 1 of at most 100",
        f"{target}; trial 2 of at most 100; the last missed with 0.6914",
        f"{target}; trial 3 of at most 100; the last passed with 0.8828; best so far 0.8828",
    ]


def test_the_table_has_a_row_a_trial(finished: tuple[Run, ilit.TuneResult]) -> None:
    """Status, score, float ops, speed-up and reasons; brackets in them are text."""
    console = Console(file=io.StringIO(), width=160)
    console.print(trials_table(finished[0]))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[0] == "│"]
    assert [row[:4] for row in rows] == [["1", "missed", "0.6914", "0"], ["2 best", "passed", "0.8828", "1"]]
    assert rows[1][5:] == ["1.53", "layer2 [float]"]


def test_a_miss_is_a_verdict_too(tuner: Callable[..., Tuner]) -> None:
    """The closest is named with its folder."""
    tuned = tuner(miss, metric="fake_accuracy")
    with pytest.warns(IlitWarning, match="no recipe met"):
        tuned.tune(MODEL, **DATA)
    assert tuned.result is not None
    line = verdict(open_run(tuned.result.folder), tuned.result)
    assert line.startswith("missed: fake_accuracy 1 % relative of 0.8828")
    assert line.endswith(f"closest is trial 1 with 0.6914, in {tuned.result.folder}/closest")
