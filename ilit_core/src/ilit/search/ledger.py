"""The ledger of a search, its one changing part: what is found out goes to the journal, then to memory and plugins."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ilit.objective import Objective
from ilit.plugins.registry import Registry
from ilit.report.wording import score_in_full
from ilit.result import TrialRecord, TuneResult, relative_cost
from ilit.run.folder import JOURNAL
from ilit.run.front import members, write_front
from ilit.run.journal import JournalWriter
from ilit.run.records import Entry, Finished, Header, Probed, Started, Tried
from ilit.run.state import Run
from ilit.strategy import (
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    Outcome,
    ProbeOutcome,
    Request,
    Trial,
    TrialOutcome,
)

Key = tuple[type[Outcome], str]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A request on its way through the executor. ``trial`` is its trial number, 0 for a probe."""

    number: int
    trial: int
    request: Request


@dataclass
class SearchState:
    """The state of a search, which follows from its journal's entries alone.

    Attributes:
        objective: of whose costs strategies are told.
        trials: trial number -> its last record.
        probes: in order.
        outcomes: what a strategy is answered, by the outcome's class and the recipe's digest.
        requests: the last request number among the entries.
        requested: trial number -> its request number, of every trial begun.
    """

    objective: Objective
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    probes: list[Probed] = field(default_factory=list)
    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    requests: int = 0
    requested: dict[int, int] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Take in one entry; that a search has finished changes nothing."""
        match entry:
            case Started(request, trial):
                self.requests = max(self.requests, request)
                self.requested[trial] = request
            case Tried(_, record):
                self.trials[record.number] = record
                self.outcomes[TrialOutcome, record.recipe.digest] = outcome_of(record, self.objective)
            case Probed(request, digest, outcome):
                self.requests = max(self.requests, request)
                self.probes.append(entry)
                self.outcomes[type(outcome), digest] = outcome


def state_of(entries: Iterable[Entry], objective: Objective) -> SearchState:
    """Return the state of the search that wrote these entries into its journal."""
    state = SearchState(objective)
    for entry in entries:
        state.take(entry)
    return state


@dataclass
class Ledger:
    """What a search knows so far, written through to its journal and told to plugins.

    Attributes:
        folder: the run folder.
        header: the journal's.
        journal: where each entry goes before anything else.
        plugins: whose event hooks hear of each trial.
        state: what the journal's entries say, in memory.
    """

    folder: Path
    header: Header
    journal: JournalWriter
    plugins: Registry
    state: SearchState

    def __post_init__(self) -> None:
        self._last_request = self.state.requests  # ahead of the entries while a probe is under way

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """The records so far, in order."""
        return tuple(self.state.trials.values())

    @property
    def trials_begun(self) -> int:
        """The number of trials begun, whether they have a record yet or not."""
        return len(self.state.requested)

    @property
    def run(self) -> Run:
        """The run as event hooks see it while it goes on."""
        return Run(self.folder, self.header, self.trials, tuple(self.state.probes))

    def outcome(self, request: Request) -> Outcome:
        """Return the answer to a request that has one."""
        return self.state.outcomes[_key(request)]

    def unanswered(self, requests: Iterable[Request]) -> list[Request]:
        """Return the requests that are new, each once, in order."""
        new: dict[Key, Request] = {}
        for request in requests:
            if (key := _key(request)) not in self.state.outcomes:
                new.setdefault(key, request)
        return list(new.values())

    def start(self) -> None:
        """Tell that the search begins."""
        self.plugins.notify("ilit_run_started", run=self.run)

    def begin(self, request: Request) -> Job:
        """Give the request its numbers; a trial is in the journal before anything of it runs.

        Raises:
            RunError: the disk does not take it, here and wherever the journal is written.
        """
        number, trial = self._last_request + 1, self.trials_begun + 1 if isinstance(request, Trial) else 0
        if trial:
            self._enter(Started(number, trial, request.recipe.digest))
        self._last_request = number
        return Job(number, trial, request)

    def record(self, job: Job, answer: TrialRecord | ProbeOutcome) -> None:
        """Record the answer to a request."""
        if isinstance(answer, TrialRecord):
            self._enter(Tried(job.number, answer))
            self._tell(answer)
        else:
            self._enter(Probed(job.number, job.request.recipe.digest, answer, job.request.why))

    def replace(self, old: TrialRecord, new: TrialRecord) -> None:
        """Put a trial's later record in the place of its earlier one."""
        if new != old:
            self._enter(Tried(self.state.requested[old.number], new))
            self._tell(new)

    def finish(self, result: TuneResult, reason: str) -> None:
        """Write the run's end into journal and front, and tell of it, be it that the disk does not take it."""
        end = _end_of(result, reason)
        _log.info("ended: %s", reason)
        front = members(result.front)
        state: Literal["interrupted", "finished"] = "interrupted" if result.interrupted else "finished"
        run = replace(self.run, finished=end, front=front, state=state)
        try:
            self._enter(end)
            write_front(self.folder, front)
        finally:
            self.plugins.notify("ilit_run_finished", run=run, result=result)

    def _enter(self, entry: Entry) -> None:
        self.journal.append(entry)
        self.state.take(entry)

    def _tell(self, record: TrialRecord) -> None:
        """Log one record, and tell plugins of it."""
        score = score_in_full(record, self.header.higher_is_better) or "-"
        about = "; ".join(part for part in (record.why_not, record.why) if part)
        figures = (record.number, record.status, self.header.metric, score, record.seconds)
        _log.info("trial %d %s: %s %s, %.1f s; %s", *figures, about)
        self.plugins.notify("ilit_trial_finished", run=self.run, trial=record)


@contextlib.contextmanager
def open_ledger(folder: Path, header: Header, plugins: Registry, objective: Objective) -> Iterator[Ledger]:
    """Create a run's journal, and yield the ledger, still empty; the journal is closed afterwards.

    Raises:
        RunError: the folder has a journal already, or cannot be written.
    """
    with contextlib.closing(JournalWriter(folder / JOURNAL, header)) as journal:
        yield Ledger(folder, header, journal, plugins, SearchState(objective))


def outcome_of(record: TrialRecord, objective: Objective) -> TrialOutcome:
    """Return the outcome of a trial that its strategy is told."""
    cost = None if record.cost is None else relative_cost(record, objective)
    return TrialOutcome(record.status, record.accuracy, record.reason, record.objection, cost)


def _key(request: Request) -> Key:
    return _outcome_class(request), request.recipe.digest


def _outcome_class(request: Request) -> type[Outcome]:
    match request:
        case Trial():
            return TrialOutcome
        case DistanceProbe():
            return DistanceOutcome
        case OpErrorProbe():
            return OpErrorOutcome
        case _:
            return OpSpeedOutcome


def _end_of(result: TuneResult, reason: str) -> Finished:
    return Finished(
        reason,
        result.met,
        best=result.best.number if result.best else None,
        closest=result.closest.number if result.closest else None,
        interrupted=result.interrupted,
        seconds=result.seconds,
    )
