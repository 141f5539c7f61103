"""Options by name: none is ignored, whatever the options model of a part does with names it does not know."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field
from typing_extensions import TypedDict

from ilit.errors import ConfigError
from ilit.plugins.options import constructed, filled


class Schedule(BaseModel):
    """Options within options; pydantic ignores what it does not know."""

    steps: int = 1
    order: str = "probe"


@dataclasses.dataclass
class Bounds:
    """Options within options as a dataclass."""

    low: int = 0


class Limits(TypedDict, total=False):
    """Options within options as a dict."""

    most: int


class Loose(BaseModel):
    """pydantic's default: unknown names are ignored."""

    patience: int = 3
    schedule: Schedule = Schedule()
    several: list[Schedule] = []
    named: dict[str, Schedule] = {}
    bounds: Bounds = Bounds()
    limits: Limits = {}
    anything: dict[str, Any] = {}


class Aliased(BaseModel):
    """Fields that are called otherwise in a configuration."""

    patience: int = Field(3, alias="wait")
    depth: int = Field(1, validation_alias=AliasChoices("levels", AliasPath("tree", "levels")))


class Both(Aliased, populate_by_name=True):
    """Their own names are taken as well."""


class Generated(BaseModel, alias_generator=lambda name: name.upper()):
    """Names made by a rule."""

    patience: int = 3


class Open(BaseModel, extra="allow"):
    """Declares that it takes any option."""

    patience: int = 3


class Strict(BaseModel, extra="forbid"):
    """Refuses by itself."""

    schedule: Schedule = Schedule()


