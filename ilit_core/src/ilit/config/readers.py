"""Readers of single configuration values: each takes a ``Node`` and returns a checked plain value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ilit.config.tree import Node, items
from ilit.errors import UnsupportedError, did_you_mean

T = TypeVar("T")
Reader = Callable[[Node], Any]
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def single(node: Node) -> Node:
    """Return the one scalar of ``node``; a list of one counts as that one.

    Raises:
        ConfigError: there is none, there are more, or it is a mapping.
    """
    given = items(node)
    if len(given) > 1:
        raise node.error(f"takes one value, not {len(given)}; keep one")
    if given[0].kind != "scalar" or given[0].data is None:
        raise node.error(f"takes one plain value, not {given[0]}; write 'key: value' on one line")
    return given[0]


def text(node: Node) -> str:
    """Read a text that is not empty."""
    value = single(node).data
    if not isinstance(value, str) or not value.strip():
        raise node.error(f"{single(node)} is no text; put it in quotes" if value != "" else "the text is empty")
    return value


def flag(node: Node) -> bool:
    """Read ``true`` or ``false``."""
    value = single(node).data
    if not isinstance(value, bool):
        raise node.error(f"{single(node)} is neither true nor false; write one of them")
    return value


def whole(lowest: int, highest: int | None = None) -> Callable[[Node], int]:
    """Return a reader of whole numbers within the bounds, both included."""
    wanted = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"

    def read(node: Node) -> int:
        given = single(node)
        value = given.data
        if isinstance(value, bool) or not isinstance(value, int):
            raise node.error(f"{given} is no whole number; give {wanted}")
        if value < lowest or (highest is not None and value > highest):
            raise node.error(f"{_number(value)} is out of range; give {wanted}")
        return value

    return read


def _number(value: float) -> str:
    return str(value) if len(str(value)) <= 24 else str(value)[:21] + "..."


def real(node: Node, wanted: str = "0 or more") -> float:
    """Read a finite number of 0 or more; YAML reads ``1e-2`` as text, so a text that is a number counts."""
    given = single(node)
    value = given.data
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise node.error(f"{given} is no number; give {wanted}")
    if isinstance(value, int) and abs(value) > 10**15:
        raise node.error(f"{_number(value)} is out of range; give {wanted}")
    if not math.isfinite(value) or value < 0:
        raise node.error(f"{value:g} is out of range; give {wanted}")
    return float(value)


def share_within(wanted: str, within: Callable[[float], bool]) -> Callable[[Node], float]:
    """Return a reader of a share, as a number (``0.01``) or in per cent (``"1%"``), for which ``within`` holds."""

    def read(node: Node) -> float:
        given = single(node)
        percent = given.data.strip() if isinstance(given.data, str) else ""
        if percent.endswith("%") and _NUMBER.fullmatch(percent[:-1].strip()):
            value = float(percent[:-1]) / 100
        else:
            value = real(node, wanted)
        if not within(value):
            raise node.error(f"{given} is out of range; give {wanted}")
        return value

    return read


share = share_within("0 to below 1, such as 0.01 or '1%'", lambda value: 0 <= value < 1)


def one_or_more(node: Node, read: Callable[[Node], T]) -> tuple[T, ...]:
    """Read a value or a list of values, each by ``read``, none of them twice; in the user's order."""
    found: list[T] = []
    for item in items(node):
        value = read(item)
        if value in found:
            raise item.error(f"{item} is given twice; keep one")
        found.append(value)
    return tuple(found)


def counts(node: Node) -> tuple[int, ...]:
    """Read amounts of 1 or more: a whole number, a list of them, or a text such as ``10, 50``."""
    found: list[int] = []
    for item in items(node):
        parts = item.data.split(",") if isinstance(item.data, str) else [item.data]
        for part in parts:
            word = part.strip() if isinstance(part, str) else part
            value = (
                int(word) if isinstance(word, str) and word.isascii() and word.isdigit() and len(word) < 16 else word
            )
            if isinstance(value, bool) or not isinstance(value, int) or item.kind != "scalar":
                raise item.error(f"{item} is no whole number; give 1 or more, a list, or a text like '10, 50'")
            if value < 1:
                raise item.error(f"{_number(value)} is out of range; give 1 or more")
            if value in found:
                raise item.error(f"{value} is given twice; keep one")
            found.append(value)
    return tuple(found)


def choice(known: Mapping[str, T]) -> Callable[[Node], T]:
    """Return a reader of one of ``known``."""
    return lambda node: _chosen(single(node), known)


def choices(known: Mapping[str, T]) -> Callable[[Node], tuple[T, ...]]:
    """Return a reader of a value or list of values out of ``known``, in the user's order."""
    return lambda node: one_or_more(node, lambda item: _chosen(item, known))


def _chosen(item: Node, known: Mapping[str, T]) -> T:
    # A number such as 7 among bits is looked up by its text; true is not 1.
    word = str(item.data) if item.kind == "scalar" and not isinstance(item.data, (bool, float)) else ""
    if word not in known:
        names = list(dict.fromkeys(known))
        offered = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
        raise item.error(f"{item} is unknown; choose {offered}{did_you_mean(word, names)}")
    return known[word]


def not_yet(node: Node, what: str, cure: str = "remove it") -> UnsupportedError:
    """Return the refusal of a documented key or value whose part is not built."""
    return UnsupportedError(f"{node.where}: {what} is not yet supported; {cure}")
