"""The loop between a strategy and its answers: laws, budget, and the end of a search."""

from __future__ import annotations

import logging
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ilit.errors import IlitError, PluginError, one_line
from ilit.executor import Executor
from ilit.recipe import Recipe
from ilit.result import TrialRecord
from ilit.search.choice import best_of, closest_of, most_promising
from ilit.search.context import RunContext
from ilit.search.holdout import judged_on_holdout
from ilit.search.ledger import Job, Ledger
from ilit.search.trial import run_probe, run_to_the_end, run_trial
from ilit.space import SearchSpace
from ilit.strategy import ProbeOutcome, Request, Requests, Strategy, Trial

# A strategy that asks this often in a row for what it was told already will never ask for anything else.
MOST_REPEATS = 100_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """When to stop listening to the strategy.

    Attributes:
        max_trials: recipes evaluated, at most.
        seconds: as the user gave them, for messages; what counts is the run clock's deadline. It is looked at before
            each request and, where a metric scores, after each batch of a trial.
        until_accepted: end at the first accepted record.
    """

    max_trials: int
    seconds: float = 0.0
    until_accepted: bool = True


@dataclass(frozen=True)
class SearchEnd:
    """Why a search ended, and all it found out.

    Attributes:
        reason: one line.
        trials: every record, in order.
        probes: recipes probed.
        interrupted: by Ctrl-C.
        error: what ended the search by mistake, to be raised once everything found out is saved: an ``IlitError`` of
            the strategy or the disk, or any other exception as it was raised, with its traceback.
    """

    reason: str
    trials: tuple[TrialRecord, ...]
    probes: int
    interrupted: bool = False
    error: Exception | None = None


@dataclass(frozen=True)
class _Session:
    """One conversation with one strategy."""

    context: RunContext
    strategy: str
    executor: Executor
    budget: Budget
    ledger: Ledger

    def spent(self, request: Request | None = None) -> str:
        """Return the limit that is reached, or would be by ``request``, in words; empty where there is none."""
        if self.ledger.trials_begun >= self.budget.max_trials:
            return f"tuning.max_trials {self.budget.max_trials} is reached"
        left = self.context.clock.left()
        if left <= 0:
            return f"tuning.timeout {self.budget.seconds:g} s is reached"
        to_the_end = isinstance(request, Trial) and not self.context.assessment.scorer.stops_early
        if to_the_end and left < self.usual_seconds():
            return f"tuning.timeout {self.budget.seconds:g} s leaves too little time for another eval_func"
        return ""

    def usual_seconds(self) -> float:
        """Return the median time of the trials evaluated; before the first, of the float model's evaluation."""
        taken = [record.seconds for record in self.ledger.trials if record.accuracy is not None]
        return statistics.median(taken or [self.context.clock.baseline_seconds])


def search(
    context: RunContext, strategy: Strategy, rng: random.Random, executor: Executor, budget: Budget, ledger: Ledger
) -> SearchEnd:
    """Answer the strategy's requests until it ends, a record is accepted, the budget is spent or Ctrl-C comes.

    A recipe asked for twice is answered from memory the second time, and not counted. Whatever ends the search,
    what it found out is returned: a strategy that breaks its laws, a disk that is full and a bug give a ``SearchEnd``
    with ``error``, never an exception.
    """
    session = _Session(context, strategy.name, executor, budget, ledger)
    try:
        space, baseline = context.models.space, context.assessment.baseline
        requests: Requests = _from_strategy(strategy.name, strategy.search, space, baseline, rng)
        try:
            reason = _converse(session, requests)
        finally:
            _close(requests, strategy.name)
        _evaluate_further(context, ledger)
    except KeyboardInterrupt:
        return _ending(ledger, "interrupted by Ctrl-C", interrupted=True)
    except Exception as error:  # noqa: BLE001 - handed on in the ending, to be raised once the results are saved
        _log.info("the search ended by %s", one_line(error), exc_info=True)
        return _ending(ledger, one_line(error), error=error)
    return _ending(ledger, reason)


