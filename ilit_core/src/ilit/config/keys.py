"""Finds the known keys of a configuration tree: unknown, repeated and renamed ones are told by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ilit.config.schema import OptionTable
from ilit.config.tree import Node, entries
from ilit.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class ParsedValue:
    """A value that was read, and where."""

    value: Any
    node: Node


def collect(root: Node, table: OptionTable[Any]) -> dict[str, ParsedValue]:
    """Read every key below ``root`` in the file's order, so that the first mistake is the one reported.

    Returns:
        present key -> value.

    Raises:
        ConfigError: an unknown key, a key given twice under either of its names, two keys that exclude each other, or
            a value that is wrong.
    """
    found: dict[str, ParsedValue] = {}
    pending = [entries(root)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        spelled = ".".join(entry.path[len(root.path) :])
        key = table.renamed.get(spelled, spelled)
        if key in table.by_key:
            _check_free(entry, key, found, table)
            found[key] = ParsedValue(table.by_key[key].reader(entry), entry)
        elif table.is_section(spelled):
            pending.append(entries(entry))
        else:
            raise _unknown(entry, spelled, table)
    return found


def _check_free(entry: Node, key: str, found: Mapping[str, ParsedValue], table: OptionTable[Any]) -> None:
    for other_key in ({key} | table.exclusive[key]) & found.keys():
        other = found[other_key].node
        line = "" if other.line is None else f" (line {other.line})"
        raise entry.error(f"cannot stand beside {other.key}{line}; keep one")


def _unknown(entry: Node, spelled: str, table: OptionTable[Any]) -> ConfigError:
    """Return the error for an unknown key, with the nearest key: beside it first, then of the same name elsewhere."""
    section, _, name = spelled.rpartition(".")
    beside = table.children(section)
    hint = did_you_mean(name, beside)
    if not hint:
        elsewhere = next((key for key in table.by_key if key.rpartition(".")[2] == name), "")
        hint = f"; did you mean '{elsewhere}'?" if elsewhere else f"; known here: {', '.join(beside)}"
    return entry.error(f"unknown key{hint}")


def overlay(
    under: Mapping[str, ParsedValue], over: Mapping[str, ParsedValue], table: OptionTable[Any]
) -> dict[str, ParsedValue]:
    """Return both with ``over`` winning; a key of it also replaces the keys that exclude it in ``under``."""
    replaced = set(over).union(*(table.exclusive[key] for key in over))
    return {**{key: value for key, value in under.items() if key not in replaced}, **over}
