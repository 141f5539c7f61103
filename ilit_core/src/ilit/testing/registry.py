"""A registry of plugins for tests: the built-in ones, the fake framework, and whatever the test brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilit.plugins.registry import Registry, load_plugins
from ilit.testing import fake


@dataclass(frozen=True)
class GivenPlugin:
    """A plugin object in the shape of an entry point."""

    name: str
    plugin: Any

    def load(self) -> Any:
        """Return the plugin."""
        return self.plugin


def fake_plugins(**plugins: Any) -> Registry:
    """Return a registry with ilit's own parts, the fake framework and the given plugins, nothing that is installed.

    Args:
        plugins: name -> module or object with functions marked ``@hookimpl``.
    """
    return load_plugins([GivenPlugin(name, plugin) for name, plugin in {"fake": fake, **plugins}.items()])
