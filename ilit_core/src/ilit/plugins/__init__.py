"""How parts are found, checked, and chosen by the configuration."""

from __future__ import annotations

from ilit.plugins.host import EntryPoint, PluginOrigin
from ilit.plugins.registry import PluginInfo, Registry, installed_plugins, load_plugins

__all__ = ["EntryPoint", "PluginInfo", "PluginOrigin", "Registry", "installed_plugins", "load_plugins"]