class Older(BaseModel):
    """Still takes the name an option once had."""

    patience: int = 3

    @pydantic.model_validator(mode="before")
    @classmethod
    def _rename(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {("patience" if key == "tries" else key): value for key, value in data.items()}


class Rooted(BaseModel):
    """An option that is a list of options by itself."""

    class Inner(pydantic.RootModel[list[Schedule]]):
        """The list."""

    plan: Inner = Inner([])


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        pytest.param(Loose, {"patience": 5}, {"patience": 5}, id="a field"),
        pytest.param(Loose, {"schedule": {"steps": 2}}, {"schedule": Schedule(steps=2)}, id="nested"),
        pytest.param(Loose, {"several": [{"steps": 2}]}, {"several": [Schedule(steps=2)]}, id="a list"),
        pytest.param(Loose, {"named": {"a": {"steps": 2}}}, {"named": {"a": Schedule(steps=2)}}, id="a dict"),
        pytest.param(Loose, {"bounds": {"low": 2}}, {"bounds": Bounds(2)}, id="a dataclass"),
        pytest.param(Loose, {"limits": {"most": 2}}, {"limits": {"most": 2}}, id="a typed dict"),
        pytest.param(Loose, {"anything": {"x": {"y": 1}}}, {"anything": {"x": {"y": 1}}}, id="a free dict"),
        pytest.param(Aliased, {"wait": 5, "levels": 2}, {"patience": 5, "depth": 2}, id="aliases"),
        pytest.param(Aliased, {"tree": {"levels": 2}}, {"depth": 2}, id="a path"),
        pytest.param(Both, {"patience": 5, "depth": 2}, {"patience": 5, "depth": 2}, id="own names beside aliases"),
        pytest.param(Generated, {"PATIENCE": 5}, {"patience": 5}, id="generated"),
        pytest.param(Open, {"patience": 5, "colour": "red"}, {"patience": 5, "colour": "red"}, id="open"),
        pytest.param(Older, {"tries": 5}, {"patience": 5}, id="an older name"),
        pytest.param(Older, {"tries": 3}, {"patience": 3}, id="an older name with the default"),
        pytest.param(Rooted, {"plan": [{"steps": 2}]}, {"plan": Rooted.Inner([Schedule(steps=2)])}, id="a root"),
        pytest.param(Bounds, {"low": 5}, {"low": 5}, id="no model at all"),
    ],
)
def test_what_a_part_has_is_taken(model: Any, options: dict[str, Any], expected: dict[str, Any]) -> None:
    """By every name under which the model itself takes it."""
    made = filled(model, options, "strategy 's'")
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        pytest.param(Loose, {"patiance": 5}, "'patiance'; it takes patience, .*; did you mean 'patience'?", id="field"),
        pytest.param(
            Loose, {"schedule": {"step": 2}}, "'schedule.step'; it takes steps, order; did you", id="nested"
        ),
        pytest.param(Loose, {"several": [{}, {"step": 2}]}, "'several.1.step'; it takes steps, order", id="a list"),
        pytest.param(Loose, {"named": {"a": {"step": 2}}}, "'named.a.step'; it takes steps, order", id="a dict"),
        pytest.param(Loose, {"bounds": {"low": 1, "lo": 2}}, "'bounds.lo'; it takes low", id="a dataclass"),
        pytest.param(Loose, {"limits": {"most": 1, "mots": 2}}, "'limits.mots'; it takes most", id="a typed dict"),
        pytest.param(Aliased, {"patience": 5}, "'patience'; it takes wait, levels, tree", id="not by its own name"),
        pytest.param(Both, {"patiance": 5}, "'patiance'; it takes wait, patience", id="aliases"),
        pytest.param(Generated, {"patience": 5}, "'patience'; it takes PATIENCE", id="generated"),
        pytest.param(Open, {"patiance": 5}, "'patiance'; it takes patience; did you mean 'patience'?", id="open"),
        pytest.param(Strict, {"scedule": {}}, "'scedule'; it takes schedule; did you mean 'schedule'?", id="strict"),
        pytest.param(Strict, {"schedule": {"step": 2}}, "'schedule.step'; it takes steps, order", id="strict outside"),
        pytest.param(Older, {"trise": 5}, "'trise'; it takes patience", id="beside an older name"),
        pytest.param(Rooted, {"plan": [{"step": 2}]}, "'plan.0.step'; it takes steps, order", id="a root"),
        pytest.param(Bounds, {"lo": 5}, "'lo'; it takes low; did you mean 'low'?", id="no model at all"),
    ],
)  # fmt: skip
def test_what_it_lacks_is_refused_by_name(model: Any, options: dict[str, Any], text: str) -> None:
    """With what there is at that place, and the nearest."""
    with pytest.raises(ConfigError, match=f"^strategy 's' has no option {text}".replace("?", r"\?")) as caught:
        filled(model, options, "strategy 's'")
    assert len(str(caught.value).splitlines()) == 1


def test_a_nested_model_that_forbids_is_told_by_its_place() -> None:
    """Pydantic's own refusal names no neighbours, so none are claimed."""

    class Outer(BaseModel):
        inner: Strict = Strict()

    with pytest.raises(ConfigError, match=r"has no option 'inner\.x'; mend its name$"):
        filled(Outer, {"inner": {"x": 1}}, "strategy 's'")


def test_an_open_part_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    """What is passed on unchecked is in the log."""
    with caplog.at_level(logging.INFO, logger="ilit"):
        filled(Open, {"colour": "red"}, "strategy 's'")
    assert "strategy 's' takes any option, so 'colour' is passed on unchecked" in caplog.text


# --- Callables -----------------------------------------------------------------------------------------------------


class Modelled(BaseModel):
    """A metric that is a pydantic model itself."""

    k: int = 1
    schedule: Schedule = Schedule()


@pydantic.dataclasses.dataclass
class Checked:
    """A dataclass whose values pydantic checks."""

    k: int = 1


class TopK:
    """A metric with one option."""

    def __init__(self, k: int = 1) -> None:
        self.k = k


class Free:
    """A metric that takes any option beside its own."""

    def __init__(self, patience: int = 1, **rest: Any) -> None:
        self.k = rest.get("k", patience)


