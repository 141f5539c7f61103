"""Parts of plugins: found by name, refused with what there is, and listed."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any, ClassVar

import importlib_metadata
import pydantic
import pytest

from ilit.errors import PluginError
from ilit.hookspecs import hookimpl
from ilit.objective import OBJECTIVES, PERFORMANCE
from ilit.plugins.host import BUILTINS
from ilit.plugins.registry import installed_plugins


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


def test_built_in_parts_come_through_the_same_hooks(load):
    """Without any plugin the objectives and the serial executor are there, from ilit-core."""
    found = load()
    assert found.objective("performance") is PERFORMANCE
    assert found.names("objective") == OBJECTIVE_NAMES
    assert found.executor("serial").name == "serial"
    assert {(ours.origin.distribution, ours.error) for ours in found.listing()} == {("ilit-core", "")}
    assert found.working == tuple(BUILTINS)


def test_a_part_is_found_with_its_origin(load):
    """What a plugin offers is looked up by name, and the listing says where it comes from."""
    found = load(mine=offering("ilit_strategies", Strategy))
    assert found.strategy("mine") is Strategy
    assert str(found.origin("strategy", "mine")) == "mine (ilit-mine 1.0)"
    assert found.listing()[len(BUILTINS)].provides == {"strategy": ("mine",)}


MISSING = {
    "misspelt": (
        {"ilit_x": offering("ilit_strategies", Strategy)},
        "min",
        "no strategy 'min'; installed: mine; more come with pip install ilit-strategies; did you mean 'mine'?",
    ),
    "none installed": ({}, "basic", "no strategy 'basic': none is installed; pip install ilit-strategies"),
    "disabled": (
        {"strategies": ImportError("no")},
        "basic",
        "no strategy 'basic': none is installed; strategies (ilit-strategies 1.0) is disabled: ImportError: no",
    ),
}


@pytest.mark.parametrize(("plugins", "name", "message"), MISSING.values(), ids=MISSING)
def test_a_name_nobody_offers_is_told_with_what_there_is(load, plugins, name, message):
    """The error lists what is installed, what is disabled, what to install and what was meant."""
    with pytest.raises(PluginError) as caught:
        load(**plugins).strategy(name)
    assert str(caught.value) == message


OBJECTIVE_NAMES = tuple(sorted(one.name for one in OBJECTIVES))
KINDS = {
    "adapter": "no adapter 'x': none is installed; pip install ilit-pytorch",
    "metric": "no metric 'x': none is installed; pip install ilit-pytorch",
    "dataloader": "no dataloader 'x': none is installed; pip install ilit-bert",
    "objective": f"no objective 'x'; installed: {', '.join(OBJECTIVE_NAMES)}",
    "executor": "no executor 'x'; installed: serial",
}


@pytest.mark.parametrize(("kind", "message"), KINDS.items(), ids=KINDS)
def test_every_kind_is_looked_up_alike(load, kind, message):
    """Each kind has a look-up of its own name, and says what to install."""
    with pytest.raises(PluginError) as caught:
        getattr(load(), kind)("x")
    assert str(caught.value) == message


def test_two_plugins_with_one_part_are_refused_by_name_when_it_is_used(load):
    """Both are named, in the look-up and in the listing; their other parts work."""

    class Other(Strategy):
        name = "other"

    found = load(a=offering("ilit_strategies", Strategy, Other), b=offering("ilit_strategies", Strategy))
    message = "strategy 'mine' is offered by a (ilit-a 1.0) and b (ilit-b 1.0); uninstall one, or have its name changed"
    with pytest.raises(PluginError) as caught:
        found.strategy("mine")
    assert str(caught.value) == message
    assert [listed.clashes for listed in found.listing()[-2:]] == [(message,), (message,)]
    assert found.strategy("other") is Other


def test_installed_plugins_are_loaded_once(monkeypatch):
    """The registry of the process is made once, and asks for the entry points of the group ilit."""
    groups = []
    monkeypatch.setattr(importlib_metadata, "entry_points", lambda group: groups.append(group) or [])
    assert installed_plugins() is installed_plugins()
    assert groups == ["ilit"]


def test_loading_plugins_imports_no_framework():
    """Neither torch nor transformers is there after all installed plugins are loaded and their strategies listed."""
    program = (
        "import sys, ilit; from ilit.plugins.registry import installed_plugins; installed_plugins().names('strategy'); "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    assert done.stdout.strip() == "[]"
