"""Which stubs are one island, and what lies in it."""

from __future__ import annotations

import pytest

from ilit_pytorch.model.structure import Island, OpSite
from ilit_pytorch.tracing.islands import JoinedStubs, find_islands


@pytest.mark.parametrize(
    ("meetings", "roots"),
    [
        ([], ["a", "b", "c", "d"]),
        (["ab"], ["a", "c", "d"]),
        (["ab", "cd"], ["a", "c"]),
        (["ab", "cd", "bd"], ["a"]),
        (["abcd"], ["a"]),
    ],
    ids=["none", "two", "two pairs", "pairs that meet", "all at once"],
)
def test_stubs_that_meet_are_one_island(meetings: list[str], roots: list[str]) -> None:
    """However they come to meet; islands are numbered by their first stub."""
    joined = JoinedStubs()
    for stubs in meetings:
        joined.join(frozenset(stubs))
    assert joined.roots("abcd") == roots


def test_what_another_pass_joins_is_joined() -> None:
    """Over both passes, not within one of them only."""
    first, second = JoinedStubs(), JoinedStubs()
    first.join(frozenset("ab"))
    second.join(frozenset("bc"))
    first.merge(second)
    assert first.roots("abc") == ["a"]


def test_an_island_holds_what_its_activations_reach() -> None:
    """Ops by their number, other modules by their marks; one reached from both islands lies in both."""
    joined = JoinedStubs()
    joined.join(frozenset("ac"))
    sites = {"x": OpSite("linear", island=0), "y": OpSite("linear", island=1), "z": OpSite("linear")}
    others = {"relu": frozenset("c"), "both": frozenset("ab")}
    assert find_islands("abc", joined, sites, others, {"add": frozenset("b")}) == (
        Island(stubs=("a", "c"), ops=("x",), others=("relu", "both"), functionals=()),
        Island(stubs=("b",), ops=("y",), others=("both",), functionals=("add",)),
    )
