"""A configuration as a tree of values that know their place: file, line and dotted key."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from yaml.constructor import SafeConstructor

from ilit.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
# What a scalar may be. A date or a lone "=" has a tag of its own in YAML 1.1 and is plain text here.
_SCALARS = frozenset(_TAG + name for name in ("int", "float", "bool", "null", "str"))
_TEXTS = frozenset(_TAG + name for name in ("timestamp", "value"))
# An alias is followed each time it is met, so a few nested ones could otherwise fill the memory.
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Node:
    """One value and its place.

    Attributes:
        source: the file as the user named it, or ``Tuner(...)``.
        path: the keys that lead here; an item of a list has its list's path.
        line: 1 for the file's first line, None where there is no file.
        kind: what ``data`` is.
        data: a plain value (None where the key is there without one), or the nodes of a mapping's entries or of a
            list's items.
    """

    source: str
    path: tuple[str, ...]
    line: int | None
    kind: Literal["scalar", "list", "mapping"]
    data: Any

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(part if part.isprintable() else repr(part) for part in self.path)

    @property
    def where(self) -> str:
        """``conf.yaml:7: tuning.strategy``, the beginning of every error about this value."""
        parts = (self.source if self.line is None else f"{self.source}:{self.line}", self.key)
        return ": ".join(part for part in parts if part)

    def error(self, message: str) -> ConfigError:
        """Return the error that says ``message`` of this place."""
        return ConfigError(f"{self.where}: {message}")

    def __str__(self) -> str:
        if self.kind != "scalar":
            return f"a {self.kind}"
        if self.data is None:
            return "nothing"
        if isinstance(self.data, bool):
            return "true" if self.data else "false"
        text = repr(self.data)
        return text if len(text) <= 60 else text[:57] + "..."


def entries(node: Node) -> Iterator[Node]:
    """Yield a mapping's entries; a list of mappings counts as their union, a key without a value as empty.

    Raises:
        ConfigError: a key is there twice, or ``node`` is neither mapping nor list of mappings.
    """
    seen: dict[str, Node] = {}
    for entry in _all_entries(node):
        first = seen.setdefault(entry.path[-1], entry)
        if first is not entry:
            also = "" if first.line is None else f" (first on line {first.line})"
            raise entry.error(f"given twice{also}; keep one")
        yield entry


def _all_entries(node: Node) -> Iterator[Node]:
    if node.kind == "mapping":
        yield from node.data
    elif node.kind == "list":
        for item in node.data:
            if item.kind != "mapping":
                raise item.error(f"{item} stands in a list of keys; write 'key: value', or '- key: value'")
            yield from item.data
    elif node.data is not None:
        raise node.error(f"{node} stands where keys are expected; write 'key: value' under it")


def items(node: Node) -> tuple[Node, ...]:
    """Return a list's items; a single value counts as a list of itself.

    Raises:
        ConfigError: there is no value, or the list is empty.
    """
    if (node.kind == "list" and not node.data) or (node.kind == "scalar" and node.data is None):
        raise node.error("has no value; give it one, or remove the key")
    return node.data if node.kind == "list" else (node,)


def plain(node: Node) -> Any:
    """Return the value as dicts, lists and scalars, for options whose meaning is a plugin's own.

    Raises:
        ConfigError: a mapping has a key twice.
    """
    if node.kind == "mapping":
        return {entry.path[-1]: plain(entry) for entry in entries(node)}
    if node.kind == "list":
        return [plain(item) for item in node.data]
    return node.data


def from_yaml(text: str, source: str) -> Node:
    """Read YAML into nodes that know their lines. An empty text is an empty mapping.

    Keys are taken as written: ``1.10:`` is the key ``1.10``, not the number 1.1.

    Raises:
        ConfigError: the text is not YAML, or uses tags beyond plain YAML; names the line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise ConfigError(f"{source}{line}: not YAML: {problem}; check indentation, colons and quotes there") from error
    except yaml.reader.ReaderError as error:
        # The position counts characters from the start, a byte order mark not among them.
        line_number = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{source}:{line_number}: not YAML: the character {text[error.position]!r}; remove it"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply to be a configuration; check its brackets") from error
    if root is None:
        return Node(source, (), None, "mapping", ())
    return _Composed(source).node(root, (), None, frozenset())


