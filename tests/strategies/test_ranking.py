"""Which ops do the damage."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ilit.recipe import FLOAT32
from ilit.strategy import Request
from ilit.testing.strategies import DYNAMIC, STATIC, STATIC_KL, planted, synthetic_space
from ilit_strategies.ranking import Suspect, foreseen_length, int8_repairs, only, suspects

SPACE = synthetic_space(6)
BASE = SPACE.recipe({})


def run(steps: Any, answer: Any) -> tuple[Any, list[Request]]:
    """Return what ``steps`` return and the requests they made, laid flat."""
    made: list[Request] = []
    reply = None
    while True:
        try:
            asked = steps.send(reply)
        except StopIteration as end:
            return end.value, made
        requests = asked if isinstance(asked, tuple) else (asked,)
        made.extend(requests)
        outcomes = tuple(answer(request) for request in requests)
        reply = outcomes if isinstance(asked, tuple) else outcomes[0]


def test_suspects_are_ordered_by_the_damage_each_does_alone() -> None:
    """One instrumented pass, then each op alone in INT8."""
    found, made = run(suspects(SPACE, BASE, 48), planted({"layer.2": 0.1, "layer.4": 0.3}))

    assert [suspect.name for suspect in found[:2]] == ["layer.4", "layer.2"]
    assert found[0].damage == pytest.approx(0.3, rel=0.01)
    assert len(made) == 1 + 6
    assert all(len(request.recipe.quantized_ops) == 1 for request in made[1:])


def test_only_the_ops_with_the_largest_own_error_are_probed() -> None:
    """The limit bounds the whole-model probes; the rest of the ops follow, none is lost."""
    found, made = run(suspects(SPACE, BASE, 2), planted({"layer.2": 0.1, "layer.4": 0.3}))

    assert len(made) == 1 + 2
    assert [suspect.name for suspect in found] == ["layer.4", "layer.2", "layer.0", "layer.1", "layer.3", "layer.5"]


def test_only_leaves_ops_without_float_as_they_are() -> None:
    """A probe of one op alone stays in the space."""
    space = synthetic_space({"a": (STATIC, FLOAT32), "b": (STATIC,), "c": (STATIC, FLOAT32)})

    recipe = only(space, space.recipe({}), "a")

    assert recipe.quantized_ops == ("a", "b")
    assert recipe in space


@pytest.mark.parametrize(
    ("damages", "enough", "length"),
    [
        ([0.5, 0.3, 0.001] + [0.0] * 13, 0.01, 2),
        ([0.5, 0.3, 0.001] + [0.0] * 13, 0.9, 1),
        ([math.inf, math.inf] + [0.0] * 14, 0.05, 2),
        ([0.1] * 16, 0.05, 2),
        ([math.inf] * 16, 0.05, 2),
        ([0.0] * 16, 0.0, 1),
        ([0.1], 0.01, 1),
        ([], 0.01, 1),
    ],
    ids=["two", "at-least-one", "two-failed", "damage-everywhere", "all-failed", "no-damage", "one-op", "no-op"],
)
def test_foreseen_length(damages: list[float], enough: float, length: int) -> None:
    """Damages add up; where they are everywhere nothing is foreseen and an eighth is the start."""
    assert foreseen_length([Suspect(str(number), damage) for number, damage in enumerate(damages)], enough) == length


@pytest.mark.parametrize(
    ("candidates", "harmless", "repairs"),
    [
        ((STATIC, DYNAMIC, FLOAT32), (DYNAMIC,), {"a": DYNAMIC}),
        ((STATIC, DYNAMIC, FLOAT32), (), {}),
        ((STATIC, STATIC_KL, DYNAMIC, FLOAT32), (DYNAMIC, STATIC_KL), {"a": STATIC_KL}),
        ((STATIC, FLOAT32), (), {}),
    ],
    ids=["dynamic-repairs", "nothing-repairs", "the-first-of-equals", "only-float-left"],
)
def test_int8_repairs(candidates: Any, harmless: Any, repairs: Any) -> None:
    """Another INT8 config is a repair only where the probe sees next to no damage with it."""
    space = synthetic_space({"a": candidates, "b": (STATIC, FLOAT32)})

    found, _ = run(
        int8_repairs(space, space.recipe({}), [Suspect("a", 0.3)], 4), planted({"a": 0.3}, harmless=harmless)
    )

    assert found == repairs


def test_without_float_any_improvement_is_a_repair() -> None:
    """An op that cannot be in float32 takes its least harmful INT8 config."""
    space = synthetic_space({"a": (STATIC, DYNAMIC), "b": (STATIC, FLOAT32)})

    found, _ = run(int8_repairs(space, space.recipe({}), [Suspect("a", 0.31)], 4), planted({"a": 0.3}))

    assert found == {"a": DYNAMIC}
