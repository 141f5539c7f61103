"""Finds plugins, keeps the broken ones from harming the others, and looks their parts up by name."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, cast

import importlib_metadata
import pluggy

from ilit import hookspecs
from ilit.adapter import Adapter
from ilit.errors import PluginError, did_you_mean
from ilit.executor import Executor
from ilit.metric import Metric
from ilit.objective import Objective
from ilit.plugins.validation import GROUP, KINDS, Kind, check_part, describe_failure, misuse, spec_names
from ilit.strategy import Strategy

logger = logging.getLogger("ilit")

BUILTINS = {"builtin": "ilit.plugins.builtin"}


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


@dataclass(frozen=True)
class PluginInfo:
    """One plugin as ``ilit plugins`` shows it.

    Attributes:
        provenance: name, distribution and version.
        provides: kind -> names of the parts it offers, kinds without a part left out.
        hooks: the other hooks it implements.
        error: why it is disabled, in one line; empty where it works.
        clashes: parts of it that another plugin offers too, one line each.
    """

    provenance: PluginOrigin
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    error: str = ""
    clashes: tuple[str, ...] = ()


class Registry:
    """The plugins of one process. Parts are asked for kind by kind, when first needed."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._specs: list[Any] = []
        self._found: dict[str, PluginOrigin] = {}
        self._errors: dict[str, str] = {}
        self._parts: dict[str, list[tuple[str, Any]]] = {}
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

    def _load(self, sources: Iterable[tuple[PluginOrigin, EntryPoint]]) -> None:
        """Import all, then take in their hook specifications, then check and register one by one."""
        loaded: dict[str, Any] = {}
        for provenance, entry_point in sources:
            before = self._found.setdefault(provenance.name, provenance)
            if before != provenance:
                self._refuse_name(provenance, before, loaded)
            elif provenance.name not in loaded:
                with self.isolated(provenance.name):
                    loaded[provenance.name] = entry_point.load()
        for name, plugin in loaded.items():
            specs = getattr(plugin, "hookspecs", None)
            if specs is not None and not any(specs is known for known in self._specs):
                with self.isolated(name):
                    self._add_specs(specs)
        for name, plugin in loaded.items():
            if name not in self._errors:
                with self.isolated(name):
                    self._register(name, plugin)

    def _refuse_name(self, provenance: PluginOrigin, before: PluginOrigin, loaded: dict[str, Any]) -> None:
        """Disable both plugins of one name, but never a built-in one; the later is kept under a name of its own."""
        error = f"two plugins have the name '{before.name}', from {before.distribution} and {provenance.distribution}"
        key = f"{before.name}@{provenance.distribution}"
        self._found[key] = provenance
        self.disable(key, f"{error}; uninstall one")
        if before.name not in BUILTINS:
            loaded.pop(before.name, None)
            self.disable(before.name, f"{error}; uninstall one")

    def _register(self, name: str, plugin: Any) -> None:
        """Check a plugin against every hook, in a manager of its own so that a failure leaves nothing behind."""
        problem = misuse(plugin, self._hooks())
        if problem:
            raise PluginError(problem)
        trial = pluggy.PluginManager(GROUP)
        for specs in self._specs:
            trial.add_hookspecs(specs)
        trial.register(plugin, name)
        self._manager.register(plugin, name)

    @contextmanager
    def isolated(self, name: str) -> Iterator[None]:
        """Disable the plugin where the block raises, and let the program go on."""
        try:
            yield
        except (Exception, SystemExit) as error:
            logger.debug("plugin %s", self._found[name], exc_info=error)
            self.disable(name, describe_failure(error))

    def disable(self, name: str, error: str) -> None:
        """Take a plugin out of all hooks and look-ups, for a reason in one line that listings show."""
        self._errors[name] = error
        logger.warning("plugin %s is disabled: %s", self._found[name], error)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        for parts in self._parts.values():
            parts[:] = [(owner, part) for owner, part in parts if owner != name]

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
        except Exception:
            logger.exception("plugin %s: %s raised", self._found[name], hook)

    # --- Parts by name ---------------------------------------------------------------------------------------------

    def adapter(self, name: str) -> type[Adapter]:
        """Return the adapter class of that name; see ``find``."""
        return cast("type[Adapter]", self.find("adapter", name))

    def strategy(self, name: str) -> type[Strategy]:
        """Return the strategy class of that name; see ``find``."""
        return cast("type[Strategy]", self.find("strategy", name))

    def metric(self, name: str) -> type[Metric]:
        """Return the metric class of that name; see ``find``."""
        return cast("type[Metric]", self.find("metric", name))

    def dataloader(self, name: str) -> Any:
        """Return the loader wrapper of that name; see ``find``."""
        return self.find("dataloader", name)

    def objective(self, name: str) -> Objective:
        """Return the objective of that name; see ``find``."""
        return cast("Objective", self.find("objective", name))

    def executor(self, name: str) -> type[Executor]:
        """Return the executor class of that name; see ``find``."""
        return cast("type[Executor]", self.find("executor", name))

    def find(self, kind: str, name: str) -> Any:
        """Return the one part of ``kind`` with that name.

        Raises:
            PluginError: there is none, with what is installed, disabled and near; or two plugins offer one.
        """
        owners = [(owner, part) for owner, part in self._offered(kind) if part.name == name]
        if not owners:
            raise PluginError(self._missing(KINDS[kind], name))
        if len(owners) > 1:
            raise PluginError(self._clash(kind, name, [owner for owner, _ in owners]))
        return owners[0][1]

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of all installed parts of a kind, sorted."""
        return tuple(sorted({part.name for _, part in self._offered(kind)}))

    def provenance(self, kind: str, name: str) -> PluginOrigin:
        """Return where the part that ``find`` gives comes from; raises as ``find`` does."""
        part = self.find(kind, name)
        return next(self._found[owner] for owner, other in self._offered(kind) if other is part)

    def _offered(self, kind: str) -> list[tuple[str, Any]]:
        """Return owner and part of everything of a kind, asking the plugins once; those that fail are disabled."""
        if kind not in self._parts:
            self._parts[kind] = parts = []
            for name in self.working:
                with self.isolated(name):
                    parts += [(name, part) for part in self._asked_for(name, KINDS[kind])]
        return self._parts[kind]

    def _asked_for(self, name: str, kind: Kind) -> list[Any]:
        answers = self.ask(name, kind.hook)
        for answer in answers:
            if not isinstance(answer, (list, tuple)):
                raise PluginError(f"{kind.hook} returned a {type(answer).__name__}; return a list")
        return [check_part(part, kind) for answer in answers for part in answer]

    def _missing(self, kind: Kind, name: str) -> str:
        installed = self.names(kind.word)
        away = kind.home not in {found.distribution for found in self._found.values()}
        disabled = "".join(f"; {self._found[key]} is disabled: {error}" for key, error in self._errors.items())
        if not installed:
            return f"no {kind.word} '{name}': none is installed{f'; pip install {kind.home}' if away else ''}{disabled}"
        more = f"; more come with pip install {kind.home}" if away else ""
        return (
            f"no {kind.word} '{name}'; installed: {', '.join(installed)}{more}{disabled}{did_you_mean(name, installed)}"
        )

    def _clash(self, kind: str, name: str, owners: Iterable[str]) -> str:
        both = " and ".join(str(self._found[owner]) for owner in owners)
        return f"{kind} '{name}' is offered by {both}; uninstall one, or have its name changed"

    # --- Listing ---------------------------------------------------------------------------------------------------

    def listing(self) -> tuple[PluginInfo, ...]:
        """Return every plugin found, disabled ones included, with what it offers. Imports the adapters."""
        offered = {kind: self._offered(kind) for kind in KINDS}
        return tuple(self._listed(name, offered) for name in self._found)

    def _listed(self, name: str, offered: Mapping[str, list[tuple[str, Any]]]) -> PluginInfo:
        if name in self._errors:
            return PluginInfo(self._found[name], error=self._errors[name])
        provides: dict[str, tuple[str, ...]] = {}
        clashes: list[str] = []
        for kind, parts in offered.items():
            mine = tuple(part.name for owner, part in parts if owner == name)
            provides |= {kind: mine} if mine else {}
            for part_name in dict.fromkeys(mine):
                owners = [owner for owner, part in parts if part.name == part_name]
                clashes += [self._clash(kind, part_name, owners)] if len(owners) > 1 else []
        callers = self._manager.get_hookcallers(self._manager.get_plugin(name)) or []
        offers = {kind.hook for kind in KINDS.values()}
        hooks = tuple(sorted(caller.name for caller in callers if caller.name not in offers))
        return PluginInfo(self._found[name], provides, hooks, "", tuple(clashes))


def load_plugins(entry_points: Iterable[EntryPoint] | None = None) -> Registry:
    """Return a registry of the built-in parts and the given or, by default, all installed plugins.

    Nothing of a framework is imported: plugins import theirs when they are asked for adapters.
    """
    found = importlib_metadata.entry_points(group=GROUP) if entry_points is None else entry_points
    version = importlib_metadata.version("ilit-core")
    sources: list[tuple[PluginOrigin, EntryPoint]] = [
        (PluginOrigin(name, "ilit-core", version), _Builtin(name, module)) for name, module in BUILTINS.items()
    ]
    for entry_point in found:
        dist = getattr(entry_point, "dist", None)
        distribution, version = ("unknown", "") if dist is None else (dist.name, dist.version)
        sources.append((PluginOrigin(entry_point.name, distribution, version), entry_point))
    registry = Registry()
    registry._load(sources)  # noqa: SLF001 - this function is the registry's constructor for callers
    return registry


@dataclass(frozen=True)
class _Builtin:
    """A module of ilit's own in the shape of an entry point."""

    name: str
    module: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


@functools.cache
def installed_plugins() -> Registry:
    """Return the registry of all installed plugins, loaded once in a process; ``cache_clear`` forgets it."""
    return load_plugins()
