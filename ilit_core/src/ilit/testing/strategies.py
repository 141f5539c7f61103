"""The laws of ``ilit.strategy`` as a pytest suite for authors of strategies.

A plugin's test file is three lines::

    class TestMine(StrategyContract):
        @pytest.fixture
        def strategy(self): return Mine(Mine.Options())
"""

from __future__ import annotations

import builtins
import math
import random
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pydantic
import pytest

from ilit.recipe import FLOAT32
from ilit.space import CalibrationSize, SearchSpace
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Outcome,
    Request,
    Strategy,
    Trial,
    TrialOutcome,
)
from ilit.testing.simulation import (
    BASELINE,
    BFLOAT16,
    DYNAMIC,
    PER_TOKEN,
    SMOOTHED,
    STATIC,
    STATIC_KL,
    WEIGHT_ONLY,
    Answer,
    requests_of,
    simulate,
    synthetic_space,
)

SPACES: Mapping[str, SearchSpace] = MappingProxyType(
    {
        "nothing": synthetic_space({}, ()),
        "one-op": synthetic_space({"a": (STATIC, FLOAT32)}),
        "one-op-no-float": synthetic_space({"a": (STATIC, DYNAMIC)}),
        "one-recipe": synthetic_space({"a": (STATIC,)}, ()),
        "only-float": synthetic_space({"a": (FLOAT32,), "b": (FLOAT32,)}),
        "four-ops": synthetic_space(4),
        "mixed-kinds": synthetic_space(
            {
                "embedding": (WEIGHT_ONLY, FLOAT32),
                "first": (STATIC, STATIC_KL, DYNAMIC, FLOAT32),
                "pinned": (FLOAT32,),
                "forced": (STATIC, DYNAMIC),
                "last": (DYNAMIC, FLOAT32),
            }
        ),
        "calibrations-and-transforms": synthetic_space(
            3, (CalibrationSize(10, "batches"), CalibrationSize(50, "batches")), {"smooth": (0.0, 0.7), "bias": (True,)}
        ),
        "groups-and-smoothing": synthetic_space(
            {
                "query": (STATIC, SMOOTHED, FLOAT32),
                "key": (STATIC, SMOOTHED, FLOAT32),
                "output": (STATIC, SMOOTHED, PER_TOKEN, FLOAT32),
                "short": (PER_TOKEN, BFLOAT16, FLOAT32),
            },
            transforms={"bias_correction": (True, False)},
            groups={"query": "attention", "key": "attention"},
        ),
    }
)
"""The spaces of the suite; the largest has 216 recipes."""


def _hashed(request: Request) -> float:
    """Return a number in 0..1 that only the recipe decides and that follows no order."""
    return int(request.recipe.digest[:8], 16) / 0xFFFFFFFF


def _answer(trial: Callable[[Request], TrialOutcome], distance: Callable[[Request], float]) -> Answer:
    """Return an answer made of what a trial gives and of what a probe gives: as distance, op's error or speed-up.

    An infinite figure is a failure: a probe of the ops then names none.
    """

    def answer(request: Request) -> Outcome:
        if isinstance(request, Trial):
            return trial(request)
        figure = distance(request)
        figures = {} if math.isinf(figure) else dict.fromkeys(request.recipe.quantized_ops, figure)
        reason = "" if math.isfinite(figure) else "the engine rejects it"
        match request:
            case DistanceProbe():
                return DistanceOutcome(figure, reason)
            case OpErrorProbe():
                return OpErrorOutcome(figures, reason)
            case OpSpeedProbe():
                return OpSpeedOutcome(figures, reason)

    return answer


_PASSED = TrialOutcome("passed", 0.9)
_MISSED = TrialOutcome("missed", 0.5)
_FAILED = TrialOutcome("failed", None, "LoweringError: the engine rejects it")

