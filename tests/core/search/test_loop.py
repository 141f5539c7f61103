"""The loop: budget, laws, and nothing found out is ever lost."""

from __future__ import annotations

import itertools
import logging
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ilit.adapter import Measurement
from ilit.criterion import Criterion
from ilit.errors import PluginError, RunError
from ilit.evaluation.fidelity import Sample
from ilit.evaluation.order import EvaluationOrder, EvaluationOrders
from ilit.evaluation.scoring import FunctionScorer, MetricScorer, Scorer
from ilit.executor import SerialExecutor
from ilit.objective import PERFORMANCE
from ilit.plugins.registry import Registry
from ilit.recipe import FLOAT32, Recipe
from ilit.result import TrialRecord, relative_cost
from ilit.run.folder import JOURNAL
from ilit.run.journal import JournalWriter, read_journal
from ilit.run.records import Header, Probed, Started, Tried
from ilit.search.context import Assessment, Models, RunClock, RunContext
from ilit.search.ledger import open_ledger
from ilit.search.loop import Budget, SearchEnd, search
from ilit.space import CalibrationSize
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Trial,
)
from ilit.testing import FakeAccuracy, FakeAdapter, fake_data, fake_model

MODEL = fake_model(sensitive=("layer2",), rejects=("layer3",))
DATA = fake_data(MODEL)
ADAPTER = FakeAdapter()
SPACE = replace(ADAPTER.describe(MODEL, DATA[0]), calibrations=(CalibrationSize(128),))
CALIBRATION = ADAPTER.calibrate(MODEL, DATA, SPACE)
FLOAT_MODEL = ADAPTER.lower(MODEL, SPACE.float_recipe(), CALIBRATION)
SCORE = ADAPTER.evaluate(FLOAT_MODEL, DATA, FakeAccuracy())

PASSES = SPACE.recipe({"layer2": FLOAT32, "layer3": FLOAT32})
ALSO_PASSES = SPACE.recipe({"layer1": FLOAT32, "layer2": FLOAT32, "layer3": FLOAT32})
MISSES = SPACE.recipe({"layer3": FLOAT32})
FAILS = SPACE.recipe({})
FLOATS = SPACE.float_recipe()


class Scripted:
    """A strategy of one generator function."""

    name: ClassVar[str] = "scripted"
    Options: ClassVar[type] = object

    def __init__(self, options: Any) -> None:
        self.search = lambda space, baseline, rng: options(rng)


class Loop:
    """One search over the fake model, with its journal in ``folder``; ``heard`` has what event hooks were told."""

    def __init__(self, folder: Path, plugins: Registry, heard: list[TrialRecord]) -> None:
        self.file, self.plugins, self.heard = folder / JOURNAL, plugins, heard
        self.seconds: Callable[[], float] = lambda: 0.0
        self.executor: Any = SerialExecutor()
        self.scorer: Scorer = MetricScorer(
            "fake_accuracy", ADAPTER, EvaluationOrders(EvaluationOrder(DATA)), FakeAccuracy
        )
        self.baseline_seconds = 0.0

    def run(
        self, script: Callable[[random.Random], Any], trials: int = 100, seconds: float = 0, met: bool = False
    ) -> SearchEnd:
        context = RunContext(
            Models(ADAPTER, MODEL, FLOAT_MODEL, CALIBRATION, SPACE, Sample(DATA[0], DATA[0])),
            Assessment(
                self.scorer, Criterion(), Baseline(SCORE, Criterion().target(SCORE)), PERFORMANCE, tuple(DATA[:1])
            ),
            RunClock(self.seconds, seconds or math.inf, self.baseline_seconds),
        )
        header = Header("", "fake", {}, ADAPTER.cpu(), 1, {}, "", "", 1, 1, True, "", "", 1, 1, 1)
        rng = random.Random(9527)  # noqa: S311 - a search, not a secret
        with open_ledger(self.file.parent, header, self.plugins, PERFORMANCE) as ledger:
            return search(context, Scripted(script), rng, self.executor, Budget(trials, seconds, met), ledger)

    def entries(self, kind: type[Any]) -> list[Any]:
        return [entry for entry in read_journal(self.file).entries if isinstance(entry, kind)]


@pytest.fixture
def loop(tmp_path: Path, load: Callable[..., Registry], plugin: Callable[..., Any]) -> Loop:
    """Return a loop over the fake model that has its journal in ``tmp_path``."""
    heard: list[TrialRecord] = []

    def ilit_trial_finished(trial: TrialRecord) -> None:
        heard.append(trial)

    return Loop(tmp_path, load(observer=plugin(ilit_trial_finished=ilit_trial_finished)), heard)


