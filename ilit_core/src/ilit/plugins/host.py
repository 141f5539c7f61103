"""Load plugins so that a broken one harms no other, and call their hooks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pluggy

from ilit import hookspecs
from ilit.errors import PluginError
from ilit.plugins.validation import GROUP, describe_failure, misuse, spec_names

BUILTINS = {"builtin": "ilit.plugins.builtin"}
_log = logging.getLogger(__name__)


class EntryPoint(Protocol):
    """What is used of an ``importlib_metadata.EntryPoint``; ``dist``, where it has one, gives name and version."""

    @property
    def name(self) -> str:
        """The plugin's name."""

    def load(self) -> Any:
        """Import and return the plugin."""


@dataclass(frozen=True)
class PluginOrigin:
    """Where a plugin comes from. Its text is ``template (ilit-template 0.1.0)``."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})".replace(" )", ")")


class PluginHost:
    """The plugins of one process: loaded, checked and called so that none harms another."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._specs: list[Any] = []
        self._found: dict[str, PluginOrigin] = {}
        self._errors: dict[str, str] = {}
        self._add_specs(hookspecs)

    # --- Loading -------------------------------------------------------------------------------------------------

    def _add_specs(self, specs: Any) -> None:
        clash = sorted(spec_names(specs) & self._hooks())
        if clash:
            raise PluginError(f"hook '{clash[0]}' is specified already; give it another name")
        self._manager.add_hookspecs(specs)
        self._specs.append(specs)

    def _hooks(self) -> set[str]:
        return {name for specs in self._specs for name in spec_names(specs)}

    def load(self, sources: Iterable[tuple[PluginOrigin, EntryPoint]]) -> None:
        """Import all, then take in their hook specifications, then check and register one by one.

        A plugin that fails is disabled; nothing is raised.
        """
        loaded: dict[str, Any] = {}
        for origin, entry_point in sources:
            before = self._found.setdefault(origin.name, origin)
            if before != origin:
                self._refuse_name(origin, before, loaded)
            elif origin.name not in loaded:
                with self.isolated(origin.name):
                    loaded[origin.name] = entry_point.load()
        for name, plugin in loaded.items():
            specs = getattr(plugin, "hookspecs", None)
            if specs is not None and not any(specs is known for known in self._specs):
                with self.isolated(name):
                    self._add_specs(specs)
        for name, plugin in loaded.items():
            if name not in self._errors:
                with self.isolated(name):
                    self._register(name, plugin)

    def _refuse_name(self, origin: PluginOrigin, before: PluginOrigin, loaded: dict[str, Any]) -> None:
        """Disable both plugins of one name, but never a built-in one; the later gets a name of its own."""
        error = f"two plugins have the name '{before.name}', from {before.distribution} and {origin.distribution}"
        key = f"{before.name}@{origin.distribution}"
        self._found[key] = origin
        self.disable(key, f"{error}; uninstall one")
        if before.name not in BUILTINS:
            loaded.pop(before.name, None)
            self.disable(before.name, f"{error}; uninstall one")

    def _register(self, name: str, plugin: Any) -> None:
        """Check a plugin against every hook, in a manager of its own so that a failure leaves nothing behind."""
        problem = misuse(plugin, self._hooks())
        if problem:
            raise PluginError(problem)
        scratch = pluggy.PluginManager(GROUP)
        for specs in self._specs:
            scratch.add_hookspecs(specs)
        scratch.register(plugin, name)
        self._manager.register(plugin, name)

    @contextmanager
    def isolated(self, name: str) -> Iterator[None]:
        """Disable the plugin where the block raises, and let the program go on."""
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - logged, and told in the listing
            _log.debug("plugin %s", self._found[name], exc_info=error)
            self.disable(name, describe_failure(error))

    def disable(self, name: str, error: str) -> None:
        """Take a plugin out of all hooks and look-ups, for a reason in one line that listings show."""
        self._errors[name] = error
        _log.warning("plugin %s is disabled: %s", self._found[name], error)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    # --- Asking plugins ------------------------------------------------------------------------------------------

    @property
    def hook(self) -> pluggy.HookRelay:
        """Every hook as a function that asks all plugins at once."""
        return self._manager.hook

    @property
    def working(self) -> tuple[str, ...]:
        """Names of the plugins that are not disabled, in the order they were found."""
        return tuple(name for name in self._found if name not in self._errors)

    def ask(self, name: str, hook: str, **arguments: Any) -> list[Any]:
        """Return one plugin's answers to a hook, None left out. What the plugin raises is passed on."""
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != name]
        answers = self._manager.subset_hook_caller(hook, others)(**arguments)
        if isinstance(answers, list) and not self._is_first_result(hook):
            return answers
        return [] if answers is None else [answers]

    def _is_first_result(self, hook: str) -> bool:
        spec = getattr(self._manager.hook, hook).spec
        return bool(spec and spec.opts.get("firstresult"))

    def notify(self, hook: str, **arguments: Any) -> None:
        """Tell each plugin of an event. What one raises is logged with its name and harms nothing else."""
        for name in self.working:
            self._tell(name, hook, arguments)

    def _tell(self, name: str, hook: str, arguments: Mapping[str, Any]) -> None:
        try:
            self.ask(name, hook, **arguments)
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("plugin %s: %s raised", self._found[name], hook)
