"""``fake_plugins``: ilit's own parts, the fake framework and what the test brings, nothing that is installed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from ilit.testing import GivenPlugin, fake_plugins


def test_nothing_but_the_given_plugins_is_there(plugin: Callable[..., ModuleType]) -> None:
    """An installed plugin is not loaded, so that a test is the same on every machine."""
    found = fake_plugins(mine=plugin(ilit_strategies=lambda: None))

    assert found.working == ("builtin", "fake", "mine")
    assert found.names("adapter") == ("fake",)
    assert found.names("metric") == ("fake_accuracy",)
    assert found.names("strategy") == ()


def test_a_given_plugin_has_the_shape_of_an_entry_point() -> None:
    """Its ``load`` gives the object itself."""
    plugin = ModuleType("mine")
    given = GivenPlugin("mine", plugin)

    assert given.name == "mine"
    assert given.load() is plugin
