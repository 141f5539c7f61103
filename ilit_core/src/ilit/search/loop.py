"""The loop between a strategy and its answers: memo, budget, journal, and the end of it."""

from __future__ import annotations

import logging
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ilit.errors import IlitError, PluginError, one_line
from ilit.executor import Executor
from ilit.objective import Objective
from ilit.result import TrialRecord
from ilit.run.journal import JournalWriter, Probed, Started, Tried
from ilit.search.choice import best_of, closest_of, most_promising
from ilit.search.context import RunContext
from ilit.search.trial import held_out, outcome_of, run_probe, run_to_the_end, run_trial
from ilit.space import SearchSpace
from ilit.strategy import Outcome, Probe, ProbeOutcome, Request, Requests, Strategy, Trial

# A strategy that asks this often in a row for what it was told already will never ask for anything else.
MOST_REPEATS = 100_000
_log = logging.getLogger(__name__)
_Key = tuple[type[Request], str]


@dataclass(frozen=True)
class Budget:
    """When to stop listening to the strategy.

    Attributes:
        max_trials: recipes evaluated, at most.
        seconds: as the user gave them, for messages; what counts is the workbench's deadline. It is looked at before
            each request and, where a metric judges, after each batch of a trial.
        until_met: end at the first accepted record.
    """

    max_trials: int
    seconds: float = 0.0
    until_met: bool = True


@dataclass(frozen=True)
class SearchEnd:
    """Why a search ended, and all it found out.

    Attributes:
        reason: one line.
        trials: every record, in order.
        probes: recipes probed.
        interrupted: by Ctrl-C.
        error: what the strategy or the disk did wrong; to be raised once everything found out is kept.
    """

    reason: str
    trials: tuple[TrialRecord, ...]
    probes: int
    interrupted: bool = False
    error: IlitError | None = None


@dataclass(frozen=True)
class _Job:
    """A request on its way through the executor. ``trial`` is its trial number, 0 for a probe."""

    number: int
    trial: int
    request: Request


@dataclass
class _Trials:
    """What the search knows so far: the one thing here that changes."""

    journal: JournalWriter
    on_trial: Callable[[TrialRecord], None]
    objective: Objective
    memo: dict[_Key, Outcome] = field(default_factory=dict)
    trials: list[TrialRecord] = field(default_factory=list)
    probes: int = 0
    requests: int = 0
    requested: dict[int, int] = field(default_factory=dict)
    started: int = 0
    repeats: int = 0

    def open(self, request: Request) -> _Job:
        """Give the request its numbers; a trial is in the journal before anything of it runs."""
        self.requests += 1
        if isinstance(request, Probe):
            return _Job(self.requests, 0, request)
        self.started += 1
        self.requested[self.started] = self.requests
        self.journal.append(Started(self.requests, self.started, request.recipe.digest))
        return _Job(self.requests, self.started, request)

    def close(self, job: _Job, answer: TrialRecord | ProbeOutcome) -> None:
        """Record the answer: journal first, then memory, then the event hooks."""
        if isinstance(answer, TrialRecord):
            self.journal.append(Tried(job.number, answer))
            self.trials.append(answer)
            self.memo[_key(job.request)] = outcome_of(answer, self.objective)
            self.on_trial(answer)
            return
        self.journal.append(Probed(job.number, job.request.recipe.digest, answer, job.request.why))
        self.probes += 1
        self.memo[_key(job.request)] = answer

    def replace(self, old: TrialRecord, new: TrialRecord) -> None:
        """Put what is known better of a trial in the place of its record: journal first, as in ``close``."""
        if new == old:
            return
        self.journal.append(Tried(self.requested[old.number], new))
        self.trials[self.trials.index(old)] = new
        self.on_trial(new)


