"""Loading plugins and calling their hooks: each by itself, the broken ones named and harmless."""

from __future__ import annotations

import logging
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pydantic
import pytest

from ilit import hookspecs
from ilit.hookspecs import hookimpl, hookspec
from ilit.plugins.host import BUILTINS
from ilit.plugins.registry import load_plugins
from ilit.testing import FakeAdapter


class Options(pydantic.BaseModel, extra="forbid"):
    """No options."""


class Strategy:
    """The least a strategy has."""

    name: ClassVar[str] = "mine"
    Options: ClassVar[type] = Options

    def __init__(self, options: Any) -> None: ...

    def search(self, *_: Any) -> Any:
        """Ask for nothing."""
        yield from ()


def module(**members: Any) -> ModuleType:
    """Return a module with these members, functions marked as hooks where their name is one."""
    made = ModuleType("made")
    for name, member in members.items():
        setattr(made, name, member)
    return made


def offering(hook: str, *parts: Any) -> ModuleType:
    """Return a plugin whose one hook returns these parts."""

    def implementation() -> list[Any]:
        return list(parts)

    return module(**{hook: hookimpl(implementation)})


def failing(error: BaseException) -> Any:
    """Return a function that raises."""

    def implementation() -> list[Any]:
        raise error

    return hookimpl(implementation)


def _unmarked() -> list[Any]:
    return []


@hookimpl
def _misspelt() -> list[Any]:
    return []


@hookimpl
def _too_many(model, loader) -> None: ...


@hookimpl(specname="ilit_metrics")
def _marked() -> list[Any]:
    return []


BROKEN = {
    "import": (ImportError("No module named 'torch'"), "ImportError: No module named 'torch'"),
    "exit at import": (SystemExit(3), "SystemExit: 3"),
    "several lines": (ValueError("first\nsecond"), "ValueError: first"),
    "not hashable": (
        SimpleNamespace(ilit_metrics=_marked),
        "the plugin is a SimpleNamespace, which cannot be hashed; use a module, or an object that can",
    ),
    "misspelt": (
        module(ilit_stratgies=_misspelt),
        "there is no hook 'ilit_stratgies'; did you mean 'ilit_strategies'?",
    ),
    "misspelt without mark": (
        module(ilit_metric=_unmarked),
        "there is no hook 'ilit_metric'; did you mean 'ilit_metrics'?",
    ),
    "another name": (module(on_start=_misspelt), "there is no hook 'on_start'"),
    "not marked": (module(ilit_metrics=_unmarked), "'ilit_metrics' is not marked; write @hookimpl above it"),
    "wrong argument": (
        module(ilit_select_adapter=_too_many),
        (
            "Plugin 'bad' for hook 'ilit_select_adapter' hookimpl definition: _too_many(model, loader) -> 'None' "
            "Argument(s) {'loader'} are declared in the hookimpl but can not be found in the hookspec"
        ),
    ),
    "hook raises": (module(ilit_metrics=failing(RuntimeError("boom"))), "RuntimeError: boom"),
    "hook needs what is not installed": (
        module(ilit_adapters=failing(ImportError("No module named 'torch'"))),
        "ImportError: No module named 'torch'",
    ),
    "no list": (
        module(ilit_metrics=hookimpl(lambda: {"f1": 1})),
        "ilit_metrics returned a dict; return a list",
    ),
    "part without a name": (
        offering("ilit_strategies", SimpleNamespace(Options=1, search=1)),
        "ilit_strategies: SimpleNamespace has no name; give it a text in 'name'",
    ),
    "part without its shape": (
        offering("ilit_strategies", SimpleNamespace(name="half", Options=1)),
        "ilit_strategies: strategy 'half' has no 'search'; see ilit.strategy",
    ),
    "part with half an ability": (
        offering("ilit_adapters", type("Half", (FakeAdapter,), {"row_shapes": None})),
        "ilit_adapters: adapter 'fake' has 'regroup' but no 'row_shapes'; ilit.RegroupsRows needs both",
    ),
    "specification of a hook that exists": (
        module(hookspecs=module(ilit_metrics=hookspec(lambda: None))),
        "hook 'ilit_metrics' is specified already; give it another name",
    ),
    "specifications without any": (
        module(hookspecs=module()),
        "ValueError: did not find any 'ilit' hooks in <module 'made'>",
    ),
}


