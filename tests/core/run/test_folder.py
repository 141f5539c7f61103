"""Run folders: unique, locked, never half written, and readable afterwards."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ilit.adapter import Cpu
from ilit.errors import ArtefactError, RunError
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.run.folder import create_folder, lock_folder, try_folder, write_beside
from ilit.run.journal import JournalWriter
from ilit.run.records import Finished, Header, Started, Tried
from ilit.run.state import open_run
from ilit.strategy import Trial
from ilit.testing import fake_data, fake_model

NOW = datetime(2026, 11, 23, 21, 27, 5)
TRIAL = TrialRecord(1, Recipe(), "missed", 0.5)
HEADER = Header("", "fake", {}, Cpu("", "", "A", 1), 1, {}, "f1", "", 0.9, 0.8, True, "basic", "performance", 9, 1, 2)

MODEL = fake_model()
DATA = fake_data(MODEL)


def only_first(space: Any, baseline: Any) -> Iterator[Any]:
    """Ask for the space's first choices."""
    yield Trial(space.recipe({}))


def journal(folder: Path, *entries: Started | Tried | Finished) -> Path:
    """Write a journal into ``folder`` and return the folder."""
    writer = JournalWriter(folder / "journal.jsonl", HEADER)
    for entry in entries:
        writer.append(entry)
    writer.close()
    return folder


def test_a_folder_is_named_by_time_and_config(tmp_path: Path) -> None:
    """The name is readable, sorts by time, and the resolved configuration is inside."""
    folder = create_folder(tmp_path / "runs", "device: cpu\n", NOW)
    assert folder.name.startswith("2026-11-23_21-27-05_")
    assert (folder / "config.yaml").read_text() == "device: cpu\n"


def test_no_folder_is_taken_twice(tmp_path: Path) -> None:
    """Runs of the same second and configuration get folders of their own."""
    folders = {create_folder(tmp_path, "a: 1\n", NOW) for _ in range(3)}
    assert len(folders) == 3
    assert {folder.name.partition("-2")[0] for folder in folders}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where the folder cannot be made, the key and the cure are said."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run.folder .*file.*cannot be written .*; name another folder"):
        create_folder(tmp_path / "file", "", NOW)


@pytest.mark.parametrize("name", ["file", "file/deeper/runs"])
def test_a_place_is_tried_before_it_is_needed(tmp_path: Path, name: str) -> None:
    """Nothing is left behind, neither where it can be written nor where it cannot."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        RunError, match=r"run.folder .*file.*cannot be written \(Not a directory\); name another folder"
    ):
        try_folder(tmp_path / name)
    try_folder(tmp_path / "new" / "runs")
    try_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "\udcff"], ids=["too long", "with a NUL", "no text"])
def test_names_that_no_folder_has_are_refused(tmp_path: Path, name: str) -> None:
    """In one line, as any other."""
    with pytest.raises(RunError, match=r"run.folder .*: cannot be written \(.*\); name another folder"):
        try_folder(tmp_path / name)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002], ids=oct)
def test_every_file_has_the_mode_that_the_umask_says(tmp_path: Path, tuner: Any, mask: int) -> None:
    """Folders, journal, log, predictions, lock and model: who may read a run is for the user to say."""
    before = os.umask(mask)
    try:
        tuned = tuner(only_first, metric="fake_accuracy", accuracy_criterion={"absolute": 0.9})
        tuned.tune(MODEL, DATA[:2], DATA[2:])
    finally:
        os.umask(before)
    assert tuned.result is not None
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "runs", *(tmp_path / "runs").rglob("*"))}
    wrong = {
        path.name: oct(mode) for path, mode in modes.items() if mode != (0o777 if path.is_dir() else 0o666) & ~mask
    }
    assert not wrong
    names = {path.name for path in modes}
    assert {"lock", "journal.jsonl", "log.txt", "000.npy", "front.json", "best", "result.json"} <= names


def test_a_lock_keeps_its_mode_when_a_run_is_looked_at(tmp_path: Path) -> None:
    """Whatever release of filelock is installed."""
    lock_folder(tmp_path).release()
    (tmp_path / "lock").chmod(0o640)
    journal(tmp_path, Tried(1, TRIAL))
    assert open_run(tmp_path).state == "interrupted"
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o640


def test_a_locked_folder_is_refused(tmp_path: Path) -> None:
    """A second writer is told so at once; afterwards the folder is free again."""
    lock = lock_folder(tmp_path)
    with pytest.raises(RunError, match="another process is writing this run"):
        lock_folder(tmp_path)
    lock.release()
    lock_folder(tmp_path).release()


def test_an_artefact_appears_whole(tmp_path: Path) -> None:
    """While it is written it has another name; then it is there, and what was there before is gone."""
    final, seen = tmp_path / "best", []

    def write(folder: Path) -> None:
        seen.append(final.exists())
        (folder / "model").write_text(f"version {len(seen)}")

    write_beside(final, write)
    write_beside(final, write)
    assert seen == [False, True]
    assert (final / "model").read_text() == "version 2"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_failed_artefact_leaves_the_old_one(tmp_path: Path) -> None:
    """A writer that raises leaves neither a half folder nor a gap."""
    final = tmp_path / "best"
    write_beside(final, lambda folder: None)
    (final / "old").write_text("")

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    with pytest.raises(ArtefactError, match="No space left on device"):
        write_beside(final, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert [path.name for path in final.iterdir()] == ["old"]
