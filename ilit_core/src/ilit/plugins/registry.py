"""The plugins' parts by name: looked up, checked, and listed with their plugins."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

import importlib_metadata

from ilit.adapter import Adapter
from ilit.errors import PluginError, did_you_mean
from ilit.executor import Executor
from ilit.metric import Metric
from ilit.objective import Objective
from ilit.plugins.host import BUILTINS, EntryPoint, PluginHost, PluginOrigin
from ilit.plugins.validation import GROUP, KINDS, Kind, check_part
from ilit.strategy import Strategy


@dataclass(frozen=True)
class PluginInfo:
    """One plugin as ``ilit plugins`` shows it.

    Attributes:
        origin: name, distribution and version.
        provides: kind -> names of the parts it offers, kinds without a part left out.
        hooks: the other hooks it implements.
        error: why it is disabled, in one line; empty where it works.
        clashes: parts of it that another plugin offers too, one line each.
    """

    origin: PluginOrigin
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    error: str = ""
    clashes: tuple[str, ...] = ()


class Registry(PluginHost):
    """The plugins of one process and what they offer. Parts are asked for kind by kind, when first needed."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[str, list[tuple[str, Any]]] = {}

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

    def origin(self, kind: str, name: str) -> PluginOrigin:
        """Return the origin of the part that ``find`` gives; raises as ``find`` does."""
        part = self.find(kind, name)
        return next(self._found[owner] for owner, other in self._offered(kind) if other is part)

    def _offered(self, kind: str) -> list[tuple[str, Any]]:
        """Return owner and part of everything of a kind, asking the plugins once; those that fail are disabled."""
        if kind not in self._parts:
            self._parts[kind] = parts = []
            for name in self.working:
                with self.isolated(name):
                    parts += [(name, part) for part in self._asked_for(name, KINDS[kind])]
        working = self.working
        return [(owner, part) for owner, part in self._parts[kind] if owner in working]

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
        return tuple(self._info(name, offered) for name in self._found)

    def _info(self, name: str, offered: Mapping[str, list[tuple[str, Any]]]) -> PluginInfo:
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
    registry.load(sources)
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
