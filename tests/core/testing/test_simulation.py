"""A strategy without a model: the driver, its answers and its spaces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from ilit.recipe import FLOAT32
from ilit.space import SearchSpace
from ilit.strategy import (
    Baseline,
    DistanceProbe,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Requests,
    Trial,
)
from ilit.testing import (
    ANSWERS,
    DYNAMIC,
    EndlessError,
    planted,
    simulate,
    synthetic_space,
)

SPACE = synthetic_space(4)
MISSED = ANSWERS["all-missed"]


def probe_then_try(space: SearchSpace, baseline: Baseline) -> Requests:
    """Ask for probes of both model-wise recipes in a tuple, then for one trial each."""
    recipes = list(space.model_wise())
    yield tuple(map(DistanceProbe, recipes))
    for recipe in recipes:
        yield Trial(recipe)


def test_simulate_lists_every_request_in_order(strategy_of: Callable[..., Any]) -> None:
    """Tuples are laid flat, and each request is answered before the next is made."""
    made = simulate(strategy_of(probe_then_try)(None), SPACE, MISSED)

    assert [type(request).__name__ for request in made] == ["DistanceProbe", "DistanceProbe", "Trial", "Trial"]


def test_simulate_closes_at_the_first_accepted_trial_where_the_loop_would(strategy_of: Callable[..., Any]) -> None:
    """With ``stop: met`` the first hit is the last request; with a budget the strategy goes on."""
    strategy = strategy_of(probe_then_try)(None)
    counts = [
        len(simulate(strategy, SPACE, ANSWERS["all-accepted"], baseline=Baseline(0.9, 0.891, stop=stop)))
        for stop in ("met", "budget")
    ]

    assert counts == [3, 4]


def test_simulate_stops_an_endless_strategy(strategy_of: Callable[..., Any]) -> None:
    """A strategy that does not end is named."""
    endless = strategy_of(lambda space, baseline: (Trial(space.recipe({})) for _ in itertools.count()))(None)

    with pytest.raises(EndlessError, match="strategy 'scripted' made more than 50 requests and did not end"):
        simulate(endless, SPACE, MISSED, limit=50)


@pytest.mark.parametrize("asked", [(), SPACE.recipe({}), None], ids=["empty", "recipe", "None"])
def test_simulate_refuses_what_is_no_request(asked: Any, strategy_of: Callable[..., Any]) -> None:
    """A strategy that yields something else is named with it."""
    with pytest.raises(TypeError, match=r"strategy 'scripted' yielded .*, not a Trial, a probe or a tuple of them"):
        simulate(strategy_of(lambda space, baseline: (one for one in [asked]))(None), SPACE, MISSED)


@pytest.mark.parametrize(
    ("ops", "accuracy", "status"),
    [({}, 0.7, "missed"), ({"layer.0": FLOAT32}, 0.9, "passed"), ({"layer.0": DYNAMIC}, 0.9, "passed")],
    ids=["hurt", "in-float", "in-a-harmless-config"],
)
def test_planted_hurts_exactly_the_named_ops(ops: Any, accuracy: float, status: str) -> None:
    """A planted op costs its harm in INT8, and probes see the same."""
    answer = planted({"layer.0": 0.2}, harmless=[DYNAMIC])
    recipe = SPACE.recipe(ops)

    trial, probe, own = answer(Trial(recipe)), answer(DistanceProbe(recipe)), answer(OpErrorProbe(recipe))

    assert (trial.status, trial.accepted) == (status, status == "passed")
    assert trial.accuracy == pytest.approx(accuracy)
    assert probe.distance == pytest.approx(0.9 - accuracy, abs=1e-4)
    assert set(own.errors) == set(recipe.quantized_ops)
    assert math.fsum(own.errors.values()) == pytest.approx(probe.distance)
    assert answer(OpSpeedProbe(recipe)) == OpSpeedOutcome({})


def test_planted_harm_can_be_hidden_from_probes() -> None:
    """Damage that only an evaluation sees leaves every op's distance alike."""
    answer: Any = planted({"layer.0": 0.2}, visible=False)

    assert len(set(answer(OpErrorProbe(SPACE.recipe({}))).errors.values())) == 1


def test_planted_harm_may_be_all_or_nothing() -> None:
    """One harmful op costs as much as both."""
    answer: Any = planted({"layer.0": 0.2, "layer.1": 0.1}, additive=False)

    scores = [answer(Trial(SPACE.recipe(ops))).accuracy for ops in ({}, {"layer.0": FLOAT32})]

    assert scores == pytest.approx([0.6, 0.6])


def test_planted_background_may_depend_on_the_config() -> None:
    """What every INT8 op causes beside follows from how it is quantized."""
    answer: Any = planted({}, background=lambda config: 0.1 if config == DYNAMIC else 0.01)

    assert answer(DistanceProbe(SPACE.recipe({"layer.0": DYNAMIC}))).distance == pytest.approx(0.1 + 3 * 0.01)


def test_synthetic_groups() -> None:
    """Ops named share an input; the others read one of their own."""
    space = synthetic_space(3, groups={"layer.0": "qkv", "layer.1": "qkv"})

    assert [op.group for op in space.ops.values()] == ["qkv", "qkv", ""]


def test_planted_follows_the_direction_of_the_metric() -> None:
    """Where lower is better, harm raises the metric."""
    answer: Any = planted({"layer.0": 0.2}, Baseline(0.1, 0.11, higher_is_better=False))

    assert answer(Trial(SPACE.recipe({}))).accuracy == pytest.approx(0.3)


def test_synthetic_space_by_number() -> None:
    """A number gives that many ops of three candidates each."""
    assert synthetic_space(5).size() == 3**5
