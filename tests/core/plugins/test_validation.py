"""What is wrong with a part that has some of an ability, in one line; and how a package's parts are found."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ilit.adapter import RegroupsRows, TimesOps
from ilit.errors import PluginError
from ilit.plugins.validation import KINDS, Kind, check_part, incomplete, parts_in


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


STRATEGY = "class {name}:\n    name = {text!r}\n    Options = dict\n    def search(self, space, baseline, rng): ...\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of two modules and a folder, all with strategies in them."""
    home = tmp_path / "some_plugin"
    (home / "folder").mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "first.py").write_text(
        STRATEGY.format(name="Mine", text="mine") + STRATEGY.format(name="_Base", text="base")
    )
    (home / "second.py").write_text("from some_plugin.first import Mine\nclass Other:\n    name = 'no strategy'\n")
    (home / "folder" / "__init__.py").write_text("from some_plugin.folder.inner import Deep\n")
    (home / "folder" / "inner.py").write_text(STRATEGY.format(name="Deep", text="deep"))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("some_plugin")
    for name in [name for name in sys.modules if name.partition(".")[0] == "some_plugin"]:
        del sys.modules[name]


def test_parts_are_found_where_they_are_defined(package: ModuleType) -> None:
    """Once each: not where they are imported, no private ones, and a folder's by what it hands on."""
    assert [part.name for part in parts_in(package, "strategy")] == ["mine", "deep"]
    assert parts_in(package, "metric") == []


def test_a_new_part_is_a_new_module(package: ModuleType) -> None:
    """Nothing else is changed for it to be offered."""
    (Path(package.__path__[0]) / "third.py").write_text(STRATEGY.format(name="New", text="new"))
    importlib.invalidate_caches()

    assert [part.name for part in parts_in(package, "strategy")] == ["mine", "deep", "new"]


NEARLY = {
    "strategy": ("    def search(self): ...\n", "Options"),
    "metric": ("    higher_is_better = True\n    def result(self): ...\n", "update"),
}
NOT_MEANT = {
    "a name alone": ("Some", "    name = 'some'\n", "metric"),
    "less than half": ("Some", "    name = 'some'\n    def result(self): ...\n", "metric"),
    "a name of each instance": ("Some", "    name = property()\n    def search(self): ...\n", "strategy"),
    "no name": ("Some", "    def search(self): ...\n", "strategy"),
    "private": ("_Some", "    name = 'some'\n    def search(self): ...\n", "strategy"),
}


def add(package: ModuleType, text: str) -> None:
    """Add a module ``third`` to the package."""
    (Path(package.__path__[0]) / "third.py").write_text(text)
    importlib.invalidate_caches()


@pytest.mark.parametrize(("kind", "body", "missing"), [(k, *v) for k, v in NEARLY.items()], ids=NEARLY)
def test_what_is_nearly_a_part_is_a_mistake(package: ModuleType, kind: str, body: str, missing: str) -> None:
    """Left out in silence its author would not know why it cannot be found; so class and gap are named, in one line."""
    add(package, f"class Half:\n    name = 'half'\n{body}")
    message = f"ilit_.*: some_plugin.third.Half is nearly a {kind}, but has no '{missing}'; add it"
    with pytest.raises(PluginError, match=message) as caught:
        parts_in(package, kind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "body", "kind"), NOT_MEANT.values(), ids=NOT_MEANT)
def test_what_was_not_meant_as_a_part_is_left_alone(package: ModuleType, name: str, body: str, kind: str) -> None:
    """Many classes have a name, or a method called like one of a part."""
    before = parts_in(package, kind)
    add(package, f"class {name}:\n{body}")
    assert parts_in(package, kind) == before


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_a_refusal_refers_to_exists(kind: Kind) -> None:
    """Its reader can look it up by that name."""
    assert pkgutil.resolve_name(kind.see).__doc__
    with pytest.raises(PluginError, match=rf"has no '{kind.needs[0]}'; see {kind.see}$"):
        check_part(SimpleNamespace(name="mine", __name__="Mine"), kind)
