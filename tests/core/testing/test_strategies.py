"""The public strategy suite: it passes a lawful strategy and fails one that breaks a law, naming what it did."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from typing import Any, ClassVar

import pydantic
import pytest

from ilit.recipe import FLOAT32, Recipe
from ilit.space import SearchSpace
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Outcome,
    Requests,
    Strategy,
    Trial,
)
from ilit.testing import (
    ANSWERS,
    BASELINE,
    SPACES,
    StrategyContract,
)

SPACE = SPACES["four-ops"]
MISSED = ANSWERS["all-missed"]


class Lawful:
    """Tries the model-wise recipes in order, two at a time where it can."""

    name: ClassVar[str] = "lawful"

    class Options(pydantic.BaseModel):
        """No options."""

        model_config = pydantic.ConfigDict(extra="forbid")

    Options: ClassVar[type]

    def __init__(self, options: Any = None) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        """Yield one probe of all as a tuple, then one trial each."""
        recipes = list(space.model_wise())
        if recipes:
            yield tuple(DistanceProbe(recipe) for recipe in recipes)
        for recipe in recipes:
            yield Trial(recipe)


class TestLawful(StrategyContract):
    """A lawful strategy passes the whole suite."""

    @pytest.fixture
    def strategy(self) -> Strategy:
        """Return it."""
        return Lawful()


class Outside(Lawful):
    """Asks for a recipe the space does not hold."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        yield Trial(Recipe({"no.such.op": FLOAT32}), "made up")


class Wrong(Lawful):
    """Yields a recipe where a request belongs."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        yield space.recipe({})  # type: ignore[misc]  # the mistake under test


class Empty(Lawful):
    """Yields a tuple without a request, which no loop can be sure to end on."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        while True:
            yield ()


class Endless(Lawful):
    """Never ends."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        while True:
            yield Trial(space.recipe({}))


class Fragile(Lawful):
    """Cannot take a failed outcome."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        outcome = yield Trial(space.recipe({}))
        if outcome.accuracy < 0.1:
            yield Trial(space.recipe({}))


class Clocked(Lawful):
    """Looks at the clock."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        yield Trial(space.recipe({}), why=str(time.time()))


class Dicing(Lawful):
    """Draws from the module ``random``."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        yield Trial(space.recipe({}), why=str(random.random()))  # noqa: S311 - the mistake under test


class Reading(Lawful):
    """Reads a file."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        with open(Path(__file__)) as file:  # noqa: PTH123 - the mistake under test
            yield Trial(space.recipe({}), why=file.readline())


class Remembering(Lawful):
    """Keeps state on the object."""

    count = 0

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        for _ in range(3):
            self.count += 1
            yield Trial(space.recipe({}), why=str(self.count))


class Clinging(Lawful):
    """Swallows the request to close."""

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        try:
            yield Trial(space.recipe({}))
        except GeneratorExit:
            yield Trial(space.recipe({}))


class Lenient(Lawful):
    """Takes any option."""

    class Options(pydantic.BaseModel):
        """Ignores what it does not know."""


BROKEN = {
    "outside": (Outside, "test_requests_lie_in_the_space", "not in the space: 'made up'"),
    "no-request": (Wrong, "test_requests_lie_in_the_space", "yielded Recipe.*, not a Trial, a probe or a tuple"),
    "empty-tuple": (Empty, "test_requests_lie_in_the_space", r"yielded \(\), not a Trial"),
    "endless": (Endless, "test_ends_and_survives_failures", "strategy 'lawful' made more than 2000 requests"),
    "fragile": (Fragile, "test_ends_and_survives_failures", "not supported between"),
    "clock": (Clocked, "test_same_outcomes_and_seed_give_the_same_requests", "differs from the first at request 1"),
    "global-random": (Dicing, "test_leaves_global_random_alone", "draw from 'rng'"),
    "file": (Reading, "test_opens_no_file", "the search opened the file"),
    "state": (Remembering, "test_searches_do_not_share_state", "changed the first one's requests"),
    "clings": (Clinging, "test_closing_at_any_yield_is_clean", "generator ignored GeneratorExit"),
    "lenient-options": (Lenient, "test_options_forbid_what_they_do_not_know", "DID NOT RAISE"),
}


@pytest.mark.parametrize(("strategy", "law", "text"), BROKEN.values(), ids=BROKEN)
def test_a_broken_law_is_found(strategy: type[Lawful], law: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each law has a strategy that breaks just that, and the suite's words say what it did."""
    given = {
        "strategy": strategy(),
        "space": SPACE,
        "answer": ANSWERS["all-failed"] if strategy is Fragile else MISSED,
        "baseline": BASELINE,
        "monkeypatch": monkeypatch,
    }
    test = getattr(StrategyContract(), law)
    names = test.__code__.co_varnames[1 : test.__code__.co_argcount]

    with pytest.raises((pytest.fail.Exception, Exception), match=text):
        test(**{name: given[name] for name in names})


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(
    ("probe", "kind"),
    [(DistanceProbe, DistanceOutcome), (OpErrorProbe, OpErrorOutcome), (OpSpeedProbe, OpSpeedOutcome)],
)
def test_the_adversaries_answer_each_probe_by_its_kind(answer: Any, probe: Any, kind: type[Outcome]) -> None:
    """As the loop does, failures included."""
    assert all(isinstance(answer(probe(recipe)), kind) for recipe in SPACE.model_wise())


@pytest.mark.parametrize(
    ("probe", "outcome"),
    [
        (DistanceProbe, DistanceOutcome(math.inf, "the engine rejects it")),
        (OpErrorProbe, OpErrorOutcome({}, "the engine rejects it")),
        (OpSpeedProbe, OpSpeedOutcome({}, "the engine rejects it")),
    ],
)
def test_an_adversary_fails_every_kind_of_probe(probe: Any, outcome: Outcome) -> None:
    """A failed probe of the ops names none, as in a search."""
    assert ANSWERS["all-failed"](probe(SPACE.recipe({}))) == outcome


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_adversaries_are_deterministic(answer: Any) -> None:
    """The same request gets the same outcome, or the suite would blame the strategy."""
    request = OpErrorProbe(SPACE.recipe({}))
    outcomes: list[Outcome] = [answer(request), answer(request)]

    assert repr(outcomes[0]) == repr(outcomes[1])
