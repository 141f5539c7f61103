"""What is wrong with a part that has some of an ability, in one line."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

import pytest

from ilit.adapter import RegroupsRows, TimesOps
from ilit.plugins.validation import incomplete


def takes(*arguments: Any) -> Any:
    """Take anything."""
    return arguments


class Forwards:
    """A callable object, which takes no ``self``."""

    def __call__(self, model: Any, recipe: Any, calibration: Any) -> Any: ...


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(None, id="given up"),
        pytest.param(lambda self, model, recipe, calibration: {}, id="a method"),
        pytest.param(lambda self, one, two, three, four=4, **more: {}, id="other names and defaults"),
        pytest.param(takes, id="anything"),
        pytest.param(staticmethod(lambda model, recipe, calibration: {}), id="static"),
        pytest.param(classmethod(lambda cls, model, recipe, calibration: {}), id="of the class"),
        pytest.param(Forwards(), id="a callable object"),
        pytest.param(property(lambda self: self.timer), id="a property"),
        pytest.param(partialmethod(takes, 1), id="partial"),
    ],
)
def test_a_method_that_takes_the_call_is_fine(member: Any) -> None:
    """By position, whatever its parameters are called; what only an instance knows is left to it."""
    assert incomplete(type("Mine", (), {"time_ops": member}), TimesOps) == ""


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(True, id="a flag"),
        pytest.param(lambda self, model, recipe: {}, id="too few"),
        pytest.param(lambda self, model, recipe, calibration, sizes: {}, id="too many"),
        pytest.param(lambda self, model, recipe, calibration, *, sizes: {}, id="by name"),
        pytest.param(lambda self, model, recipe, *, calibration: {}, id="one by name only"),
        pytest.param(lambda model, recipe, calibration: {}, id="no self"),
        pytest.param(staticmethod(lambda self, model, recipe, calibration: {}), id="static with self"),
    ],
)
def test_a_method_that_cannot_take_the_call_is_named(member: Any) -> None:
    """With the call that it would get."""
    problem = "has a 'time_ops' that cannot be called as time_ops(model, recipe, calibration); see ilit.TimesOps"
    assert incomplete(type("Mine", (), {"time_ops": member}), TimesOps) == problem


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({}, ""),
        ({"regroup": takes, "row_shapes": takes}, ""),
        ({"regroup": takes}, "has 'regroup' but no 'row_shapes'; ilit.RegroupsRows needs both"),
        ({"row_shapes": takes, "regroup": None}, "has 'row_shapes' but no 'regroup'; ilit.RegroupsRows needs both"),
    ],
    ids=["neither", "both", "no shapes", "regroup given up"],
)
def test_half_an_ability_is_named(members: dict[str, Any], problem: str) -> None:
    """What is there, what is missing, and for which ability; no ability at all is fine."""
    assert incomplete(type("Mine", (), members), RegroupsRows) == problem