def asking(*requests: Any, answers: list[Any] | None = None) -> Callable[[random.Random], Iterator[Any]]:
    """Return a strategy's search that makes these requests and notes the answers."""

    def script(rng: random.Random) -> Iterator[Any]:
        for request in requests:
            answer = yield request
            if answers is not None:
                answers.append(answer)

    return script


# --- Answers ---------------------------------------------------------------------------------------------------------


def test_each_trial_is_answered_with_what_it_gave(loop: Loop) -> None:
    """Passed, missed and failed are told apart, and the strategy hears accuracy and reason."""
    answers: list[Any] = []
    ending = loop.run(asking(Trial(PASSES), Trial(MISSES), Trial(FAILS), answers=answers))
    assert [answer.status for answer in answers] == ["passed", "missed", "failed"]
    assert [answer.accepted for answer in answers] == [True, False, False]
    assert answers[0].accuracy >= 0.99 * SCORE > answers[1].accuracy
    assert answers[2].accuracy is None
    assert answers[2].reason == "op 'layer3': the fake engine has no INT8 kernel for it; leave it in float32"
    assert ending.reason == "strategy scripted has no more recipes after 3 trials"


def test_each_kind_of_probe_is_answered_and_counted_apart(loop: Loop) -> None:
    """A probe gives the outcome of its kind, and is no trial."""
    answers: list[Any] = []
    ending = loop.run(asking(DistanceProbe(MISSES), OpErrorProbe(MISSES), OpSpeedProbe(MISSES), answers=answers))
    distance, errors, speeds = answers
    assert isinstance(distance, DistanceOutcome)
    assert 0.5 < distance.distance < 2
    assert isinstance(errors, OpErrorOutcome)
    assert set(errors.errors) == set(MISSES.quantized_ops)
    assert speeds == OpSpeedOutcome({})  # the fake adapter times no ops
    assert (ending.probes, ending.trials) == (3, ())


# --- Memo and tuples -------------------------------------------------------------------------------------------------


def test_a_recipe_is_evaluated_once(loop: Loop) -> None:
    """Asked for again, also under another order of its ops, it is answered from memory and not counted."""
    again = Recipe(dict(reversed(MISSES.ops.items())), MISSES.calibration)
    answers: list[Any] = []
    ending = loop.run(asking(Trial(MISSES), Trial(again), (Trial(again), Trial(MISSES)), answers=answers))
    assert answers[0] == answers[1] == answers[2][0] == answers[2][1]
    assert len(ending.trials) == len(loop.heard) == 1


def test_a_probe_is_run_once_and_is_no_trial(loop: Loop) -> None:
    """The same probe is remembered; one of another kind is another one; and none answers a trial."""
    kinds = [DistanceProbe(MISSES), OpErrorProbe(MISSES), OpSpeedProbe(MISSES), Trial(MISSES)]
    ending = loop.run(asking(*kinds, *kinds))
    assert (ending.probes, len(ending.trials)) == (3, 1)


def test_a_tuple_is_answered_in_order(loop: Loop) -> None:
    """Trials and probes mixed, each answer at its request's place."""
    answers: list[Any] = []
    loop.run(asking((Trial(FAILS), DistanceProbe(PASSES), Trial(MISSES), Trial(FAILS)), (), answers=answers))
    failed, probed, missed, again = answers[0]
    assert (failed.status, missed.status, again) == ("failed", "missed", failed)
    assert probed.distance < 0.1
    assert answers[1] == ()


def test_a_tuple_goes_through_the_executor(loop: Loop) -> None:
    """Each request of a tuple is handed to the executor, which may pull all before it answers."""
    pulled: list[int] = []

    class Eager:
        def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            batch = list(items)
            pulled.append(len(batch))
            answers = {id(item): work(item) for item in reversed(batch)}
            return (answers[id(item)] for item in batch)

    loop.executor = Eager()
    answers: list[Any] = []
    ending = loop.run(asking((Trial(PASSES), Trial(MISSES), DistanceProbe(PASSES)), answers=answers))
    assert pulled == [3]
    assert [record.number for record in ending.trials] == [1, 2]
    assert [answer.status for answer in answers[0][:2]] == ["passed", "missed"]


