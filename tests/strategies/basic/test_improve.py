"""Cheaper forms of a recipe that passed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from ilit.recipe import FLOAT32, Recipe
from ilit.strategy import Baseline, OpErrorOutcome, OpErrorProbe, OpSpeedOutcome, OpSpeedProbe, TrialOutcome
from ilit.testing import BFLOAT16, DYNAMIC, PER_TOKEN, STATIC, synthetic_space
from ilit_strategies.basic.improve import improve, slow_ops

NAMES = [f"op.{number}" for number in range(8)]
SPACE = synthetic_space(dict.fromkeys(NAMES, (STATIC, DYNAMIC, PER_TOKEN, BFLOAT16, FLOAT32)))
CHEAP = SPACE.recipe({})
BUDGET = Baseline(0.9, 0.891, stop="budget", objective="modelsize")


def run(
    steps: Any, passing: Callable[[Recipe], bool], speedups: dict[str, float] | None = None
) -> tuple[list[Recipe], list[bool]]:
    """Return the recipes evaluated, and which of them passed; op.3 has the largest own error."""
    asked: list[Recipe] = []
    reply: Any = None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration:
            return asked, [passing(recipe) for recipe in asked]
        match request:
            case OpErrorProbe():
                reply = OpErrorOutcome({"op.3": 1.0})
            case OpSpeedProbe():
                reply = OpSpeedOutcome(speedups or {})
            case _:
                asked.append(request.recipe)
                reply = TrialOutcome("passed" if passing(request.recipe) else "missed", 0.9)


def test_nothing_is_tried_where_the_search_ends_at_the_first_hit() -> None:
    """``stop: met`` asks for no more."""
    hit = CHEAP.with_ops({"op.3": PER_TOKEN})

    assert run(improve(SPACE, hit, CHEAP, Baseline(0.9, 0.891, stop="met")), lambda _: True) == ([], [])


def test_more_accurate_configs_go_back_but_for_the_one_that_is_needed() -> None:
    """Bisection, the op with the largest own error last; what is known to miss is not evaluated again."""
    hit = CHEAP.with_ops(dict.fromkeys(NAMES, PER_TOKEN))

    asked, passed = run(improve(SPACE, hit, CHEAP, BUDGET), lambda recipe: recipe.ops["op.3"] == PER_TOKEN)

    assert CHEAP not in asked
    assert asked[-1] == CHEAP.with_ops({"op.3": PER_TOKEN})
    assert passed == [True, True, True]


def test_where_harm_is_everywhere_taking_back_ends_soon() -> None:
    """A recipe that needs six more accurate ops of eight is not searched to the last one."""
    hit = CHEAP.with_ops(dict.fromkeys(NAMES, PER_TOKEN))

    def passing(recipe: Recipe) -> bool:
        return sum(config == PER_TOKEN for config in recipe.ops.values()) >= 6

    asked, passed = run(improve(SPACE, hit, CHEAP, BUDGET), passing)

    assert any(passed)
    assert len(asked) <= 2 * (1 + math.ceil(math.log2(8)))


def test_float_ops_try_bfloat16() -> None:
    """One trial where all may; the op that may not is found by halves."""
    hit = CHEAP.in_float(["op.1", "op.2", "op.6"])

    asked, passed = run(improve(SPACE, hit, CHEAP, BUDGET), lambda recipe: recipe.ops["op.2"] == FLOAT32)

    best = [recipe for recipe, did in zip(asked, passed, strict=True) if did][-1]
    assert [best.ops[name] for name in ("op.1", "op.2", "op.6")] == [BFLOAT16, FLOAT32, BFLOAT16]
    assert run(improve(SPACE, hit, CHEAP, BUDGET), lambda _: True)[1] == [True]


@pytest.mark.parametrize(
    ("speedups", "floats"),
    [
        ({"op.1": 0.5, "op.2": 1.4, "op.4": 0.97}, [("op.1",)]),
        ({}, []),
        ({"op.1": math.nan}, []),
        (dict.fromkeys(NAMES, 0.5), []),
    ],
    ids=["one-slow", "no-timing", "nan", "all-slow"],
)
def test_ops_that_are_slower_in_int8_go_to_float(speedups: dict[str, float], floats: list[Any]) -> None:
    """Known from a timing; only where speed is the objective, and never all ops."""
    performance = Baseline(0.9, 0.891, stop="budget")

    asked, _ = run(improve(SPACE, CHEAP, CHEAP, performance), lambda _: True, speedups)

    assert [recipe.float_ops for recipe in asked] == floats
    assert run(improve(SPACE, CHEAP, CHEAP, BUDGET), lambda _: True, speedups)[0] == []


def test_slow_ops_are_int8_ops() -> None:
    """An op that is in float already is not slow in INT8."""
    assert slow_ops(CHEAP.in_float(["op.0"]), {"op.0": 0.1, "op.1": 0.1}) == ["op.1"]