@dataclass(frozen=True)
class _Session:
    """One conversation with one strategy."""

    context: RunContext
    strategy: str
    executor: Executor
    limits: Budget
    ledger: _Trials

    def spent(self, request: Request | None = None) -> str:
        """Return which limit is reached, or would be by ``request``, else an empty string."""
        if self.ledger.started >= self.limits.max_trials:
            return f"tuning.max_trials {self.limits.max_trials} is reached"
        left = self.context.deadline - self.context.seconds()
        if left <= 0:
            return f"tuning.timeout {self.limits.seconds:g} s is reached"
        if isinstance(request, Trial) and not self.context.scorer.stops_early and left < self.usual_seconds():
            return f"tuning.timeout {self.limits.seconds:g} s leaves too little time for another eval_func"
        return ""

    def usual_seconds(self) -> float:
        """Return what a trial takes, judged by those that were evaluated, before the first by the float model's."""
        taken = [record.seconds for record in self.ledger.trials if record.accuracy is not None]
        return statistics.median(taken or [self.context.baseline_seconds])


def search(
    context: RunContext,
    strategy: Strategy,
    rng: random.Random,
    executor: Executor,
    limits: Budget,
    journal: JournalWriter,
    on_trial: Callable[[TrialRecord], None],
) -> SearchEnd:
    """Answer the strategy's requests until it ends, a record is accepted, the budget is spent or Ctrl-C comes.

    A recipe asked for twice is answered from memory the second time, and not counted. Whatever ends the search,
    what it found out is returned: a strategy that breaks its laws and a disk that is full give an ``SearchEnd`` with
    ``error``, never an exception.
    """
    ledger = _Trials(journal, on_trial, context.objective)
    session = _Session(context, strategy.name, executor, limits, ledger)
    try:
        requests = strategy.search(context.space, context.baseline, rng)
        try:
            reason = _converse(session, requests)
        finally:
            _hang_up(requests, strategy.name)
        _conclude(session)
    except KeyboardInterrupt:
        return _ending(ledger, "interrupted by Ctrl-C", interrupted=True)
    except IlitError as error:
        return _ending(ledger, one_line(error), error=error)
    except Exception as error:  # noqa: BLE001 - handed on in the ending, to be raised once the results are kept
        _log.info("strategy %s raised", strategy.name, exc_info=True)
        broken = PluginError(f"strategy {strategy.name}: raised {one_line(error)}; report it to the strategy's author")
        broken.__cause__ = error
        return _ending(ledger, one_line(broken), error=broken)
    return _ending(ledger, reason)


def _conclude(session: _Session) -> None:
    """Say more of what the search ends with: complete a closest that was pruned, judge on the rows held out."""
    context, ledger = session.context, session.ledger
    in_time = context.seconds() < context.deadline
    if in_time and not any(record.status == "passed" for record in ledger.trials):
        _complete_closest(context, ledger)
    best = best_of(ledger.trials, context.objective, context.criterion)
    chosen = best or closest_of(ledger.trials, context.criterion, context.baseline.accuracy)
    # The best is owed its verdict, be it a little late; a miss is one without it.
    if chosen is not None and chosen.status != "pruned" and (best or in_time):
        ledger.replace(chosen, held_out(context, chosen))


def _complete_closest(context: RunContext, ledger: _Trials) -> None:
    """Evaluate the pruned recipe that may be the closest to its end, so that what is called closest has a score."""
    promising = most_promising(ledger.trials, context.criterion, context.baseline.accuracy)
    if promising is not None:
        _log.info("trial %d was pruned and may be the closest: it is evaluated to its end", promising.number)
        ledger.replace(promising, run_to_the_end(context, promising))


def _ending(ledger: _Trials, reason: str, interrupted: bool = False, error: IlitError | None = None) -> SearchEnd:
    count = len(ledger.trials)
    full = f"{reason} after {count} trial{'' if count == 1 else 's'}"
    return SearchEnd(reason if error else full, tuple(ledger.trials), ledger.probes, interrupted, error)


