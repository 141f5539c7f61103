"""Finding the keys of a table in a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ilit.config.keys import collect, overlay
from ilit.config.readers import real, text
from ilit.config.schema import Option, OptionTable
from ilit.config.tree import from_python, from_yaml
from ilit.errors import ConfigError


@dataclass(frozen=True)
class Holdout:
    """What the table fills."""

    name: str = ""
    width: float = 0.0


TABLE = OptionTable(
    Holdout,
    (
        Option("part.name", text, ("name",), older=("title", "former.name")),
        Option("part.width", real, ("width",)),
        Option("part.inches", real, ("width",)),
        Option("depth", real),
    ),
)


def values(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is read by present key."""
    return {key: parsed.value for key, parsed in collect(from_python(given), TABLE).items()}


def test_keys_are_found_at_their_depth_and_in_the_files_order() -> None:
    """Under either name, in mappings and lists of mappings."""
    assert list(values({"depth": 1, "part": [{"width": 2}, {"name": "x"}]}).items()) == [
        ("depth", 1.0),
        ("part.width", 2.0),
        ("part.name", "x"),
    ]
    assert values({"title": "x"}) == values({"former": {"name": "x"}}) == {"part.name": "x"}


def test_a_value_knows_where_it_was_read() -> None:
    """Under the name that the file uses."""
    found = collect(from_yaml("depth: 1\ntitle: x\n", "f"), TABLE)
    assert found["part.name"].node.where == "f:2: title"


def test_keys_are_found_below_a_node_that_lies_deeper() -> None:
    """A table may be of a part of the file."""
    root = from_yaml("a:\n  b: {depth: 3}\n", "f").data[0].data[0]
    assert collect(root, TABLE)["depth"].node.where == "f:2: a.b.depth"


WRONG: dict[str, tuple[str, str]] = {
    "misspelt": ("part:\n  nam: x", "f:2: part.nam: unknown key; did you mean 'name'?"),
    "elsewhere": ("inches: 1", "f:1: inches: unknown key; did you mean 'part.inches'?"),
    "unlike any": ("zzz: 1", "f:1: zzz: unknown key; known here: part, depth"),
    "both names": ("title: a\npart: {name: b}", "f:2: part.name: cannot stand beside title (line 1); keep one"),
    "older names": (
        "title: a\nformer: {name: b}",
        "f:2: former.name: cannot stand beside title (line 1); keep one",
    ),
    "exclusive": (
        "part:\n  width: 1\n  inches: 2",
        "f:3: part.inches: cannot stand beside part.width (line 2); keep one",
    ),
    "first of two": ("depth: -1\nzzz: 1", "f:1: depth: -1 is out of range; give 0 or more"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_the_first_mistake_is_told_by_place(given: str, message: str) -> None:
    """In one line with its cure."""
    with pytest.raises(ConfigError) as caught:
        collect(from_yaml(given, "f"), TABLE)
    assert str(caught.value) == message


def test_an_overlay_replaces_its_keys_and_those_they_exclude() -> None:
    """What stands beside them stays."""
    under = collect(from_python({"depth": 1, "part": {"width": 2, "name": "x"}}), TABLE)
    over = collect(from_python({"part": {"inches": 3, "name": "y"}}), TABLE)
    both = overlay(under, over, TABLE)
    assert {key: parsed.value for key, parsed in both.items()} == {"depth": 1.0, "part.inches": 3.0, "part.name": "y"}
