"""Readers of configuration values: each takes a ``Node``, returns a checked plain value and says what it accepts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ilit.config.tree import Node, items
from ilit.errors import UnsupportedError, did_you_mean

T = TypeVar("T")
U = TypeVar("U")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Reader(Generic[T]):
    """Reads one kind of value.

    Attributes:
        read: the node -> the checked value; raises ``ConfigError`` with place and cure.
        accepts: the values it reads, as keywords of JSON Schema: ``type``, ``enum``, ``minimum`` and the like.
    """

    read: Callable[[Node], T]
    accepts: Mapping[str, Any]

    def __call__(self, node: Node) -> T:
        """Read the node."""
        return self.read(node)

    def then(self, convert: Callable[[T], U]) -> Reader[U]:
        """Return a reader of the same values that converts what it has read."""
        return Reader(lambda node: convert(self.read(node)), self.accepts)


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


def _text(node: Node) -> str:
    value = single(node).data
    if not isinstance(value, str) or not value.strip():
        raise node.error(f"{single(node)} is no text; put it in quotes" if value != "" else "the text is empty")
    return value


def _flag(node: Node) -> bool:
    value = single(node).data
    if not isinstance(value, bool):
        raise node.error(f"{single(node)} is neither true nor false; write one of them")
    return value


# A text that is not empty; true or false.
text = Reader(_text, {"type": "string", "minLength": 1})
flag = Reader(_flag, {"type": "boolean"})


def whole(lowest: int, highest: int | None = None) -> Reader[int]:
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

    bounds = {"minimum": lowest} if highest is None else {"minimum": lowest, "maximum": highest}
    return Reader(read, {"type": "integer", **bounds})


def _number(value: float) -> str:
    return str(value) if len(str(value)) <= 24 else str(value)[:21] + "..."


def _real(node: Node, wanted: str = "0 or more") -> float:
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


real = Reader(_real, {"type": ["number", "string"], "minimum": 0, "pattern": rf"^\s*{_NUMBER.pattern}\s*$"})


def share(low: float, high: float, such_as: str, *, above: bool = False, below: bool = False) -> Reader[float]:
    """Return a reader of a share, as a number (``0.01``) or in per cent (``"1%"``).

    Args:
        low: the least share, itself left out where ``above`` is set.
        high: the greatest share, itself left out where ``below`` is set.
        such_as: examples, for the error's cure.
        above: only shares above ``low``.
        below: only shares below ``high``.
    """
    wanted = f"{'above ' if above else ''}{low:g} to {'below ' if below else ''}{high:g}, such as {such_as}"

    def read(node: Node) -> float:
        given = single(node)
        percent = given.data.strip() if isinstance(given.data, str) else ""
        if percent.endswith("%") and _NUMBER.fullmatch(percent[:-1].strip()):
            value = float(percent[:-1]) / 100
        else:
            value = _real(node, wanted)
        if not low <= value <= high or (above and value == low) or (below and value == high):
            raise node.error(f"{given} is out of range; give {wanted}")
        return value

    bounds = {"exclusiveMinimum" if above else "minimum": low, "exclusiveMaximum" if below else "maximum": high}
    return Reader(read, {"type": ["number", "string"], **bounds, "pattern": rf"^\s*{_NUMBER.pattern}\s*%?\s*$"})


def one_or_more(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of a value or a list of values, none of them twice; in the user's order."""

    def read(node: Node) -> tuple[T, ...]:
        found: list[T] = []
        for item in items(node):
            value = reader(item)
            if value in found:
                raise item.error(f"{item} is given twice; keep one")
            found.append(value)
        return tuple(found)

    return Reader(read, {"anyOf": [reader.accepts, {"type": "array", "items": reader.accepts, "minItems": 1}]})


def _counts(node: Node) -> tuple[int, ...]:
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


# Amounts of 1 or more: a whole number, a list of them, or a text such as ``10, 50``.
_AMOUNT = {"type": ["integer", "string"], "minimum": 1, "pattern": r"^\s*\d+\s*(,\s*\d+\s*)*$"}
counts = Reader(_counts, {"anyOf": [_AMOUNT, {"type": "array", "items": _AMOUNT, "minItems": 1}]})


def choice(known: Mapping[str, T]) -> Reader[T]:
    """Return a reader of one of ``known``."""
    names = [int(name) if name.isdigit() else name for name in known]
    return Reader(lambda node: _chosen(single(node), known), {"enum": names})


def choices(known: Mapping[str, T]) -> Reader[tuple[T, ...]]:
    """Return a reader of a value or list of values out of ``known``, in the user's order."""
    return one_or_more(Reader(lambda item: _chosen(item, known), choice(known).accepts))


def _chosen(item: Node, known: Mapping[str, T]) -> T:
    # A number such as 7 among bits is looked up by its text; true is not 1.
    word = str(item.data) if item.kind == "scalar" and not isinstance(item.data, (bool, float)) else ""
    if word not in known:
        names = list(dict.fromkeys(known))
        offered = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
        raise item.error(f"{item} is unknown; choose {offered}{did_you_mean(word, names)}")
    return known[word]


def unsupported(node: Node, message: str) -> UnsupportedError:
    """Return the refusal of a documented key or value whose part is not built."""
    return UnsupportedError(f"{node.where}: {message}")
