"""Which ops do the damage."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ilit.recipe import FLOAT32
from ilit.strategy import OpErrorOutcome, OpErrorProbe, Request
from ilit.testing import DYNAMIC, STATIC, STATIC_KL, planted, synthetic_space
from ilit_strategies.basic.ranking import RankedOp, foreseen_length, int8_repairs, only, rank_ops

SPACE = synthetic_space(6)
BASE = SPACE.recipe({})


def run(steps: Any, answer: Any) -> tuple[Any, list[Request]]:
    """Return the result of ``steps`` and the requests they made, laid flat."""
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


def test_ops_are_ordered_by_the_damage_each_does_alone() -> None:
    """One instrumented pass, then each op alone in INT8."""
    found, made = run(rank_ops(SPACE, BASE, 48), planted({"layer.2": 0.1, "layer.4": 0.3}))

    assert [op.name for op in found[:2]] == ["layer.4", "layer.2"]
    assert found[0].damage == pytest.approx(0.3, rel=0.01)
    assert len(made) == 1 + 6
    assert all(len(request.recipe.quantized_ops) == 1 for request in made[1:])


def test_only_the_ops_with_the_largest_own_error_are_probed() -> None:
    """The limit bounds the ops probed alone; the rest share what they do together, none is lost."""
    found, made = run(rank_ops(SPACE, BASE, 2), planted({"layer.2": 0.1, "layer.4": 0.3}, background=0.01))

    assert len(made) == 1 + 2 + 1
    assert [op.name for op in found] == ["layer.4", "layer.2", "layer.0", "layer.1", "layer.3", "layer.5"]
    assert [op.damage for op in found[2:]] == pytest.approx([0.01] * 4)


@pytest.mark.parametrize(
    ("harm", "background", "enough", "alone"),
    [
        ({"layer.30": 0.3}, 1e-5, 0.01, 8),
        ({f"layer.{n}": 0.3 for n in range(0, 40, 4)}, 1e-5, 0.01, 16),
        ({}, 1e-3, 0.01, 8),
    ],
    ids=["one-fatal", "ten-fatal", "harm-everywhere"],
)
def test_ranking_ends_where_the_others_do_little_or_are_all_alike(
    harm: dict[str, float], background: float, enough: float, alone: int
) -> None:
    """A chunk of eight and one probe of all the others tell whether another chunk is worth its probes."""
    space = synthetic_space(40)

    found, made = run(rank_ops(space, space.recipe({}), 48, enough), planted(harm, background=background))

    assert {op.name for op in found[: len(harm)]} == set(harm)
    assert sum(len(request.recipe.quantized_ops) == 1 for request in made) == alone


def test_fatal_ops_that_own_errors_hide_are_found_by_what_is_left() -> None:
    """Where own errors say nothing, the distance of the ops not yet probed does."""
    space = synthetic_space(40)
    seen = planted({"layer.7": 1.0, "layer.30": 1.0})

    def answer(request: Request) -> Any:
        if isinstance(request, OpErrorProbe):
            return OpErrorOutcome(dict.fromkeys(request.recipe.quantized_ops, 0.1))
        return seen(request)

    found, _ = run(rank_ops(space, space.recipe({}), 48, 0.05), answer)

    assert {op.name for op in found[:2]} == {"layer.7", "layer.30"}


def test_only_leaves_ops_without_float_as_they_are() -> None:
    """A probe of one op alone stays in the space."""
    space = synthetic_space({"a": (STATIC, FLOAT32), "b": (STATIC,), "c": (STATIC, FLOAT32)})

    recipe = only(space, space.recipe({}), ["a"])

    assert recipe.quantized_ops == ("a", "b")
    assert recipe in space


@pytest.mark.parametrize(
    ("damages", "enough", "length"),
    [
        ([0.5, 0.3, 0.001] + [0.0] * 13, 0.01, 2),
        ([0.5, 0.3, 0.001] + [0.0] * 13, 0.9, 1),
        ([math.inf, math.inf] + [0.0] * 14, 0.05, 2),
        ([0.1] * 16, 0.05, 0),
        ([0.012] * 16, 0.15, 4),
        ([0.5, 0.3] + [0.004] * 38, 0.02, 2),
        ([0.5, 0.3] + [0.0009] * 38, 0.03, 2),
        ([math.inf] * 16, 0.05, 0),
        ([0.0] * 16, 0.0, 1),
        ([0.1], 0.01, 1),
        ([], 0.01, 1),
    ],
    ids=[
        "two",
        "at-least-one",
        "two-failed",
        "damage-everywhere",
        "a-quarter-of-even-damage",
        "fatal-ones-above-a-background-too-large",
        "notable-ones-above-a-background",
        "all-failed",
        "no-damage",
        "one-op",
        "no-op",
    ],
)
def test_foreseen_length(damages: list[float], enough: float, length: int) -> None:
    """Damages add up; what few ops cannot take away does not lengthen the list, and 0 says that nothing is foreseen."""
    assert foreseen_length([RankedOp(str(number), damage) for number, damage in enumerate(damages)], enough) == length


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
        int8_repairs(space, space.recipe({}), [RankedOp("a", 0.3)], 4), planted({"a": 0.3}, harmless=harmless)
    )

    assert found == repairs


def test_without_float_any_improvement_is_a_repair() -> None:
    """An op that cannot be in float32 takes its least harmful INT8 config."""
    space = synthetic_space({"a": (STATIC, DYNAMIC), "b": (STATIC, FLOAT32)})

    found, _ = run(int8_repairs(space, space.recipe({}), [RankedOp("a", 0.31)], 4), planted({"a": 0.3}))

    assert found == {"a": DYNAMIC}
