"""Configs chosen by the ops' own errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import Op, SearchSpace
from ilit.strategy import OpErrorOutcome, OpErrorProbe
from ilit_strategies.basic.op_configs import best_by_own_error, free_stages, groups, other_bits, outlying

ACTIVATION = QuantSpec("uint8", "asym")
STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel"), ACTIVATION)
CLIPPED = replace(STATIC, activation=replace(ACTIVATION, algorithm="percentile"))
SYMMETRIC = replace(STATIC, activation=replace(ACTIVATION, scheme="sym"))
SMOOTHED = tuple(replace(STATIC, smoothing=strength) for strength in (0.6, 1.0))
SEVEN = replace(STATIC, weight=replace(STATIC.weight or QuantSpec(), bits=7))


def space_of(candidates: tuple[OpConfig, ...], **ops: str) -> SearchSpace:
    """Return a space of ops, name -> group, with the same candidates each."""
    return SearchSpace({name: Op(name, "linear", (*candidates, FLOAT32), group) for name, group in ops.items()})


def run(space: SearchSpace, error: Callable[[str, OpConfig], float]) -> tuple[Recipe, list[Recipe], int]:
    """Return mixture and uniform recipes, and how many own-error probes were asked for."""
    steps: Any = best_by_own_error(space, space.recipe({}))
    reply, asked = None, 0
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as end:
            return (*end.value, asked)
        assert all(isinstance(probe, OpErrorProbe) for probe in request)
        asked += len(request)
        reply = tuple(
            OpErrorOutcome({name: error(name, config) for name, config in probe.recipe.ops.items()})
            for probe in request
        )


def test_each_group_takes_its_best_strength() -> None:
    """Ops that read one input get one strength, the one in which their errors add up to least; others their own."""
    space = space_of((STATIC, *SMOOTHED), query="in", key="in", out="")
    wanted = {"query": 1.0, "key": 0.6, "out": 0.6}
    weight = {"query": 3.0, "key": 1.0, "out": 1.0}

    found, uniform, asked = run(space, lambda name, c: weight[name] * (0.1 if c.smoothing == wanted[name] else 1.0))

    assert {name: config.smoothing for name, config in found.ops.items()} == {"query": 1.0, "key": 1.0, "out": 0.6}
    assert [{config.smoothing for config in recipe.ops.values()} for recipe in uniform] == [{1.0}, {0.6}]
    assert asked == 3


@pytest.mark.parametrize(("error", "smoothing"), [(0.95, 0.0), (0.85, 1.0)], ids=["hardly better", "clearly better"])
def test_the_preferred_config_is_left_for_a_clear_gain_only(error: float, smoothing: float) -> None:
    """What sampled rows cannot tell apart stays as the space prefers it."""
    space = space_of((STATIC, SMOOTHED[1]), a="")
    found, _, _ = run(space, lambda _, config: error if config.smoothing else 1.0)
    assert found.ops["a"].smoothing == smoothing


def test_without_smoothing_clipping_and_schemes_are_tried() -> None:
    """Each part is varied around what the parts before it gave."""
    space = space_of((STATIC, CLIPPED, SYMMETRIC, replace(SYMMETRIC, activation=replace(ACTIVATION, scheme="sym",
                      algorithm="percentile"))), a="")  # fmt: skip
    found, _, _ = run(
        space,
        lambda _, c: (
            (0.5 if c.activation and c.activation.algorithm == "percentile" else 1.0)
            * (0.5 if c.activation and c.activation.scheme == "sym" else 1.0)
        ),
    )
    activation = found.ops["a"].activation
    assert activation is not None
    assert (activation.algorithm, activation.scheme) == ("percentile", "sym")


def test_bits_are_varied_where_the_cpu_leaves_a_choice() -> None:
    """On a CPU that saturates, which of weight and activation has 7 bits is an op's own matter."""
    other = replace(STATIC, activation=replace(ACTIVATION, bits=7))
    space = space_of((SEVEN, other), a="", b="")
    found, _, _ = run(space, lambda name, c: 0.1 if (c == other) == (name == "b") else 1.0)
    assert found.ops == {"a": SEVEN, "b": other}


def test_other_bits_are_those_that_few_ops_have_given_to_all() -> None:
    """Of a mixture of two divisions of the bits only the rarer makes another recipe."""
    other = replace(STATIC, activation=replace(ACTIVATION, bits=7))
    space = space_of((SEVEN, other), a="", b="", c="")
    assert [recipe.ops for recipe in other_bits(space, space.recipe({"b": other}))] == [dict.fromkeys("abc", other)]
    assert [recipe.ops for recipe in other_bits(space, space.recipe({"a": other, "b": other}))] == [
        dict.fromkeys("abc", SEVEN)
    ]
    assert other_bits(space_of((STATIC, *SMOOTHED), a="", b=""), space_of((STATIC,), a="", b="").recipe({})) == []


def test_a_broken_config_is_never_chosen() -> None:
    """An infinite or missing error loses to any other; where all are broken the preferred stays."""
    space = space_of((STATIC, *SMOOTHED), a="", b="")
    found, _, _ = run(space, lambda name, c: float("nan") if c.smoothing or name == "b" else 1.0)
    assert found == space.recipe({})


def test_groups_keep_the_models_order() -> None:
    """An op without a group stands alone, whatever it is called."""
    space = space_of((STATIC,), a="x", b="", x="", c="x")
    assert groups(space, ["a", "b", "x", "c"]) == [["a", "c"], ["b"], ["x"]]


def test_dynamic_ops_have_nothing_free_to_vary() -> None:
    """Stages are of static configs; a space without any has only empty ones."""
    dynamic = OpConfig("int8", "dynamic", STATIC.weight, ACTIVATION)
    assert [stage for stage in free_stages(space_of((dynamic,), a="")) if stage] == []


def test_ops_that_stand_out_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """Outliers are said by name with what became of them; the usual spread of ops is not."""
    usual = dict.fromkeys("fghijk", 1.0)
    assert outlying({**usual, "c": 150.0, "d": 30.0, "e": 1e4}) == ["e", "c"]
    assert outlying({}) == []
    space = space_of((STATIC, SMOOTHED[1]), a="", b="", c="")
    with caplog.at_level(logging.INFO):
        run(space, lambda name, c: 500.0 if name == "b" and not c.smoothing else 1.0)
    assert [r.getMessage() for r in caplog.records] == ["basic: b stands out by its own error, 500; now 1"]
