"""A run as far as it has come: what event hooks are given, and what a run folder is read as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ilit.errors import RunError
from ilit.result import TrialRecord
from ilit.run.folder import JOURNAL, is_locked
from ilit.run.front import FrontMember, read_front
from ilit.run.journal import read_journal
from ilit.run.records import Entry, Finished, Header, Probed, Tried


@dataclass(frozen=True)
class Run:
    """One search as far as it has come: what event hooks are given and ``open_run`` returns.

    Attributes:
        folder: the run folder.
        header: what was known before the first request.
        trials: the records so far, in order.
        probes: the probes so far, in order.
        finished: how it ended, None where it goes on or was killed.
        front: the Pareto front of the accepted recipes, the fastest first; empty until the end.
        state: ``finished``; ``interrupted`` by Ctrl-C or killed; ``running`` while a process holds the lock.
        torn: the journal's last line was cut off, and dropped on reading.
    """

    folder: Path
    header: Header
    trials: tuple[TrialRecord, ...] = ()
    probes: tuple[Probed, ...] = ()
    finished: Finished | None = None
    front: tuple[FrontMember, ...] = ()
    state: Literal["finished", "interrupted", "running"] = "running"
    torn: bool = False

    @property
    def best(self) -> TrialRecord | None:
        """The record the search ended with as best; None where there is none, or the search has not ended."""
        return self._trial(self.finished.best) if self.finished else None

    @property
    def closest(self) -> TrialRecord | None:
        """The record the search ended with as closest."""
        return self._trial(self.finished.closest) if self.finished else None

    def _trial(self, number: int | None) -> TrialRecord | None:
        return next((record for record in self.trials if record.number == number), None)


def open_run(folder: str | Path) -> Run:
    """Read a run folder, finished, interrupted or still being written.

    Raises:
        RunError: no such folder, no journal in it, a damaged line, by number, or a damaged ``front.json``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; run.folder says where runs go (default ./ilit_runs)")
    journal = read_journal(folder / JOURNAL)
    finished = _last(journal.entries)
    return Run(
        folder=folder,
        header=journal.header,
        trials=_trials(journal.entries),
        probes=tuple(entry for entry in journal.entries if isinstance(entry, Probed)),
        finished=finished,
        front=read_front(folder),
        state=_state(finished, folder),
        torn=journal.torn,
    )


def _trials(entries: tuple[Entry, ...]) -> tuple[TrialRecord, ...]:
    """Return each trial's last record: one that was stopped early may have been completed later."""
    return tuple({entry.record.number: entry.record for entry in entries if isinstance(entry, Tried)}.values())


def _last(entries: tuple[Entry, ...]) -> Finished | None:
    return next((entry for entry in reversed(entries) if isinstance(entry, Finished)), None)


def _state(finished: Finished | None, folder: Path) -> Literal["finished", "interrupted", "running"]:
    if finished is not None:
        return "interrupted" if finished.interrupted else "finished"
    return "running" if is_locked(folder) else "interrupted"