def test_a_strategy_that_only_repeats_itself_is_ended(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers from memory cost nothing, so asking for them for ever has to be noticed."""

    def script(rng: random.Random) -> Iterator[Any]:
        while True:
            yield Trial(MISSES)

    monkeypatch.setattr("ilit.search.loop.MOST_REPEATS", 50)
    ending = loop.run(script)
    assert "strategy scripted: asked 50 times in a row for what it was told already" in ending.reason
    assert len(ending.trials) == 1


def test_repeats_count_in_a_row_only(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new request between them shows that the strategy still gets somewhere."""
    monkeypatch.setattr("ilit.search.loop.MOST_REPEATS", 3)
    again = [Trial(MISSES)] * 3
    ending = loop.run(asking(*again, Trial(PASSES), *again[1:], Trial(ALSO_PASSES)))
    assert (ending.error, len(ending.trials)) == (None, 3)


# --- The end ---------------------------------------------------------------------------------------------------------


def test_it_ends_at_the_first_accepted_record(loop: Loop) -> None:
    """With ``stop: met`` nothing more is asked for, not even the rest of a tuple, and the generator is closed."""
    closed: list[bool] = []

    def script(rng: random.Random) -> Iterator[Any]:
        try:
            yield (Trial(MISSES), Trial(PASSES), Trial(ALSO_PASSES))
        finally:
            closed.append(True)

    ending = loop.run(script, met=True)
    assert [record.status for record in ending.trials] == ["missed", "passed"]
    assert ending.reason == "the criterion is met after 2 trials"
    assert closed == [True]


def test_with_a_budget_it_goes_on(loop: Loop) -> None:
    """With ``stop: budget`` an accepted record is not the end."""
    assert len(loop.run(asking(Trial(PASSES), Trial(ALSO_PASSES))).trials) == 2


@pytest.mark.parametrize("whole", [False, True], ids=["one by one", "in a tuple"])
def test_max_trials_is_a_limit(loop: Loop, whole: bool) -> None:
    """Probes and repeats do not count, trials do, within a tuple too."""
    requests = [DistanceProbe(PASSES), Trial(MISSES), Trial(MISSES), Trial(FAILS), Trial(PASSES)]
    ending = loop.run(asking(tuple(requests)) if whole else asking(*requests), trials=2)
    assert [record.status for record in ending.trials] == ["missed", "failed"]
    assert ending.reason == "tuning.max_trials 2 is reached after 2 trials"


@pytest.mark.parametrize(
    ("timeout", "trials", "reason"),
    [
        (60, 1, "leaves too little time for another eval_func after 1 trial"),
        (79, 1, "leaves too little time for another eval_func after 1 trial"),
        (81, 2, "leaves too little time for another eval_func after 2 trials"),
        (40, 1, "is reached after 1 trial"),
    ],
)
def test_no_eval_func_is_begun_that_does_not_fit(loop: Loop, timeout: float, trials: int, reason: str) -> None:
    """A trial that would take as long as those before is not begun when less time is left."""
    now = [0.0]

    def eval_func(model: Any) -> float:
        now[0] += 40.0
        return SCORE - 0.5

    loop.seconds, loop.scorer, loop.baseline_seconds = lambda: now[0], FunctionScorer(eval_func), 30.0
    ending = loop.run(asking((Trial(PASSES), Trial(ALSO_PASSES), Trial(MISSES))), seconds=timeout)
    assert len(ending.trials) == trials
    assert ending.reason == f"tuning.timeout {timeout:g} s {reason}"


def test_before_the_first_the_float_model_tells_how_long_a_trial_takes(loop: Loop) -> None:
    """An eval_func that took longer on the float model than there is time is not begun at all."""
    loop.scorer, loop.baseline_seconds = FunctionScorer(lambda _: SCORE), 100.0
    assert loop.run(asking(DistanceProbe(PASSES), Trial(PASSES)), seconds=99).trials == ()


@pytest.mark.parametrize(
    ("scorer", "statuses", "lowered"),
    [
        (MetricScorer("eval_func", ADAPTER, EvaluationOrders(EvaluationOrder(DATA)), FakeAccuracy), ["passed"], 1),
        (FunctionScorer(lambda model: ADAPTER.evaluate(model, DATA, FakeAccuracy())), [], 0),
    ],
    ids=["a metric of this name", "a function"],
)
def test_a_metric_may_be_called_eval_func(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, scorer: Scorer, statuses: list[str], lowered: int
) -> None:
    """What it is tells, not its name: it can be stopped, so it is begun, and its model is not made a second time."""
    made: list[Recipe] = []
    lower = FakeAdapter.lower

    def counted(self: FakeAdapter, model: Any, recipe: Recipe, calibration: Any) -> Any:
        made.append(recipe)
        return lower(self, model, recipe, calibration)

    monkeypatch.setattr(FakeAdapter, "lower", counted)
    loop.scorer, loop.baseline_seconds = scorer, 100.0
    assert [record.status for record in loop.run(asking(Trial(PASSES)), seconds=99).trials] == statuses
    assert len(made) == lowered


def test_a_metrics_trial_is_ended_by_the_timeout(loop: Loop) -> None:
    """Between two batches the clock is looked at: the trial fails, and says after how many rows."""
    clock = itertools.count(step=1.0)
    loop.seconds = lambda: next(clock)
    (record,) = loop.run(asking(Trial(PASSES), Trial(MISSES)), seconds=7).trials
    assert record.status == "failed"
    assert re.fullmatch(r"tuning.timeout is reached after \d+ evaluation rows of this trial", record.reason)


def test_no_timeout_is_no_limit(loop: Loop) -> None:
    """0 seconds means as long as it takes."""
    clock = iter(range(10**9, 10**10, 10**6))
    loop.seconds = lambda: next(clock)
    assert len(loop.run(asking(Trial(PASSES), Trial(MISSES)), seconds=0).trials) == 2


def test_ctrl_c_keeps_what_is_in(loop: Loop) -> None:
    """An interrupted evaluation ends the search; the records before it are returned, the one begun is marked."""
    given: list[Any] = [SCORE - 0.5, KeyboardInterrupt()]

    def eval_func(model: Any) -> float:
        result = given.pop(0)
        if isinstance(result, BaseException):
            raise result
        return float(result)

    loop.scorer = FunctionScorer(eval_func)
    ending = loop.run(asking(Trial(PASSES), Trial(MISSES), Trial(ALSO_PASSES)))
    assert ending.interrupted
    assert ending.reason == "interrupted by Ctrl-C after 1 trial"
    assert [entry.trial for entry in loop.entries(Started)] == [1, 2]
    assert [entry.record for entry in loop.entries(Tried)] == list(ending.trials)


# --- What was pruned -------------------------------------------------------------------------------------------------

LABELS = np.concatenate([labels for _, labels in DATA])
WORSE = SPACE.recipe({"layer3": FLOAT32}, transforms={}).with_ops({"layer1": SPACE.ops["layer1"].candidates[2]})


@pytest.fixture
def pruning(loop: Loop) -> Loop:
    """Return the loop with a scorer that knows the labels, so that misses are pruned."""
    loop.scorer = MetricScorer("fake_accuracy", ADAPTER, EvaluationOrders(EvaluationOrder(DATA, LABELS)), FakeAccuracy)
    return loop


def test_a_miss_is_pruned_and_says_so(pruning: Loop) -> None:
    """The strategy hears of the bound, the record of the rows; the recipe that passes is seen to its end."""
    answers: list[Any] = []
    pruned, passed = pruning.run(asking(Trial(MISSES), Trial(PASSES), answers=answers)).trials
    assert [answer.status for answer in answers] == ["pruned", "passed"]
    assert 0 < pruned.rows < passed.rows == len(LABELS)
    assert pruned.accuracy == answers[0].accuracy
    assert pruned.accuracy is not None
    assert pruned.accuracy < 0.99 * SCORE
    assert answers[1].cost == pytest.approx(relative_cost(passed, PERFORMANCE))


def test_the_closest_is_seen_to_its_end(pruning: Loop) -> None:
    """Where nothing passed, what is called closest has a score; the journal and the hooks get its new record."""
    ending = pruning.run(asking(Trial(WORSE), Trial(MISSES)))
    first, second = pruning.entries(Tried)[:2]
    completed = next(record for record in ending.trials if record.status == "missed")
    assert {first.record.status, second.record.status} == {"pruned"}
    assert completed.rows == len(LABELS)
    assert completed.accuracy == ADAPTER.evaluate(
        ADAPTER.lower(MODEL, completed.recipe, CALIBRATION), DATA, FakeAccuracy()
    )
    assert pruning.heard[2:] == [completed]
    assert pruning.entries(Tried)[2:] == [Tried(completed.number, completed)]
    assert [record.number for record in ending.trials] == [1, 2]
    assert sum(record.status == "pruned" for record in ending.trials) == 1


def test_after_a_pass_nothing_is_completed(pruning: Loop) -> None:
    """The closest of a run that met its criterion is the best."""
    ending = pruning.run(asking(Trial(MISSES), Trial(PASSES)))
    assert [record.status for record in ending.trials] == ["pruned", "passed"]


def test_without_time_nothing_is_completed(pruning: Loop) -> None:
    """The timeout is kept: the closest stays pruned."""
    now = [0.0]
    pruning.seconds = lambda: now[0]

    def script(rng: random.Random) -> Iterator[Any]:
        yield Trial(MISSES)
        now[0] = 10.0
        yield Trial(PASSES)

    assert [record.status for record in pruning.run(script, seconds=10).trials] == ["pruned"]


def test_a_completion_that_fails_loses_nothing(pruning: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """Time may run out in it: the record stays as it was, and the log says why."""
    clock = itertools.count()
    pruning.seconds = lambda: next(clock)
    with caplog.at_level(logging.INFO, logger="ilit"):
        (record,) = pruning.run(asking(Trial(MISSES)), seconds=12).trials
    assert record.status == "pruned"
    assert len(pruning.entries(Tried)) == 1
    assert re.search(
        r"trial 1 could not be completed: tuning.timeout is reached after \d+ evaluation rows", caplog.text
    )


def test_why_a_request_was_not_begun_stays_the_reason(loop: Loop) -> None:
    """An executor that pulls all before it works: short trials that come in later do not make room any more."""
    now = [0.0]

    class Slow:
        def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            batch = []
            for item in items:
                batch.append(item)
                now[0] += 50.0
            return (work(item) for item in batch)

    loop.executor, loop.seconds, loop.baseline_seconds = Slow(), lambda: now[0], 90.0
    loop.scorer = FunctionScorer(lambda _: SCORE - 0.5)
    ending = loop.run(asking((Trial(PASSES), Trial(ALSO_PASSES))), seconds=99)
    assert len(ending.trials) == 1
    assert ending.reason == "tuning.timeout 99 s leaves too little time for another eval_func after 1 trial"


# --- Laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param(
            PASSES, "yielded a Recipe; only Trial, DistanceProbe, OpErrorProbe, OpSpeedProbe and tuples", id="a recipe"
        ),
        pytest.param([Trial(PASSES)], "yielded a list", id="a list"),
        pytest.param((Trial(PASSES), None), "yielded a NoneType", id="None in a tuple"),
        pytest.param(Trial(PASSES.ops), "yielded a Trial whose recipe is a mappingproxy; give a Recipe", id="its ops"),
        pytest.param(DistanceProbe(PASSES, why=3), "yielded a DistanceProbe whose why is a int; give a str", id="why"),
        pytest.param(Trial(Recipe({"layer9": FLOAT32})), "the space has no op 'layer9'", id="unknown op"),
        pytest.param(DistanceProbe(Recipe({"layer0": FLOAT32}, "128 rows")), "op 'layer1' is missing", id="missing op"),
        pytest.param(
            Trial(PASSES.with_ops({"layer0": replace(PASSES.ops["layer0"], approach="weight_only")})),
            "op 'layer0' may not be weight_only",
            id="no candidate",
        ),
        pytest.param(Trial(replace(PASSES, calibration="9 rows")), "calibration may not be '9 rows'", id="calibration"),
        pytest.param(
            Trial(replace(PASSES, transforms={"smooth": 0.5})), "transform 'smooth' may not be 0.5", id="transform"
        ),
    ],
)
def test_what_no_strategy_may_ask_for_is_refused(loop: Loop, request_: Any, text: str) -> None:
    """The strategy is named with what it did; what was found out before is returned beside the error."""
    ending = loop.run(asking(Trial(MISSES), request_))
    assert isinstance(ending.error, PluginError)
    assert str(ending.error).startswith("strategy scripted: ")
    assert text in str(ending.error)
    assert len(ending.trials) == 1