def _from_strategy(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a call of the strategy's own code.

    Raises:
        StopIteration: it is a generator that has ended.
        IlitError: as it was raised.
        PluginError: anything else that was raised, blamed on the strategy.
    """
    try:
        return call(*arguments)
    except (StopIteration, IlitError):
        raise
    except Exception as error:
        raise PluginError(f"strategy {name}: raised {one_line(error)}; report it to the strategy's author") from error


def _send(requests: Requests, outcome: Any) -> Any:
    return requests.send(outcome)


def _evaluate_further(context: RunContext, ledger: Ledger) -> None:
    """Complete a closest recipe that was pruned, and evaluate the one the search ends with on the rows held out."""
    criterion, baseline = context.assessment.criterion, context.assessment.baseline.accuracy
    in_time = not context.clock.expired()
    if in_time and not any(record.status == "passed" for record in ledger.trials):
        _complete_closest(context, ledger)
    best = best_of(ledger.trials, context.assessment.objective, criterion)
    chosen = best or closest_of(ledger.trials, criterion, baseline)
    # The verdict on the holdout is part of what a best recipe promises, so it is reached even once the time is up. The
    # closest recipe has missed whatever the holdout says, so it is judged there only while there is time.
    if chosen is not None and chosen.status != "pruned" and (best or in_time):
        ledger.replace(chosen, judged_on_holdout(context, chosen))


def _complete_closest(context: RunContext, ledger: Ledger) -> None:
    """Evaluate the pruned recipe that may be the closest to its end, so that what is called closest has a score."""
    assessment = context.assessment
    promising = most_promising(ledger.trials, assessment.criterion, assessment.baseline.accuracy)
    if promising is not None:
        _log.info("trial %d was pruned and may be the closest: it is evaluated to its end", promising.number)
        ledger.replace(promising, run_to_the_end(context, promising))


def _ending(ledger: Ledger, reason: str, interrupted: bool = False, error: Exception | None = None) -> SearchEnd:
    trials, probes = ledger.trials, len(ledger.state.probes)
    full = f"{reason} after {len(trials)} trial{'' if len(trials) == 1 else 's'}"
    return SearchEnd(reason if error else full, trials, probes, interrupted, error)


def _close(requests: Requests, name: str) -> None:
    """Close the strategy; one that does not close cleanly costs nobody a result that is already in."""
    try:
        requests.close()
    except Exception as error:  # noqa: BLE001 - logged; the search is over and its results are in
        _log.warning("strategy %s: closing it raised %s", name, one_line(error), exc_info=True)


def _converse(session: _Session, requests: Requests) -> str:
    """Send outcomes and take requests; return the reason for the end of it."""
    outcome: Any = None
    repeats = 0
    while True:
        try:
            asked = _from_strategy(session.strategy, _send, requests, outcome)
        except StopIteration:
            return f"strategy {session.strategy} has no more recipes"
        batch: tuple[Request, ...] = asked if isinstance(asked, tuple) else (asked,)
        for request in batch:
            check_request(request, session.context.models.space, session.strategy)
        new = session.ledger.unanswered(batch)
        repeats = 0 if new else repeats + 1
        _check_repeats(repeats, session.strategy)
        if end := _answer(session, new):
            return end
        outcomes = tuple(map(session.ledger.outcome, batch))
        outcome = outcomes if isinstance(asked, tuple) else outcomes[0]


def _answer(session: _Session, requests: Sequence[Request]) -> str:
    """Bring every answer to new requests into the ledger; return the reason for an end here, else an empty string."""
    ledger = session.ledger
    jobs: list[Job] = []
    ends: list[str] = []

    def begun() -> Iterator[Job]:
        # A job is begun when the executor pulls it, so the budget is looked at before each, not once a batch.
        for request in requests:
            if end := session.spent(request):
                ends.append(end)
                return
            jobs.append(ledger.begin(request))
            yield jobs[-1]

    for index, answer in enumerate(session.executor.map(partial(_run, session.context), begun())):
        ledger.record(jobs[index], answer)
        if session.budget.until_accepted and isinstance(answer, TrialRecord) and answer.accepted:
            return "the criterion is met"
    return ends[0] if ends else session.spent()


def _run(context: RunContext, job: Job) -> TrialRecord | ProbeOutcome:
    if isinstance(job.request, Trial):
        return run_trial(context, job.request, job.trial)
    return run_probe(context.models, job.request)


def _check_repeats(repeats: int, strategy: str) -> None:
    """Refuse a strategy that has long been asking for nothing new.

    Raises:
        PluginError: it has.
    """
    if repeats >= MOST_REPEATS:
        raise PluginError(
            f"strategy {strategy}: asked {MOST_REPEATS} times in a row for what it was told already; "
            "a strategy has to end, so report it to its author"
        )


def check_request(request: object, space: SearchSpace, strategy: str) -> None:
    """Refuse what no strategy may yield.

    Raises:
        PluginError: not a request, one that is not made of a recipe and a text, or a recipe outside the space; says
            where it leaves it.
    """
    if not isinstance(request, Request):
        raise PluginError(
            f"strategy {strategy}: yielded a {type(request).__name__}; "
            "only Trial, DistanceProbe, OpErrorProbe, OpSpeedProbe and tuples of them are requests"
        )
    for name, value, wanted in (("recipe", request.recipe, Recipe), ("why", request.why, str)):
        if not isinstance(value, wanted):
            raise PluginError(
                f"strategy {strategy}: yielded a {type(request).__name__} whose {name} is a {type(value).__name__}; "
                f"give a {wanted.__name__}"
            )
    if request.recipe not in space:
        raise PluginError(f"strategy {strategy}: asked for a recipe outside the space: {_violation(request, space)}")


def _violation(request: Request, space: SearchSpace) -> str:
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
