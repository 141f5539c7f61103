"""Fixtures for the core: configuration files and plugins that exist only in the test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from ilit.hookspecs import hookimpl
from ilit.plugins.registry import Registry, installed_plugins, load_plugins
from ilit.run.folder import Clock
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests
from ilit.testing import FakeAdapter, fake, fake_plugins
from ilit.tuner import Tuner


@pytest.fixture(autouse=True)
def _no_registry_is_kept() -> Iterator[None]:
    """Let no test see the plugins another one loaded."""
    installed_plugins.cache_clear()
    yield
    installed_plugins.cache_clear()


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return a function that writes ``conf.yaml`` into the working directory and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("conf.yaml").write_text(text, encoding="utf-8")
        return "conf.yaml"

    return write


@dataclass(frozen=True)
class FakeEntryPoint:
    """An installed plugin, or one whose import raises."""

    name: str
    plugin: Any
    distribution: str
    dist: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dist", SimpleNamespace(name=self.distribution, version="1.0"))

    def load(self) -> Any:
        if isinstance(self.plugin, BaseException):
            raise self.plugin
        return self.plugin


@pytest.fixture
def load() -> Callable[..., Registry]:
    """Return a function that loads plugins given by name; an exception stands for one whose import raises."""

    def loaded(**plugins: Any) -> Registry:
        return load_plugins([FakeEntryPoint(name, plugin, f"ilit-{name}") for name, plugin in plugins.items()])

    return loaded


@pytest.fixture
def installed(load: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    """Return a function like ``load`` whose plugins ``installed_plugins()`` gives as well, to the command line."""

    def install(**plugins: Any) -> Registry:
        found = [FakeEntryPoint(name, plugin, f"ilit-{name}") for name, plugin in plugins.items()]
        monkeypatch.setattr("importlib_metadata.entry_points", lambda group: found)
        return load(**plugins)

    return install


def plugin_of(**hooks: Callable[..., Any]) -> ModuleType:
    """Return a plugin with the given hooks, each marked."""
    plugin = ModuleType("given")
    for name, function in hooks.items():
        setattr(plugin, name, hookimpl(function))
    return plugin


@pytest.fixture
def plugin() -> Callable[..., ModuleType]:
    """Return a function that makes a plugin of hooks given by name."""
    return plugin_of


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., type[FakeAdapter]]:
    """Return a function that gives the fake framework an adapter without some methods, and returns its class.

    A class of its own, since Python remembers which classes are instances of a protocol.
    """

    def replace_adapter(*names: str) -> type[FakeAdapter]:
        adapter = type("Lacking", (FakeAdapter,), dict.fromkeys(names))
        monkeypatch.setattr(fake, "FakeAdapter", adapter)
        return adapter

    return replace_adapter


class NoOptions(BaseModel):
    """A strategy's options where it has none."""

    model_config = ConfigDict(extra="forbid")


@pytest.fixture
def strategy_of() -> Callable[..., Any]:
    """Return a function that makes a strategy class ``scripted`` of a generator ``search(space, baseline)``."""

    def make(search: Callable[[SearchSpace, Baseline], Requests]) -> type[Any]:
        class Scripted:
            name: ClassVar[str] = "scripted"
            Options: ClassVar[type] = NoOptions

            def __init__(self, options: Any) -> None:
                del options

            def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
                del rng
                return search(space, baseline)

        return Scripted

    return make


@pytest.fixture
def tuner(tmp_path: Path, strategy_of: Callable[..., Any]) -> Callable[..., Tuner]:
    """Return a function that makes a tuner of fake models whose strategy is the given generator function.

    Its run folders are in ``tmp_path``; ``run`` and further keyword arguments go into the sections ``run`` and
    ``tuning``, ``plugins`` are further plugins.
    """

    def make(
        search: Any,
        plugins: dict[str, Any] | None = None,
        clock: Clock | None = None,
        run: dict[str, Any] | None = None,
        **tuning: Any,
    ) -> Tuner:
        strategy = strategy_of(search)
        offer = plugin_of(ilit_strategies=lambda: [strategy])
        registered = fake_plugins(scripted=offer, **(plugins or {}))
        conf = {"tuning": {"strategy": "scripted", **tuning}, "run": {"folder": str(tmp_path / "runs"), **(run or {})}}
        return Tuner(conf, plugins=registered, clock=clock)

    return make