def test_a_strategy_that_raises_loses_nothing(loop: Loop) -> None:
    """Its exception becomes an error that names it, with the records so far."""

    def script(rng: random.Random) -> Iterator[Any]:
        yield Trial(MISSES)
        raise IndexError("pop from empty list")

    ending = loop.run(script)
    assert str(ending.error) == (
        "strategy scripted: raised IndexError: pop from empty list; report it to the strategy's author"
    )
    assert isinstance(ending.error.__cause__ if ending.error else None, IndexError)
    assert len(ending.trials) == 1


@pytest.mark.parametrize("found", [None, []], ids=["nothing", "a list"])
def test_a_search_that_is_no_generator_is_the_strategys_mistake(loop: Loop, found: Any) -> None:
    """A method that forgot to yield is named, as one that raises is."""
    ending = loop.run(lambda rng: found)
    assert isinstance(ending.error, PluginError)
    assert str(ending.error).startswith("strategy scripted: raised AttributeError: ")


def test_what_is_not_the_strategys_is_not_blamed_on_it(loop: Loop) -> None:
    """A bug elsewhere is returned as it was raised, with its traceback, beside the records so far."""
    bug = ZeroDivisionError("division by zero")

    class Broken:
        def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                if item.trial == 2:
                    raise bug
                yield work(item)

    loop.executor = Broken()
    ending = loop.run(asking(Trial(MISSES), Trial(PASSES)))
    assert ending.error is bug
    assert bug.__traceback__ is not None
    assert ending.reason == "ZeroDivisionError: division by zero"
    assert [record.status for record in ending.trials] == ["missed"]


