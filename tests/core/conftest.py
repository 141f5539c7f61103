"""Fixtures for the core: configuration files and plugins that exist only in the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ilit.plugins import Registry, load_plugins, registry


@pytest.fixture(autouse=True)
def _no_registry_is_kept() -> Iterator[None]:
    """Let no test see the plugins another one loaded."""
    registry.cache_clear()
    yield
    registry.cache_clear()


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
    """Return a function like ``load`` whose plugins are also the ones ``registry()`` gives the command line."""

    def install(**plugins: Any) -> Registry:
        found = [FakeEntryPoint(name, plugin, f"ilit-{name}") for name, plugin in plugins.items()]
        monkeypatch.setattr("importlib_metadata.entry_points", lambda group: found)
        return load(**plugins)

    return install