def _hang_up(requests: Requests, name: str) -> None:
    """Close the strategy; one that does not close cleanly costs nobody a result that is already in."""
    try:
        requests.close()
    except Exception as error:  # noqa: BLE001 - logged; the search is over and its results are in
        _log.warning("strategy %s: closing it raised %s", name, one_line(error), exc_info=True)


def _converse(session: _Session, requests: Requests) -> str:
    """Send answers and take requests; return why the conversation ended."""
    answer: Any = None
    while True:
        try:
            asked = requests.send(answer)
        except StopIteration:
            return f"strategy {session.strategy} has no more recipes"
        batch: tuple[Request, ...] = asked if isinstance(asked, tuple) else (asked,)
        for request in batch:
            check_lawful(request, session.context.space, session.strategy)
        end = _answer(session, batch)
        if end:
            return end
        outcomes = tuple(session.ledger.memo[_key(request)] for request in batch)
        answer = outcomes if isinstance(asked, tuple) else outcomes[0]


def _answer(session: _Session, batch: Sequence[Request]) -> str:
    """Bring every answer to the batch into the memo; return why the search ends here, else an empty string."""
    ledger = session.ledger
    fresh = _fresh(session, batch)
    jobs: list[_Job] = []
    ends: list[str] = []

    def opened() -> Iterator[_Job]:
        # A job is opened when the executor pulls it, so the budget is looked at before each, not once a batch.
        for request in fresh:
            if end := session.spent(request):
                ends.append(end)
                return
            jobs.append(ledger.open(request))
            yield jobs[-1]

    def work(job: _Job) -> TrialRecord | ProbeOutcome:
        if isinstance(job.request, Probe):
            return run_probe(session.context, job.request)
        return run_trial(session.context, job.request, job.trial)

    for index, answer in enumerate(session.executor.map(work, opened())):
        ledger.close(jobs[index], answer)
        if session.limits.until_met and isinstance(answer, TrialRecord) and answer.accepted:
            return "the criterion is met"
    return ends[0] if ends else session.spent()


def _fresh(session: _Session, batch: Sequence[Request]) -> list[Request]:
    """Return the requests that memory cannot answer, each once, in order.

    Raises:
        PluginError: the strategy has long been asking for nothing new.
    """
    ledger = session.ledger
    fresh: dict[_Key, Request] = {}
    for request in batch:
        if _key(request) not in ledger.memo:
            fresh.setdefault(_key(request), request)
    ledger.repeats = 0 if fresh else ledger.repeats + 1
    if ledger.repeats >= MOST_REPEATS:
        raise PluginError(
            f"strategy {session.strategy}: asked {MOST_REPEATS} times in a row for what it was told already; "
            "a strategy has to end, so report it to its author"
        )
    return list(fresh.values())


def _key(request: Request) -> _Key:
    return type(request), request.recipe.digest


def check_lawful(request: object, space: SearchSpace, strategy: str) -> None:
    """Refuse what no strategy may yield.

    Raises:
        PluginError: not a request, or a recipe outside the space; says where it leaves it.
    """
    if not isinstance(request, Request):
        raise PluginError(
            f"strategy {strategy}: yielded a {type(request).__name__}; "
            "only Trial, DistanceProbe, OpErrorProbe, OpSpeedProbe and tuples of them are requests"
        )
    if request.recipe not in space:
        raise PluginError(f"strategy {strategy}: asked for a recipe outside the space: {_trespass(request, space)}")


def _trespass(request: Request, space: SearchSpace) -> str:
    recipe = request.recipe
    for name in (*recipe.ops, *space.ops):
        if name not in space.ops:
            return f"the space has no op {name!r}"
        if name not in recipe.ops:
            return f"op {name!r} is missing"
        if recipe.ops[name] not in space.ops[name].candidates:
            return f"op {name!r} may not be {recipe.ops[name]}"
    for name in (*recipe.transforms, *space.transforms):
        if recipe.transforms.get(name) not in space.transforms.get(name, ()):
            return f"transform {name!r} may not be {recipe.transforms.get(name)!r}"
    return f"calibration may not be {recipe.calibration!r}"
