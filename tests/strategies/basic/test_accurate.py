"""More accurate INT8 configs before any op goes to float."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpErrorProbe
from ilit.testing import DYNAMIC, PER_TOKEN, SPACES, STATIC, synthetic_space
from ilit_strategies.basic.accurate import more_accurate, more_accurate_variants
from ilit_strategies.basic.estimates import Candidate

NAMES = [f"op.{number}" for number in range(6)]
SPACE = synthetic_space(dict.fromkeys(NAMES, (STATIC, DYNAMIC, PER_TOKEN, FLOAT32)))
BASE = SPACE.recipe({})


def run(steps: Any, error: Callable[[str, OpConfig], float]) -> list[Candidate]:
    """Run ``steps`` to their end, for their result; a recipe's distance is the sum of its ops' errors."""
    reply = None
    while True:
        try:
            asked = steps.send(reply)
        except StopIteration as end:
            return end.value
        errors = [{n: error(n, c) for n, c in probe.recipe.ops.items()} for probe in asked]
        reply = tuple(
            OpErrorOutcome(each) if isinstance(probe, OpErrorProbe) else DistanceOutcome(math.fsum(each.values()))
            for probe, each in zip(asked, errors, strict=True)
        )


def changed(recipe: Recipe) -> dict[str, OpConfig]:
    """Return the configs that differ from the base."""
    return {name: config for name, config in recipe.ops.items() if config != BASE.ops[name]}


def test_the_ops_that_gain_most_change_first_then_all_that_gain() -> None:
    """The first recipe has half of what is to be gained with as few ops changed as possible."""
    gains = {"op.2": 0.8, "op.4": 0.3, "op.5": 0.4}

    some, full = run(
        more_accurate(SPACE, BASE), lambda name, config: 1.0 - (gains.get(name, 0.0) if config == PER_TOKEN else 0.0)
    )

    assert changed(some.recipe) == {"op.2": PER_TOKEN}
    assert changed(full.recipe) == dict.fromkeys(gains, PER_TOKEN)
    assert full.distance < some.distance


def test_each_op_takes_what_is_best_for_it() -> None:
    """Dynamic for one, per token for another."""
    best = {"op.0": DYNAMIC, "op.1": PER_TOKEN}

    *_, full = run(more_accurate(SPACE, BASE), lambda name, config: 0.1 if best.get(name) == config else 1.0)

    assert changed(full.recipe) == best


def test_ops_of_one_group_change_together() -> None:
    """Codes that several ops read stay shared."""
    space = synthetic_space(dict(SPACE_CANDIDATES), groups={"op.0": "g", "op.1": "g"})

    *_, full = run(
        more_accurate(space, space.recipe({})), lambda name, c: 0.1 if name == "op.0" and c == PER_TOKEN else 1.0
    )

    assert changed(full.recipe) == {"op.0": PER_TOKEN, "op.1": PER_TOKEN}


SPACE_CANDIDATES = dict.fromkeys(NAMES, (STATIC, DYNAMIC, PER_TOKEN, FLOAT32))


def test_nothing_that_gains_is_nothing_to_try() -> None:
    """No recipe, no whole-model probe."""
    assert run(more_accurate(SPACE, BASE), lambda *_: 1.0) == []
    assert run(more_accurate(SPACES["one-op"], SPACES["one-op"].recipe({})), lambda *_: 1.0) == []


def test_variants_keep_what_cannot_change() -> None:
    """Each kind of config goes to the ops that have it; float ops stay float."""
    mse = replace(STATIC, weight=QuantSpec("int8", "sym", "per_channel", "mse"))
    space = synthetic_space({"a": (STATIC, mse, PER_TOKEN, FLOAT32), "b": (STATIC, DYNAMIC), "c": (STATIC, FLOAT32)})
    base = space.recipe({"c": FLOAT32})

    found = [dict(recipe.ops) for recipe in more_accurate_variants(space, base)]

    assert found == [
        {"a": PER_TOKEN, "b": STATIC, "c": FLOAT32},
        {"a": STATIC, "b": DYNAMIC, "c": FLOAT32},
        {"a": mse, "b": STATIC, "c": FLOAT32},
    ]
