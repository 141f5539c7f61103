"""YAML, a mapping or keyword arguments -> one frozen ``Config``; every error with its line and key."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ilit.config.keys import ParsedValue, collect, overlay
from ilit.config.options import OPTIONS, Config
from ilit.config.schema import OptionTable
from ilit.config.tree import Node, from_python, from_yaml
from ilit.errors import ConfigError

Source = str | Path | Mapping[str, Any] | None
C = TypeVar("C", bound=Config)
_log = logging.getLogger("ilit")


def read_config(source: Source = None, **overrides: Any) -> Config:
    """Read a configuration.

    Args:
        source: a YAML file's path, a mapping of the same shape, or None for the defaults.
        overrides: sections (``tuning={"timeout": 60}``) whose keys win over those of ``source``.

    Raises:
        ConfigError: the first mistake, as ``conf.yaml:7: tuning.strategy: fact; cure``; the place is ``Tuner(...)``
            without a line for what came from Python.
        UnsupportedError: a documented key whose part is not built yet.
    """
    return read_by(OPTIONS, source, overrides)


def read_by(table: OptionTable[C], source: Source, overrides: Mapping[str, Any]) -> C:
    """Read a configuration with the options of a table, as ``read_config`` does with ilit's own."""
    layers = [from_python(overrides)] if source is None else [_tree(source), from_python(overrides)]
    found: dict[str, ParsedValue] = {}
    for layer in layers:
        said = collect(layer, table)
        _log_older_names(said)
        found = overlay(found, said, table)
    place = layers[0].source
    config = table.fill({key: parsed.value for key, parsed in found.items()}, table.holder())
    return replace(config, source=place, model_limits=replace(config.model_limits, where=f"{place}: quantization"))


def keys_given(source: Source) -> frozenset[str]:
    """Return the keys that a configuration gives, each by its present name.

    Raises:
        ConfigError: as ``read_config``.
    """
    return frozenset() if source is None else frozenset(collect(_tree(source), OPTIONS))


def _tree(source: object) -> Node:
    if isinstance(source, Mapping):
        return from_python(source)
    if isinstance(source, (str, os.PathLike)):
        return from_yaml(_text_of(Path(source)), str(source))
    kind = type(source).__name__
    raise ConfigError(f"Tuner(...): a configuration is a file's path or a mapping, not a {kind}; give one of them")


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: no such file; give a configuration's path, or write one with 'ilit init'"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not text in UTF-8; save it as a UTF-8 text file") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; give a readable YAML file") from error


def _log_older_names(found: Mapping[str, ParsedValue]) -> None:
    for key, parsed in found.items():
        if ".".join(parsed.node.path) != key:
            _log.info("%s: the present name is %s", parsed.node.where, key)