ANSWERS: Mapping[str, Answer] = MappingProxyType(
    {
        "all-accepted": _answer(lambda _: _PASSED, lambda _: 0.0),
        "all-rejected-by-the-objective": _answer(
            lambda _: TrialOutcome("passed", 0.9, objection="performance: slower than float32"), lambda _: 0.001
        ),
        "all-missed": _answer(lambda _: _MISSED, _hashed),
        "all-missed-alike": _answer(lambda _: _MISSED, lambda _: 1.0),
        "all-pruned": _answer(lambda _: TrialOutcome("pruned"), _hashed),
        "all-failed": _answer(lambda _: _FAILED, lambda _: math.inf),
        "worse-than-nothing": _answer(lambda _: TrialOutcome("missed", -math.inf), lambda _: math.nan),
        "passes-where-int8-is-rare": _answer(
            lambda r: _PASSED if len(r.recipe.quantized_ops) <= 1 else _MISSED,
            lambda r: float(len(r.recipe.quantized_ops)),
        ),
        "at-random": _answer(
            lambda r: (_PASSED, _MISSED, _FAILED)[int(_hashed(r) * 2.999)],
            lambda r: (math.inf, math.nan, _hashed(r))[int(_hashed(r) * 7) % 3],
        ),
    }
)
"""The adversaries of the suite: outcomes that no order of the ops explains, and failures at every turn."""


def _require(holds: bool, text: str) -> None:
    if not holds:
        pytest.fail(text, pytrace=False)


