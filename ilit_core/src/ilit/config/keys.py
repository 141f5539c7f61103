"""Finds the known keys of a configuration tree: unknown, repeated and renamed ones are told by place."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ilit.config.readers import Reader
from ilit.config.tree import Node, entries
from ilit.errors import ConfigError, did_you_mean

logger = logging.getLogger("ilit")


@dataclass(frozen=True)
class Schema:
    """The keys a part of a configuration may have.

    Attributes:
        keys: dotted key -> the reader of its value.
        renamed: older dotted key -> the present one; reading it leaves one line in the log.
        rivals: groups of keys of which at most one may be given.
    """

    keys: Mapping[str, Reader]
    renamed: Mapping[str, str] = field(default_factory=dict)
    rivals: tuple[frozenset[str], ...] = ()

    def children(self, section: str) -> list[str]:
        """Return the names that may stand directly in ``section`` (empty for the top), older ones left out."""
        return _children(self.keys, section)


@dataclass(frozen=True)
class ParsedValue:
    """A value that was read, and where."""

    value: Any
    node: Node


def _children(keys: Collection[str], section: str) -> list[str]:
    start = f"{section}." if section else ""
    return list(dict.fromkeys(key[len(start) :].split(".")[0] for key in keys if key.startswith(start)))


def collect(root: Node, schema: Schema) -> dict[str, ParsedValue]:
    """Read every key below ``root`` in the file's order, so that the first mistake is the one reported.

    Raises:
        ConfigError: an unknown key, a key given twice under either of its names, rivals, or a value that is wrong.
    """
    found: dict[str, ParsedValue] = {}
    pending = [entries(root)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        spelled = ".".join(entry.path[len(root.path) :])
        key = schema.renamed.get(spelled, spelled)
        if key in schema.keys:
            _check_free(entry, key, found, schema)
            if key != spelled:
                logger.info("%s: the present name is %s", entry.where, key)
            found[key] = ParsedValue(schema.keys[key](entry), entry)
        elif schema.children(spelled) or _children(schema.renamed, spelled):
            pending.append(entries(entry))
        else:
            raise _unknown(entry, spelled, schema)
    return found


def _check_free(entry: Node, key: str, found: Mapping[str, ParsedValue], schema: Schema) -> None:
    rivals = {key}.union(*(group for group in schema.rivals if key in group))
    for rival in rivals & found.keys():
        other = found[rival].node
        line = "" if other.line is None else f" (line {other.line})"
        raise entry.error(f"cannot stand beside {other.key}{line}; keep one")


def _unknown(entry: Node, spelled: str, schema: Schema) -> ConfigError:
    """Say where the key is unknown, and the nearest key: beside it first, then of the same name elsewhere."""
    section, _, name = spelled.rpartition(".")
    beside = schema.children(section)
    hint = did_you_mean(name, beside)
    if not hint:
        elsewhere = next((key for key in schema.keys if key.rpartition(".")[2] == name), "")
        hint = f"; did you mean '{elsewhere}'?" if elsewhere else f"; known here: {', '.join(beside)}"
    return entry.error(f"unknown key{hint}")


def overlay(
    under: Mapping[str, ParsedValue], over: Mapping[str, ParsedValue], schema: Schema
) -> dict[str, ParsedValue]:
    """Return both with ``over`` winning; a key of it also replaces its rivals in ``under``."""
    replaced = set(over).union(*(group for group in schema.rivals if group & over.keys()))
    return {**{key: value for key, value in under.items() if key not in replaced}, **over}
