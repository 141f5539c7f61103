"""The structure that follows from what passes have shown."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ilit_pytorch.model.computed_weights import watch_weights
from ilit_pytorch.tracing.state import TraceState


def state_of(marks: dict[str, list[str]], shared: str = "", stubs: str = "", **others: Any) -> TraceState:
    """Return the state of a pass over Linears; ``marks``: op -> for each call the stubs its input comes from."""
    state = TraceState(shared=set(shared), stubs=list(stubs), ops=[*marks, "idle"], **others)
    for name, calls in marks.items():
        state.kinds[name] = ("linear", False)
        state.marks[name] = [frozenset(call) for call in calls]
        state.watches[name] = watch_weights(torch.nn.Linear(2, 2))
    return state


SOURCES: dict[str, tuple[TraceState, dict[str, str], tuple[str, ...]]] = {
    "two readers": (state_of({"a": ["s"], "b": ["s"], "c": [""]}, "s"), {"a": "s", "b": "s", "c": ""}, ()),
    "each its own": (state_of({"a": ["s"], "b": ["t"]}, "st"), {"a": "s", "b": "t"}, ()),
    "fed by two": (state_of({"a": ["s", "t"], "b": ["s"]}, "st"), {"a": "", "b": ""}, ("s", "t")),
    "fed by one and by none": (state_of({"a": ["s", ""]}, "s"), {"a": ""}, ("s",)),
    "hooked": (state_of({"a": ["s"], "b": ["s"]}, "s", hooked={"b"}), {"a": "", "b": ""}, ("s",)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_op_shares_its_input_where_every_call_comes_from_one_stub(name: str) -> None:
    """A stub that one of its ops cannot rely on is a plain identity for all."""
    state, sources, escaping = SOURCES[name]
    structure = state.structure()
    assert {op: site.source for op, site in structure.sites.items()} == sources
    assert structure.escaping_stubs == escaping
    assert set(structure.shared) == state.shared - set(escaping)


def test_islands_that_use_one_module_are_one() -> None:
    """It has one lowered form."""
    structure = state_of({"a": ["p", "q"], "b": ["r"]}, stubs="pqr").structure()
    assert [(island.stubs, island.ops) for island in structure.islands] == [(("p", "q"), ("a",)), (("r",), ("b",))]
    assert {op: site.island for op, site in structure.sites.items()} == {"a": 0, "b": 1}


def test_an_op_inside_and_outside_an_island_has_no_site() -> None:
    """It is one of the island's other modules."""
    structure = state_of({"a": ["p", ""], "b": ["p"]}, stubs="p").structure()
    assert set(structure.sites) == {"b"}
    assert structure.islands[0].others == ("a",)


def test_what_stays_in_float_has_no_site() -> None:
    """Its reason goes on."""
    structure = state_of({"a": [""], "b": [""]}, left={"b": "patched"}).structure()
    assert (list(structure.sites), structure.left) == (["a"], {"b": "patched"})


def test_passes_add_up() -> None:
    """Ops of the later one come last, calls of both count, and what neither has called is told."""
    state = state_of({"a": ["s"]}, "s")
    later = state_of({"b": [""], "a": [""]}, "s", left={"c": "patched"})
    assert state.merge(later) is state
    assert list(state.structure().sites) == ["a", "b"]
    assert state.structure().escaping_stubs == ("s",)
    assert (state.uncalled(), state.left) == (["idle"], {"c": "patched"})