class StrategyContract:
    """The laws, as tests. Subclass it in a test file and supply the fixture ``strategy``: the object to test.

    Spaces and adversaries are those of ``SPACES`` and ``ANSWERS``. ``max_requests`` is how many requests may be made
    in a space before the strategy counts as endless.
    """

    max_requests: ClassVar[int] = 2_000

    @pytest.fixture
    def strategy(self) -> Strategy:
        """Return the strategy to test."""
        raise NotImplementedError(f"{type(self).__name__}: supply the fixture 'strategy', which returns your strategy")

    @pytest.fixture(params=SPACES)
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        """Return each space in turn."""
        return SPACES[request.param]

    @pytest.fixture(params=ANSWERS)
    def answer(self, request: pytest.FixtureRequest) -> Answer:
        """Return each adversary in turn."""
        return ANSWERS[request.param]

    @pytest.fixture(params=["met", "budget"])
    def baseline(self, request: pytest.FixtureRequest) -> Baseline:
        """Return a baseline of either way to stop."""
        return Baseline(BASELINE.accuracy, BASELINE.target, stop=request.param)

    def _requests(
        self, strategy: Strategy, space: SearchSpace, answer: Answer, baseline: Baseline = BASELINE
    ) -> list[Request]:
        return simulate(strategy, space, answer, baseline=baseline, limit=self.max_requests)

    def test_is_a_strategy(self, strategy: Strategy) -> None:
        """The object has a name and a ``search``, as the protocol says."""
        _require(isinstance(strategy, Strategy), f"{strategy!r} lacks one of: name, Options, search")
        _require(bool(strategy.name) and isinstance(strategy.name, str), f"name {strategy.name!r} must be a word")

    def test_options_forbid_what_they_do_not_know(self, strategy: Strategy) -> None:
        """A misspelt option is an error, never ignored."""
        options = strategy.Options
        _require(issubclass(options, pydantic.BaseModel), f"Options {options!r} must be a pydantic model")
        with pytest.raises(pydantic.ValidationError, match="extra_forbidden"):
            options(no_strategy_has_this_option=1)

    def test_requests_lie_in_the_space(
        self, strategy: Strategy, space: SearchSpace, answer: Answer, baseline: Baseline
    ) -> None:
        """Every request is a ``Trial`` or a probe (or a tuple of them) of a recipe that the space contains."""
        for request in self._requests(strategy, space, answer, baseline):
            _require(request.recipe in space, f"not in the space: '{request.why}': {request.recipe.to_json()}")

    def test_ends_and_survives_failures(
        self, strategy: Strategy, space: SearchSpace, answer: Answer, baseline: Baseline
    ) -> None:
        """The generator ends by itself and raises nothing, whatever the outcomes."""
        self._requests(strategy, space, answer, baseline)

    def test_same_outcomes_and_seed_give_the_same_requests(
        self, strategy: Strategy, space: SearchSpace, answer: Answer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither the clock nor global random state nor an earlier search of the same object changes a request."""
        runs = []
        for moment in (0, 10**9):
            for clock in ("time", "monotonic", "perf_counter"):
                monkeypatch.setattr(time, clock, lambda moment=moment: float(moment))
            random.seed(moment)
            runs.append(self._requests(strategy, space, answer))
            monkeypatch.undo()
        _require(runs[0] == runs[1], f"the second run differs from the first at request {_first_difference(*runs)}")

    def test_leaves_global_random_alone(self, strategy: Strategy, space: SearchSpace, answer: Answer) -> None:
        """Random numbers come from the ``rng`` given: the search and the model's code do not disturb each other."""
        state = random.getstate()
        self._requests(strategy, space, answer)
        _require(random.getstate() == state, "the search drew from the module 'random'; draw from 'rng'")

    def test_opens_no_file(
        self, strategy: Strategy, space: SearchSpace, answer: Answer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A search does no I/O: what it needs to know it asks for."""
        self._requests(strategy, space, answer)  # imports made on first use are not the search's

        def refuse(*args: Any, **_: Any) -> Any:
            raise AssertionError(f"the search opened the file {args[0]!r}")

        monkeypatch.setattr(builtins, "open", refuse)
        self._requests(strategy, space, answer)

    def test_searches_do_not_share_state(self, strategy: Strategy, space: SearchSpace, answer: Answer) -> None:
        """Two searches of one object, stepped in turn, make the requests each would make alone."""
        alone = self._requests(strategy, space, answer)
        first, second = (_Stepped(strategy, space, answer) for _ in range(2))
        while first.step() | second.step():
            _require(len(first.made) <= self.max_requests, "stepped in turn, the search does not end")
        _require(first.made == alone, "a second search of the same object changed the first one's requests")
        _require(second.made == alone, "a first search of the same object changed the second one's requests")

    def test_closing_at_any_yield_is_clean(self, strategy: Strategy, space: SearchSpace, answer: Answer) -> None:
        """Closed before its first request, after any, or left half-way, a search raises nothing and asks no more."""
        longest = _Stepped(strategy, space, answer)
        while longest.step() and longest.steps < 40:
            pass
        longest.generator.close()
        for steps in range(longest.steps + 1):
            search = _Stepped(strategy, space, answer)
            for _ in range(steps):
                search.step()
            search.generator.close()


class _Stepped:
    """One search that is driven a yield at a time."""

    def __init__(self, strategy: Strategy, space: SearchSpace, answer: Answer) -> None:
        self.generator = strategy.search(space, BASELINE, random.Random(9527))  # noqa: S311 - a seeded search
        self.strategy = strategy
        self.answer = answer
        self.made: list[Request] = []
        self.steps = 0
        self._reply: Any = None

    def step(self) -> bool:
        """Send the answers to the last request and take the next; return False at the end."""
        try:
            asked = self.generator.send(self._reply)
        except StopIteration:
            self._reply = None
            return False
        requests = requests_of(self.strategy, asked)
        self.made.extend(requests)
        self.steps += 1
        outcomes = tuple(self.answer(request) for request in requests)
        self._reply = outcomes if isinstance(asked, tuple) else outcomes[0]
        return True


def _first_difference(ours: list[Request], theirs: list[Request]) -> str:
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False), start=1):
        if one != other:
            return f"{number}: {one.why!r} against {other.why!r}"
    return f"{min(len(ours), len(theirs)) + 1}: one run ended, the other did not"
