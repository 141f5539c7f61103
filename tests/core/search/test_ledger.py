"""The ledger: journal first, then memory, then event hooks; and the journal tells it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ilit.adapter import Cpu, Measurement
from ilit.errors import RunError
from ilit.objective import MODEL_SIZE, PERFORMANCE
from ilit.plugins.registry import Registry
from ilit.recipe import FLOAT32, Recipe
from ilit.result import TrialRecord
from ilit.run.folder import JOURNAL
from ilit.run.journal import JournalWriter, read_journal
from ilit.run.records import Header, Probed, Started, Tried
from ilit.run.state import Run
from ilit.search.ledger import Ledger, open_ledger, outcome_of, state_of
from ilit.strategy import (
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Trial,
    TrialOutcome,
)

ONE, OTHER = Recipe({"layer0": FLOAT32}), Recipe({"layer1": FLOAT32})
HEADER = Header("", "fake", {}, Cpu("", "", "V", 1), 1, {}, "accuracy", "", 1, 1, True, "", "", 1, 1, 1)
MISSED = TrialRecord(1, ONE, "missed", 0.8)


@pytest.fixture
def heard() -> list[tuple[Run, TrialRecord]]:
    """Return what the event hook is given, trial by trial."""
    return []


@pytest.fixture
def ledger(
    tmp_path: Path, load: Callable[..., Registry], plugin: Callable[..., Any], heard: list[Any]
) -> Iterator[Ledger]:
    """Yield an empty ledger."""

    def ilit_trial_finished(run: Run, trial: TrialRecord) -> None:
        heard.append((run, trial))

    plugins = load(observer=plugin(ilit_trial_finished=ilit_trial_finished))
    with open_ledger(tmp_path, HEADER, plugins, PERFORMANCE) as ledger:
        yield ledger


def fill(ledger: Ledger) -> None:
    """Enter a probe, a trial that is completed later, another probe, and a trial that does not end."""
    ledger.record(ledger.begin(DistanceProbe(ONE, why="look")), DistanceOutcome(0.5))
    ledger.record(ledger.begin(Trial(ONE)), TrialRecord(1, ONE, "pruned", 0.85))
    ledger.record(ledger.begin(OpErrorProbe(OTHER)), OpErrorOutcome({"layer0": 0.1}))
    ledger.replace(ledger.trials[0], MISSED)
    ledger.begin(Trial(OTHER))


def test_requests_and_trials_are_numbered_apart(ledger: Ledger) -> None:
    """Each request has a number, each trial its own, also where several are open at once."""
    jobs = [ledger.begin(request) for request in (DistanceProbe(ONE), Trial(ONE), OpSpeedProbe(ONE), Trial(OTHER))]
    assert [(job.number, job.trial) for job in jobs] == [(1, 0), (2, 1), (3, 0), (4, 2)]
    assert ledger.trials_begun == 2
    assert ledger.trials == ()


def test_the_journal_tells_all_that_a_ledger_knows(ledger: Ledger, tmp_path: Path) -> None:
    """Replayed entry by entry it gives the same state, a trial that has not ended included."""
    fill(ledger)
    entries = read_journal(tmp_path / JOURNAL).entries
    assert [type(entry) for entry in entries] == [Probed, Started, Tried, Probed, Tried, Started]
    assert state_of(entries, PERFORMANCE) == ledger.state
    job = ledger.begin(OpSpeedProbe(ONE))
    assert state_of(entries, PERFORMANCE) == ledger.state  # a probe under way is no entry yet
    ledger.record(job, OpSpeedOutcome({}))
    assert state_of(read_journal(tmp_path / JOURNAL).entries, PERFORMANCE) == ledger.state


def test_the_journal_comes_first(ledger: Ledger, heard: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk does not take is neither known nor told."""

    def full(self: JournalWriter, entry: Any) -> None:
        raise RunError("journal.jsonl: the record cannot be written (No space left on device); free some space")

    job = ledger.begin(Trial(ONE))
    monkeypatch.setattr(JournalWriter, "append", full)
    with pytest.raises(RunError):
        ledger.record(job, MISSED)
    with pytest.raises(RunError):
        ledger.begin(Trial(OTHER))
    assert (ledger.trials, ledger.trials_begun, heard) == ((), 1, [])
    assert ledger.unanswered([Trial(ONE)]) == [Trial(ONE)]


def test_event_hooks_see_the_run_with_the_trial_in_it(ledger: Ledger, heard: list[Any]) -> None:
    """Records and probes so far, in order; a later record stands in the place of the earlier one."""
    fill(ledger)
    ledger.record(ledger.begin(Trial(Recipe({"layer2": FLOAT32}))), TrialRecord(3, OTHER, "failed", reason="no"))
    assert [(trial.number, trial.status) for _, trial in heard] == [(1, "pruned"), (1, "missed"), (3, "failed")]
    first, second, third = (run for run, _ in heard)
    assert (len(first.probes), len(second.probes)) == (1, 2)
    assert second.trials == (MISSED,)
    assert [record.number for record in third.trials] == [1, 3]


def test_a_record_that_is_not_changed_is_no_entry(ledger: Ledger, heard: list[Any], tmp_path: Path) -> None:
    """Replaced by itself it is neither written nor told again."""
    ledger.record(ledger.begin(Trial(ONE)), MISSED)
    ledger.replace(MISSED, MISSED)
    assert len(heard) == 1
    assert len(read_journal(tmp_path / JOURNAL).entries) == 2


def test_what_was_asked_before_is_answered_from_memory(ledger: Ledger) -> None:
    """By the kind of request and the recipe; what is new is named once, by its first request."""
    fill(ledger)
    first = Trial(OTHER, "first")
    requests = [DistanceProbe(ONE), OpErrorProbe(ONE), Trial(ONE), first, Trial(OTHER, "again"), OpErrorProbe(ONE)]
    assert ledger.unanswered(requests) == [OpErrorProbe(ONE), first]
    assert ledger.outcome(DistanceProbe(ONE)) == DistanceOutcome(0.5)
    assert ledger.outcome(OpErrorProbe(OTHER)) == OpErrorOutcome({"layer0": 0.1})
    assert ledger.outcome(Trial(ONE)) == TrialOutcome("missed", 0.8)


def test_an_outcome_of_each_kind_is_found_by_its_request(ledger: Ledger) -> None:
    """No kind of probe is taken for another, nor for a trial."""
    answers = {DistanceProbe: DistanceOutcome(1.0), OpErrorProbe: OpErrorOutcome({}), OpSpeedProbe: OpSpeedOutcome({})}
    for probe, outcome in answers.items():
        ledger.record(ledger.begin(probe(ONE)), outcome)
    assert {probe: ledger.outcome(probe(ONE)) for probe in answers} == answers
    assert ledger.unanswered([Trial(ONE)]) == [Trial(ONE)]


def test_a_strategy_is_told_costs_by_the_objective() -> None:
    """As a share of the float model's; the objection apart from the reason."""
    record = TrialRecord(
        1, ONE, "passed", 0.9, cost=Measurement(1.0, 30, 0), float_cost=Measurement(2.0, 120, 0), objection="too large"
    )
    assert outcome_of(record, PERFORMANCE) == TrialOutcome("passed", 0.9, objection="too large", cost=0.5)
    assert outcome_of(record, MODEL_SIZE).cost == 0.25
    assert outcome_of(MISSED, PERFORMANCE).cost is None