def test_a_measurement_that_is_no_number_costs_its_trial(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter is named in the record, and the search goes on."""
    monkeypatch.setattr(FakeAdapter, "measure", lambda self, model, batch: Measurement(math.nan, 1, 1))
    ending = loop.run(asking(Trial(PASSES), Trial(MISSES)))
    assert ending.error is None
    assert [record.status for record in ending.trials] == ["failed", "missed"]
    assert ending.trials[0].reason.startswith("adapter fake: measure gave seconds nan; ")


def test_a_strategy_that_does_not_close_costs_nothing(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """The result stands, and the log names the strategy."""

    def script(rng: random.Random) -> Iterator[Any]:
        try:
            yield Trial(PASSES)
        except GeneratorExit:
            yield Trial(MISSES)

    ending = loop.run(script, met=True)
    assert ending.error is None
    assert len(ending.trials) == 1
    assert "strategy scripted: closing it raised" in caplog.text


def test_the_strategy_gets_the_seeded_generator(loop: Loop) -> None:
    """Randomness comes from the seed alone, and the global generator is left alone."""
    drawn: list[float] = []

    def script(rng: random.Random) -> Iterator[Any]:
        drawn.append(rng.random())
        yield DistanceProbe(PASSES)

    before = random.getstate()
    loop.run(script)
    assert drawn == [random.Random(9527).random()]  # noqa: S311 - a search, not a secret
    assert random.getstate() == before


# --- The journal -----------------------------------------------------------------------------------------------------


def test_everything_is_in_the_journal_in_order(loop: Loop) -> None:
    """Each trial is announced before and recorded after, each probe recorded, all with request numbers."""
    ending = loop.run(asking(DistanceProbe(PASSES, why="look"), (Trial(MISSES, "first"), Trial(MISSES)), Trial(FAILS)))
    probed, first, tried, second, failed = read_journal(loop.file).entries
    assert isinstance(probed, Probed)
    assert (probed.request, probed.digest, probed.why) == (1, PASSES.digest, "look")
    assert first == Started(2, 1, MISSES.digest)
    assert tried == Tried(2, ending.trials[0])
    assert (second, failed) == (Started(3, 2, FAILS.digest), Tried(3, ending.trials[1]))
    assert ending.trials[0].why == "first"


def test_a_tuple_is_worked_off_in_order(loop: Loop) -> None:
    """A recipe that is in a tuple twice is evaluated at its first place."""
    ending = loop.run(asking((Trial(MISSES), Trial(FAILS), Trial(MISSES), Trial(PASSES))))
    assert [record.status for record in ending.trials] == ["missed", "failed", "passed"]


def test_a_trial_is_announced_before_it_runs(loop: Loop) -> None:
    """Whatever kills the process in a trial, the journal says which recipe it was."""
    seen: list[int] = []

    def eval_func(model: Any) -> float:
        seen.append(len(loop.entries(Started)) - len(loop.entries(Tried)))
        return SCORE

    loop.scorer = FunctionScorer(eval_func)
    loop.run(asking(Trial(PASSES), Trial(MISSES)))
    assert seen == [1, 1]


def test_a_full_disk_loses_nothing(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal cannot be written the search ends with the records it has."""
    original = JournalWriter.append

    def append(self: JournalWriter, entry: Any) -> None:
        if isinstance(entry, Started) and entry.trial == 2:
            raise RunError("journal.jsonl: the record cannot be written (No space left on device); free some space")
        original(self, entry)

    monkeypatch.setattr(JournalWriter, "append", append)
    ending = loop.run(asking(Trial(MISSES), Trial(PASSES)))
    assert isinstance(ending.error, RunError)
    assert len(ending.trials) == 1
