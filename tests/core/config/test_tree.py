"""YAML and Python values as nodes that know their file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilit.config.tree import Node, entries, from_python, from_yaml, items, plain
from ilit.errors import ConfigError


def only(node: Node, *keys: str) -> Node:
    """Return the node that the keys lead to."""
    for key in keys:
        (node,) = (entry for entry in entries(node) if entry.path[-1] == key)
    return node


def test_a_node_knows_its_file_line_and_key() -> None:
    """The place begins every error about the value."""
    node = only(from_yaml("a:\n  b: 1\n  c.d: [2, x]\n", "f.yaml"), "a", "c.d")

    assert (node.line, node.path, node.kind) == (3, ("a", "c.d"), "list")
    assert str(node.error("fact; cure")) == "f.yaml:3: a.c.d: fact; cure"


def test_what_comes_from_python_has_no_line() -> None:
    """Its place is the call."""
    assert only(from_python({"a": {"b": 1}}), "a", "b").where == "Tuner(...): a.b"


PLAIN = {
    "mapping": {"a": {"b": [1, 2.5, None, True, "x"]}},
    "empty": {},
    "list of mappings": {"a": [{"b": 1}, {"c": 2}]},
}


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_is_the_way_back_from_python(value: Any) -> None:
    """Dicts, lists and scalars come back as they were."""
    assert plain(from_python(value)) == value


def test_a_key_that_looks_like_a_number_is_taken_as_written() -> None:
    """1.10 is an op's name, and a date is text; a value keeps YAML's type."""
    assert plain(from_yaml("1.10: 2026-01-02\n1.1: 0x10\n", "f")) == {"1.10": "2026-01-02", "1.1": 16}


def test_paths_are_text() -> None:
    """A ``Path`` may be given wherever a text may."""
    assert plain(from_python({"folder": Path("a")})) == {"folder": "a"}


def test_a_list_of_mappings_is_their_union() -> None:
    """Key by key, in order; a key twice is told with the line of the first."""
    node = from_yaml("- a: 1\n- b: 2\n  c: 3\n", "f")
    assert [entry.path for entry in entries(node)] == [("a",), ("b",), ("c",)]

    with pytest.raises(ConfigError, match=r"^f:3: a: given twice \(first on line 1\); keep one$"):
        list(entries(from_yaml("- a: 1\n- b: 2\n- a: 3\n", "f")))


@pytest.mark.parametrize(("value", "count"), [(3, 1), ([3], 1), ([3, 4], 2)])
def test_one_value_counts_as_a_list_of_itself(value: Any, count: int) -> None:
    """So that a candidate needs no brackets."""
    assert len(items(from_python(value))) == count


@pytest.mark.parametrize("value", [None, []])
def test_no_value_is_refused(value: Any) -> None:
    """A key that ends in nothing is a slip."""
    with pytest.raises(ConfigError, match="has no value; give it one, or remove the key"):
        items(from_python(value))


SHOWN = {"nothing": None, "true": True, "a list": [1], "a mapping": {}, "'x'": "x", "1.5": 1.5}


@pytest.mark.parametrize(("text", "value"), SHOWN.items())
def test_a_node_is_shown_as_a_file_has_it(text: str, value: Any) -> None:
    """Errors quote values in YAML's words; a long one is cut."""
    assert str(from_python(value)) == text
    assert len(str(from_python("y" * 100))) == 60
