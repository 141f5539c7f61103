"""A run folder as it is read: its state, its trials, its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilit.adapter import Cpu
from ilit.errors import RunError
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.run.folder import lock_folder
from ilit.run.journal import JournalWriter
from ilit.run.records import Finished, Header, Started, Tried
from ilit.run.state import open_run

TRIAL = TrialRecord(1, Recipe(), "missed", 0.5)


HEADER = Header("", "fake", {}, Cpu("", "", "A", 1), 1, {}, "f1", "", 0.9, 0.8, True, "basic", "performance", 9, 1, 2)


def journal(folder: Path, *entries: Started | Tried | Finished) -> Path:
    """Write a journal into ``folder`` and return the folder."""
    writer = JournalWriter(folder / "journal.jsonl", HEADER)
    for entry in entries:
        writer.append(entry)
    writer.close()
    return folder


@pytest.mark.parametrize(
    ("entries", "locked", "state"),
    [
        pytest.param((Finished("done", False, None, 1),), False, "finished", id="finished"),
        pytest.param((Finished("Ctrl-C", False, None, 1, True),), False, "interrupted", id="Ctrl-C"),
        pytest.param((), False, "interrupted", id="killed"),
        pytest.param((), True, "running", id="running"),
    ],
)
def test_a_run_tells_its_state(tmp_path: Path, entries: tuple[Finished, ...], locked: bool, state: str) -> None:
    """Finished, interrupted, killed and running are told apart from the folder alone."""
    journal(tmp_path, Started(1, 1, TRIAL.recipe.digest), Tried(1, TRIAL), *entries)
    lock = lock_folder(tmp_path)
    if not locked:
        lock.release()
    run = open_run(tmp_path)
    lock.release()
    assert run.state == state
    assert run.trials == (TRIAL,)
    assert run.closest == (TRIAL if entries else None)
    assert run.best is None


def test_a_completed_trial_takes_the_place_of_its_first_record(tmp_path: Path) -> None:
    """A trial that was stopped early and finished at the end of the run is one trial."""
    other = TrialRecord(2, Recipe(), "missed", 0.4)
    stopped = TrialRecord(1, Recipe(), "pruned", 0.7)
    journal(tmp_path, Tried(1, stopped), Tried(2, other), Tried(1, TRIAL), Finished("done", False, None, 1))
    assert open_run(tmp_path).trials == (TRIAL, other)


def test_a_damaged_front_is_refused(tmp_path: Path) -> None:
    """A run is read whole or not at all."""
    journal(tmp_path, Tried(1, TRIAL), Finished("done", False, None, 1))
    (tmp_path / "front.json").write_text("[]")
    with pytest.raises(RunError, match=r"front.json: is damaged"):
        open_run(tmp_path)


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that is not there is named, with where runs go."""
    with pytest.raises(RunError, match="no such run folder"):
        open_run(tmp_path / "nothing")