def passing_on(factory: Callable[..., Any], *, named: bool) -> Callable[..., Any]:
    """Return a wrapper as decorators make them, that says what it wraps, or not."""

    def made(*arguments: Any, **options: Any) -> Any:
        return factory(*arguments, **options)

    return functools.wraps(factory)(made) if named else made


@functools.wraps(TopK)
def with_its_own(*arguments: Any, top: int = 1, **options: Any) -> Any:
    """Make a metric; adds an option to those of what is wrapped."""
    return TopK(*arguments, **{"k": top, **options})


@pytest.mark.parametrize(
    ("factory", "options", "k"),
    [
        pytest.param(TopK, {"k": 5}, 5, id="a class"),
        pytest.param(Modelled, {"k": 5}, 5, id="a model"),
        pytest.param(Checked, {"k": 5}, 5, id="a dataclass"),
        pytest.param(functools.partial(TopK, k=3), {}, 3, id="partial"),
        pytest.param(functools.partial(TopK, k=3), {"k": 5}, 5, id="partial, overridden"),
        pytest.param(passing_on(TopK, named=True), {"k": 5}, 5, id="wrapped"),
        pytest.param(passing_on(TopK, named=False), {"k": 5}, 5, id="wrapped in silence"),
        pytest.param(with_its_own, {"top": 5}, 5, id="an option of the wrapper's"),
        pytest.param(Free, {"k": 5}, 5, id="open"),
    ],
)
def test_a_callable_takes_its_keywords(factory: Callable[..., Any], options: dict[str, Any], k: int) -> None:
    """Partial and wrapped ones too."""
    assert constructed(factory, "metric 'm'", (), options).k == k


@pytest.mark.parametrize(
    ("factory", "options", "text"),
    [
        pytest.param(TopK, {"kk": 5}, "has no option 'kk'; it takes k; did you mean 'k'", id="a class"),
        pytest.param(functools.partial(TopK, k=3), {"kk": 5}, "has no option 'kk'; it takes k", id="partial"),
        pytest.param(
            Modelled, {"schedule": {"step": 5}}, "has no option 'schedule.step'; it takes steps", id="a model"
        ),
        pytest.param(Checked, {"kk": 5}, "has no option 'kk'; it takes k", id="a dataclass"),
        pytest.param(functools.partial(TopK, 3), {"kk": 5}, "has no option 'kk'; it takes none", id="by position"),
        pytest.param(passing_on(TopK, named=True), {"kk": 5}, "has no option 'kk'; it takes k", id="wrapped"),
        pytest.param(passing_on(TopK, named=True), {"arguments": 5}, "has no option 'arguments'", id="its variable"),
        pytest.param(passing_on(TopK, named=False), {"kk": 5}, ".*unexpected keyword argument 'kk'", id="in silence"),
        pytest.param(with_its_own, {"tpo": 5}, "has no option 'tpo'; it takes top, k", id="a wrapper with its own"),
        pytest.param(Free, {"patiance": 5}, "has no option 'patiance'; it takes patience", id="open, but misspelt"),
        pytest.param(int, {"k": 5}, ".*; correct its options", id="written in C"),
    ],
)
def test_a_callable_refuses_what_it_lacks(factory: Callable[..., Any], options: dict[str, Any], text: str) -> None:
    """By the names it lists, or by its own complaint where it lists none."""
    with pytest.raises(ConfigError, match=f"^metric 'm'[: ]+{text}"):
        constructed(factory, "metric 'm'", (), options)


def test_a_value_that_pydantic_refuses_is_told_in_our_words() -> None:
    """Also of a dataclass, which is no model."""
    with pytest.raises(
        ConfigError, match=r"^option 'k' of metric 'm': input should be a valid integer, .*; got 'many'$"
    ):
        constructed(Checked, "metric 'm'", (), {"k": "many"})
