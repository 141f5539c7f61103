"""Tables of options: what derives from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ilit.config.readers import real, text, whole
from ilit.config.schema import Option, OptionTable, plain


@dataclass(frozen=True)
class Inner:
    """A part of what is configured."""

    size: int = 1
    name: str = ""


@dataclass(frozen=True)
class Outer:
    """What is configured."""

    inner: Inner = field(default_factory=Inner)
    width: float = 0.0
    words: tuple[str, ...] = ()
    mode: str = "slow"


TABLE = OptionTable(
    Outer,
    (
        Option("a.size", whole(1), ("inner.size",), older=("size", "old.size")),
        Option("a.name", text, ("inner.name",)),
        Option("width", real, ("width",)),
        Option("b.c.half", real.then(lambda value: value * 2), ("width",), lambda width: None),
        Option("b.mode", text, ("mode",), implied=lambda held: "fast" if held.width else "slow"),
        Option("b.checked", text),
    ),
)


def test_values_go_to_the_fields_their_options_fill() -> None:
    """At any depth; what is not given keeps its default."""
    assert TABLE.fill({"a.size": 3, "width": 2.0}, Outer()) == Outer(Inner(3), 2.0, mode="fast")
    assert TABLE.fill({"b.mode": "slow", "width": 2.0}, Outer()) == Outer(width=2.0)
    assert TABLE.fill({}, Outer()) == Outer()


def test_the_way_back_has_every_value_but_what_says_nothing() -> None:
    """Dotted keys become sections, zeros stay, and a checked option without a field has no value."""
    assert TABLE.plain(Outer()) == {"a": {"size": 1}, "width": 0.0, "b": {"mode": "slow"}}
    assert TABLE.plain(Outer(Inner(2, "x"), 1.5)) == {
        "a": {"size": 2, "name": "x"},
        "width": 1.5,
        "b": {"mode": "slow"},
    }


def test_options_that_fill_the_same_field_exclude_each_other() -> None:
    """And no others are."""
    assert TABLE.exclusive["width"] == {"b.c.half"}
    assert TABLE.exclusive["b.c.half"] == {"width"}
    assert TABLE.exclusive["a.size"] == TABLE.exclusive["b.checked"] == frozenset()


def test_older_names_lead_to_present_ones() -> None:
    """Each of them, and sections of theirs are known."""
    assert TABLE.renamed == {"size": "a.size", "old.size": "a.size"}
    assert TABLE.is_section("old")
    assert TABLE.is_section("b.c")
    assert not TABLE.is_section("a.size")


def test_children_are_the_names_that_may_stand_in_a_section() -> None:
    """Older names are not offered."""
    assert TABLE.children("") == ["a", "width", "b"]
    assert TABLE.children("b") == ["c", "mode", "checked"]


def test_the_section_is_the_first_part_of_a_dotted_key() -> None:
    """A key at the top stands in none."""
    assert [option.section for option in TABLE.options] == ["a", "a", "", "b", "b", "b"]


@pytest.mark.parametrize(
    ("value", "written"), [((), None), ("", None), (None, None), ({}, None), (0, 0), (False, False), ((1, 2), [1, 2])]
)
def test_what_is_empty_says_nothing(value: object, written: object) -> None:
    """Zero and false are no emptiness."""
    assert plain(value) == written