@pytest.mark.parametrize(("plugin", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_disabled_alone_and_says_why(load, plugin, error, caplog):
    """Its error is one line in listing and log, and the plugins beside it work."""
    found = load(bad=plugin, good=offering("ilit_strategies", Strategy))
    errors = {listed.origin.name: listed.error for listed in found.listing()}
    assert errors == {**dict.fromkeys(BUILTINS, ""), "bad": error, "good": ""}
    assert found.strategy("mine") is Strategy
    assert found.working == (*BUILTINS, "good")
    assert caplog.messages == [f"plugin bad (ilit-bad 1.0) is disabled: {error}"]


def test_a_disabled_plugin_is_asked_nothing(load):
    """What is wrong in one place of a plugin takes its sound hooks out as well."""
    asked = []

    def observe(run: Any) -> None:
        asked.append(run)

    plugin = module(ilit_run_started=hookimpl(observe), hookspecs=module())
    load(bad=plugin).hook.ilit_run_started(run="run")
    assert asked == []


def test_a_plugin_that_fails_late_is_taken_out_of_everything(load):
    """Parts of another kind that were found before go with it."""
    plugin = offering("ilit_strategies", Strategy)
    plugin.ilit_metrics = failing(RuntimeError("boom"))
    found = load(late=plugin)
    assert found.names("strategy") == ("mine",)
    assert found.names("metric") == ()
    assert found.names("strategy") == ()


def entry_point(name: str, distribution: str, plugin: Any) -> Any:
    """Return an entry point of a distribution."""
    dist = SimpleNamespace(name=distribution, version="1.0")
    return SimpleNamespace(name=name, dist=dist, load=lambda: plugin)


def test_two_plugins_of_one_name_are_both_disabled():
    """Neither can be told from the other, so neither is used; a built-in one stays."""
    mine = offering("ilit_strategies", Strategy)
    found = load_plugins([entry_point("x", "one", mine), entry_point("x", "two", mine), entry_point("builtin", "b", 1)])
    assert found.working == tuple(BUILTINS)
    assert [(listed.origin.distribution, listed.error) for listed in found.listing()][len(BUILTINS) :] == [
        ("one", "two plugins have the name 'x', from one and two; uninstall one"),
        ("two", "two plugins have the name 'x', from one and two; uninstall one"),
        ("b", "two plugins have the name 'builtin', from ilit-core and b; uninstall one"),
    ]


def test_an_entry_point_seen_twice_counts_once():
    """Metadata that a path lists twice is one plugin."""
    twice = [entry_point("x", "one", offering("ilit_strategies", Strategy)) for _ in range(2)]
    assert load_plugins(twice).working == (*BUILTINS, "x")


def test_a_plugin_may_bring_hooks_that_another_implements(load):
    """Specifications of all plugins are known before any plugin is checked, whatever the order."""
    specs = module(ilit_greet=hookspec(lambda name: None))
    found = load(user=module(ilit_greet=hookimpl(lambda name: f"hello {name}")), owner=module(hookspecs=specs))
    assert found.working == (*BUILTINS, "user", "owner")
    assert found.hook.ilit_greet(name="you") == ["hello you"]
    assert found.listing()[len(BUILTINS)].hooks == ("ilit_greet",)


def test_importing_the_hook_specifications_is_no_offer_of_new_ones(load):
    """A plugin may name the module it takes its marker from."""
    assert load(mine=module(hookspecs=hookspecs)).working == (*BUILTINS, "mine")


def test_an_optional_hook_may_be_unknown(load):
    """Pluggy's own mark for a hook that may not be there is honoured."""
    assert load(mine=module(ilit_later=hookimpl(lambda: None, optionalhook=True))).working == (*BUILTINS, "mine")


def test_one_plugin_can_be_asked_alone(load):
    """Answers of one plugin come without the others', also for a hook of which the first answer counts."""
    found = load(
        a=module(ilit_select_adapter=hookimpl(lambda model: None)),
        b=module(ilit_select_adapter=hookimpl(lambda model: [model])),
    )
    assert found.ask("a", "ilit_select_adapter", model=1) == []
    assert found.ask("b", "ilit_select_adapter", model=1) == [[1]]
    assert found.hook.ilit_select_adapter(model=1) == [1]


def test_an_observer_that_raises_harms_no_other(load, caplog):
    """Every plugin is told of an event; what one raises is logged with its name."""
    told = []

    def tell(run: Any) -> None:
        told.append(run)

    def boom(run: Any) -> None:
        raise RuntimeError(run)

    found = load(
        a=module(ilit_run_started=hookimpl(tell)),
        bad=module(ilit_run_started=hookimpl(boom)),
        c=module(ilit_run_started=hookimpl(tell)),
    )
    with caplog.at_level(logging.ERROR, logger="ilit"):
        found.notify("ilit_run_started", run="run")
    assert told == ["run", "run"]
    assert caplog.messages == ["plugin bad (ilit-bad 1.0): ilit_run_started raised"]
    assert found.working == (*BUILTINS, "a", "bad", "c")
