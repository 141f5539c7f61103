"""``Option``, all that is known of one key, and ``OptionTable``, which a configuration is read and written by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from ilit.config.readers import Reader

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Return a field's value as YAML has it; None where it is empty and so says nothing."""
    value = list(value) if isinstance(value, tuple) else value
    return None if value is None or value in ("", [], {}) else value


def _silent(_: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Option:
    """One key of a configuration, with everything that is derived from it.

    Attributes:
        key: dotted.
        reader: the value's reader; its ``accepts`` says what may be given.
        fills: dotted paths of the fields the value goes to; the first is what ``writer`` is given back. Options that
            fill the same field cannot stand beside each other. Empty where the value is only checked.
        writer: the field's value -> the plain value that reads back to it, None where there is nothing to say.
        implied: what is filled so far -> the value where the key is not given; by default the field keeps its own
            default.
        older: former names of the key, which are read as well.
        help: what it means and what it takes, for the reference page.
        default: words for the reference page where the field's default does not say it.
        page: the table of the reference page it stands in; empty for none.
        template: its lines in the file that ``ilit init`` writes, without their section's indentation; ``  # `` begins
            a comment, and a line that begins with ``# `` is commented out. Empty leaves it out.
        template_place: options of a section are written in this order, and in the table's where it is the same.
        sentences: the configuration -> what ``ilit check`` says of it, name -> sentence.
        sentences_place: sentences are told in this order, and in the table's where it is the same.
    """

    key: str
    reader: Reader[Any]
    fills: tuple[str, ...] = ()
    writer: Callable[[Any], Any] = plain
    implied: Callable[[Any], Any] | None = None
    older: tuple[str, ...] = ()
    help: str = ""
    default: str = ""
    page: str = ""
    template: str = ""
    template_place: int = 0
    sentences: Callable[[Any], Mapping[str, str]] = _silent
    sentences_place: int = 3

    @property
    def section(self) -> str:
        """The top-level section the key stands in; empty for a key that stands at the top itself."""
        return self.key.partition(".")[0] if "." in self.key else ""

    def plain(self, holder: Any) -> Any:
        """Return the plain value that ``holder`` has for this key, None where it has none."""
        if not self.fills:
            return None
        return self.writer(functools.reduce(getattr, self.fills[0].split("."), holder))


@dataclass(frozen=True)
class OptionTable(Generic[T]):
    """The options that one frozen dataclass is read from and written to, in the order they are written in.

    Attributes:
        holder: the dataclass; without arguments it has every default.
        options: one for each key.
        comments: section -> the comment before it in the file that ``ilit init`` writes.
    """

    holder: type[T]
    options: tuple[Option, ...]
    comments: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_key(self) -> dict[str, Option]:
        """Present key -> option."""
        return {option.key: option for option in self.options}

    @cached_property
    def renamed(self) -> dict[str, str]:
        """Older key -> present key."""
        return {older: option.key for option in self.options for older in option.older}

    @cached_property
    def exclusive(self) -> dict[str, frozenset[str]]:
        """Present key -> the keys that exclude it, since they fill a field that it fills."""
        return {
            option.key: frozenset(
                other.key for other in self.options if other is not option and set(other.fills) & set(option.fills)
            )
            for option in self.options
        }

    def children(self, section: str) -> list[str]:
        """Return the names that may stand directly in ``section`` (empty for the top), older ones left out."""
        return _children(self.by_key, section)

    def is_section(self, key: str) -> bool:
        """Return whether keys, present or older, may stand under ``key``."""
        return bool(_children(self.by_key, key) or _children(self.renamed, key))

    def fill(self, values: Mapping[str, Any], holder: T) -> T:
        """Return ``holder`` with the values, by present key, in their fields, and with the values these imply."""
        for option in self.options:
            if option.key in values:
                value = values[option.key]
            elif option.implied is not None:
                value = option.implied(holder)
            else:
                continue
            for path in option.fills:
                holder = _with(holder, path, value)
        return holder

    def plain(self, holder: T) -> dict[str, Any]:
        """Return the mapping, sections within sections, that reads back to ``holder``; values of None are left out."""
        tree: dict[str, Any] = {}
        for option in self.options:
            value = option.plain(holder)
            if value is None:
                continue
            *sections, name = option.key.split(".")
            level = tree
            for section in sections:
                level = level.setdefault(section, {})
            level[name] = value
        return tree


def _children(keys: Collection[str], section: str) -> list[str]:
    start = f"{section}." if section else ""
    return list(dict.fromkeys(key[len(start) :].split(".")[0] for key in keys if key.startswith(start)))


def _with(holder: Any, path: str, value: Any) -> Any:
    """Return a copy of a frozen dataclass with the field at a dotted path replaced."""
    name, _, rest = path.partition(".")
    return replace(holder, **{name: _with(getattr(holder, name), rest, value) if rest else value})