class _Composed:
    """Turns PyYAML's composed tree into ours."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.values = 0

    def node(self, given: yaml.Node, path: tuple[str, ...], line: int | None, above: frozenset[int]) -> Node:
        """Return ``given`` as a ``Node``; ``line`` is its key's, ``above`` the ids of the nodes it lies in."""
        line = given.start_mark.line + 1 if line is None else line
        self.values += 1
        if id(given) in above:
            raise Node(self.source, path, line, "scalar", None).error("refers to itself; remove the alias (*)")
        if self.values > _MOST_VALUES:
            raise ConfigError(f"{self.source}: more than {_MOST_VALUES} values; check its aliases (*)")
        inside = above | {id(given)}
        if isinstance(given, yaml.MappingNode) and given.tag == _TAG + "map":
            pairs = self._pairs(given, path, inside)
            nodes = tuple(self.node(value, (*path, key), at, inside) for key, value, at in pairs)
            return Node(self.source, path, line, "mapping", nodes)
        if isinstance(given, yaml.SequenceNode) and given.tag == _TAG + "seq":
            return Node(
                self.source, path, line, "list", tuple(self.node(item, path, None, inside) for item in given.value)
            )
        if isinstance(given, yaml.ScalarNode) and given.tag in _TEXTS:
            return Node(self.source, path, line, "scalar", given.value)
        if isinstance(given, yaml.ScalarNode) and given.tag in _SCALARS:
            return Node(self.source, path, line, "scalar", self._scalar(given, path, line))
        tag = given.tag.replace(_TAG, "!!")
        raise Node(self.source, path, line, "scalar", None).error(f"the tag {tag} is not read; write the plain value")

    def _scalar(self, given: yaml.ScalarNode, path: tuple[str, ...], line: int) -> Any:
        try:
            return SafeConstructor().construct_object(given)
        except (ValueError, KeyError, yaml.YAMLError) as error:
            raise Node(self.source, path, line, "scalar", given.value).error(
                f"{given.value[:40]!r} is no {given.tag.removeprefix(_TAG)}; write a plain value"
            ) from error

    def _pairs(
        self, given: yaml.MappingNode, path: tuple[str, ...], above: frozenset[int]
    ) -> list[tuple[str, yaml.Node, int]]:
        """Return key, value and the key's line; a merge (``<<``) gives the keys that the mapping itself has not."""
        own, merged = [], []
        for key, value in given.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    if not isinstance(source, yaml.MappingNode) or id(source) in above:
                        raise Node(self.source, path, line, "scalar", None).error("'<<' takes an alias of a mapping")
                    merged += self._pairs(source, path, above | {id(source)})
            elif isinstance(key, yaml.ScalarNode):
                own.append((key.value, value, line))
            else:
                raise Node(self.source, path, line, "scalar", None).error("a key is text; write 'key: value'")
        taken = {key for key, _, _ in own}
        for key, value, line in merged:
            if key not in taken:
                taken.add(key)
                own.append((key, value, line))
        return own


def from_python(value: Any, source: str = "Tuner(...)", path: tuple[str, ...] = ()) -> Node:
    """Read a mapping given from Python, with lists, tuples, numbers, texts and paths in it.

    Raises:
        ConfigError: a value of another type.
    """
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise Node(source, path, None, "scalar", None).error(f"the key {key!r} is not text; quote it")
        nodes = tuple(from_python(item, source, (*path, str(key))) for key, item in value.items())
        return Node(source, path, None, "mapping", nodes)
    if isinstance(value, (list, tuple)):
        return Node(source, path, None, "list", tuple(from_python(item, source, path) for item in value))
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = int(value)  # numpy's integers are no int
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = float(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return Node(source, path, None, "scalar", value)
    kind = type(value).__name__
    raise Node(source, path, None, "scalar", None).error(
        f"a {kind} is no configuration value; give text, a number, a list or a mapping"
    )
