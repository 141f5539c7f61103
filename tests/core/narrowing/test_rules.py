"""What plugins leave out of a space, and what they may not do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ilit.config import read_config
from ilit.errors import PluginError
from ilit.narrowing.rules import apply_rules
from ilit.plugins.registry import Registry
from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.space import Op, SearchSpace
from ilit.testing import fake_plugins

STATIC = OpConfig("int8", "static", QuantSpec(), QuantSpec("uint8"))
DYNAMIC = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8"))
SPACE = SearchSpace(
    {name: Op(name, "linear", (STATIC, DYNAMIC, FLOAT32)) for name in ("a", "b")},
    transforms={"smooth": (0.5, 0.7, 0.9)},
)
Rules = Callable[..., Registry]


def with_a(*candidates: OpConfig) -> SearchSpace:
    """Return the space with these candidates for op a."""
    return replace(SPACE, ops={**SPACE.ops, "a": replace(SPACE.ops["a"], candidates=candidates)})


@pytest.fixture
def rules(plugin: Callable[..., Any]) -> Rules:
    """Return a function that makes a registry of plugins whose rule gives the named answers."""

    def make(**answers: Any) -> Registry:
        def rule(answer: Any) -> Callable[..., Any]:
            def ilit_space_rules(space: SearchSpace, model: Any) -> Any:
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return ilit_space_rules

        return fake_plugins(**{name: plugin(ilit_space_rules=rule(answer)) for name, answer in answers.items()})

    return make


def test_without_rules_the_space_stays(rules: Rules) -> None:
    """No plugin, or one with nothing to say, changes nothing."""
    assert apply_rules(SPACE, None, read_config(), rules(quiet=None)) == SPACE


def test_a_rule_leaves_out_and_prefers(rules: Rules) -> None:
    """What the answer does not have is gone; what it has comes in its order."""
    found = apply_rules(SPACE, None, read_config(), rules(one=with_a(DYNAMIC, STATIC)))
    assert found.ops["a"].candidates == (DYNAMIC, STATIC)
    assert found.ops["b"] == SPACE.ops["b"]


def test_answers_are_intersected(rules: Rules) -> None:
    """Each rule is given the adapter's space, and what any leaves out is gone."""
    one, other = with_a(STATIC, FLOAT32), replace(with_a(DYNAMIC, FLOAT32), transforms={"smooth": (0.9, 0.5)})
    found = apply_rules(SPACE, None, read_config(), rules(one=one, other=other))
    assert found.ops["a"].candidates == (FLOAT32,)
    assert found.transforms == {"smooth": (0.9, 0.5)}


def test_what_stays_in_float_goes_along(rules: Rules) -> None:
    """Also where a rule makes its answer anew."""
    space = replace(SPACE, left_in_float={"c": "its forward was replaced"})
    anew = SearchSpace(SPACE.ops, transforms={"smooth": (0.5,)})
    found = apply_rules(space, None, read_config(), rules(one=anew, other=SPACE))
    assert found.left_in_float == space.left_in_float
    assert found.transforms == {"smooth": (0.5,)}


def test_what_the_user_names_is_left_alone(rules: Rules) -> None:
    """Rules are defaults: an op that ``tuning.ops`` matches has all that the adapter offers."""
    config = read_config(tuning={"ops": {"a*": {"dtype": "int8"}}})
    assert apply_rules(SPACE, None, config, rules(one=with_a(FLOAT32))).ops["a"] == SPACE.ops["a"]


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        pytest.param({"one": {}}, "plugin one: ilit_space_rules returned a dict, not a SearchSpace", id="another type"),
        pytest.param(
            {"one": with_a(replace(STATIC, approach="weight_only"))}, "plugin one: .* widens op 'a'", id="widens an op"
        ),
        pytest.param({"one": replace(SPACE, ops={})}, "plugin one: .* drops op 'a'", id="drops an op"),
        pytest.param(
            {"one": replace(SPACE, ops={**SPACE.ops, "c": SPACE.ops["a"]})},
            "plugin one: .* adds op 'c'",
            id="adds an op",
        ),
        pytest.param(
            {"one": replace(SPACE, transforms={"smooth": (0.1,)})}, "one: .* widens transform 'smooth'", id="transform"
        ),
        pytest.param(
            {"one": with_a(STATIC), "two": with_a(DYNAMIC)}, "plugin two: .* leaves op 'a' nothing", id="nothing left"
        ),
        pytest.param(
            {"one": replace(SPACE, transforms={"smooth": ()})}, "leaves transform 'smooth' no value", id="no value"
        ),
        pytest.param({"one": KeyError("x")}, "plugin one: ilit_space_rules raised KeyError: 'x'; fix or", id="raises"),
    ],
)
def test_a_rule_that_does_more_is_refused(rules: Rules, answers: dict[str, Any], text: str) -> None:
    """The plugin is named with what it did."""
    with pytest.raises(PluginError, match=text):
        apply_rules(SPACE, None, read_config(), rules(**answers))
