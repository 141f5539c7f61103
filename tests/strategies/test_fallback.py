"""Fallback to float and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.recipe import FLOAT32
from ilit.strategy import TrialOutcome
from ilit.testing import DYNAMIC, STATIC, synthetic_space
from ilit_strategies.fallback import (
    MAX_MISRANKED,
    described,
    float_changes,
    longest_prefix,
    one_by_one,
    put_back,
    shortest_passing,
    shortest_prefix,
)

Stop = Literal["met", "budget"]


def run(steps: Any, passing: Callable[[set[str]], bool]) -> tuple[Any, int]:
    """Return the result of ``steps`` and how many trials they asked for, judged by the set of ops in float."""
    trials, reply = 0, None
    while True:
        try:
            trial = steps.send(reply)
        except StopIteration as end:
            return end.value, trials
        trials += 1
        reply = TrialOutcome("passed" if passing(set(trial.recipe.float_ops)) else "missed", 0.5)


def plan(count: int) -> tuple[Any, Any]:
    """Return a base recipe of ``count`` ops and the changes of all to float, in the model's order."""
    space = synthetic_space(count)
    return space.recipe({}), float_changes(space, list(space.ops))


def test_changes_are_made_only_where_float_is_allowed() -> None:
    """An op whose candidates lack float32 is passed over."""
    space = synthetic_space({"a": (STATIC,), "b": (STATIC, FLOAT32)})

    assert float_changes(space, ["b", "a"]) == [("b", FLOAT32)]


def test_the_longest_prefix_leaves_an_op_in_int8() -> None:
    """The all-float recipe is never asked for; a change within INT8 does not count against it."""
    base, changes = plan(3)

    assert longest_prefix(base, changes) == 2
    assert longest_prefix(base, [*changes[:2], ("layer.2", DYNAMIC)]) == 3
    assert longest_prefix(*plan(1)) == 0


@pytest.mark.parametrize("stop", ["met", "budget"])
@pytest.mark.parametrize("needed", [1, 2, 3, 7, 8, 30, 37])
@pytest.mark.parametrize("start", [1, 4, 50])
def test_shortest_prefix_is_found_within_its_bound(needed: int, start: int, stop: Stop) -> None:
    """Where more float never hurts, the shortest prefix is found in the number of trials the docstring names."""
    base, changes = plan(38)

    found, trials = run(shortest_prefix(base, changes, start, stop), lambda floats: len(floats) >= needed)

    assert len(found) == needed
    assert trials <= (2 if stop == "met" else 1) * math.ceil(math.log2(38)) + 1


@pytest.mark.parametrize("needed", range(1, 38))
def test_the_first_hit_has_less_than_twice_the_changes_needed(needed: int) -> None:
    """A search that ends at the first hit does not pay with many needless float ops."""
    base, changes = plan(38)
    hits: list[int] = []

    def passing(floats: set[str]) -> bool:
        if len(floats) >= needed:
            hits.append(len(floats))
        return len(floats) >= needed

    run(shortest_prefix(base, changes, 1, "met"), passing)

    assert hits[0] < 2 * needed


@pytest.mark.parametrize(("least", "expected"), [(1, 3), (3, 1)], ids=["nothing-known", "three-are-known-to-be-needed"])
def test_prefixes_known_to_miss_are_not_evaluated(least: int, expected: int) -> None:
    """Bisection ends at the ops that cannot stay in INT8."""
    base, changes = plan(38)

    found, trials = run(shortest_prefix(base, changes, 3, "budget", least), lambda floats: len(floats) >= 3)

    assert len(found) == 3
    assert trials == expected


@pytest.mark.parametrize(("most", "kept"), [(None, 4), (1, 13), (2, 10)], ids=["all", "one", "two"])
def test_put_back_ends_after_as_many_needed_changes_as_are_wanted(most: int | None, kept: int) -> None:
    """The rest of the pool stays as it is, and still passes."""
    base, changes = plan(16)
    needed = {"layer.3", "layer.7", "layer.11", "layer.15"}

    found, _ = run(put_back(base, changes, changes, misses=True, most=most), lambda floats: needed <= floats)

    assert len(found) == kept
    assert needed <= {name for name, _ in found}


@pytest.mark.parametrize("stop", ["met", "budget"])
def test_nothing_passes(stop: Stop) -> None:
    """None after a bounded number of trials, also for a single op, which has no fallback at all."""
    found, trials = run(shortest_passing(*plan(38), 1, stop), lambda _: False)

    assert found is None
    assert trials <= (1 + MAX_MISRANKED) * (math.ceil(math.log2(38)) + 1)
    assert run(shortest_passing(*plan(1), 1, stop), lambda _: False) == (None, 0)


@pytest.mark.parametrize("stop", ["met", "budget"])
@pytest.mark.parametrize("needed", [{"layer.37"}, {"layer.36", "layer.37"}, {"layer.0", "layer.37"}])
def test_the_op_ranked_last_is_found_all_the_same(needed: set[str], stop: Stop) -> None:
    """A needed op that looked the most harmless moves to the front, since it cannot be found at the end."""
    base, changes = plan(38)

    found, _ = run(shortest_passing(base, changes, 1, stop), lambda floats: needed <= floats)

    assert {name for name, _ in found} == needed


@given(st.integers(2, 80), st.data(), st.sampled_from(["met", "budget"]))
def test_planted_ops_are_isolated(count: int, data: st.DataObject, stop: Stop) -> None:
    """Whatever ops are needed, wherever they rank, exactly they stay in float, within the bounds stated."""
    base, changes = plan(count)
    needed = data.draw(st.sets(st.sampled_from([name for name, _ in changes[:-1]]), min_size=1, max_size=5))

    prefix, first = run(shortest_passing(base, changes, 1, stop), lambda floats: needed <= floats)
    kept, second = run(put_back(base, prefix, list(reversed(prefix[:-1]))), lambda floats: needed <= floats)

    assert {name for name, _ in kept} == needed
    assert first <= (2 if stop == "met" else 1) * math.ceil(math.log2(count)) + 1
    assert second <= (len(needed) - 1) * (1 + math.ceil(math.log2(count))) + 1


@given(st.sets(st.frozensets(st.sampled_from([f"layer.{n}" for n in range(8)]))))
def test_what_is_kept_did_pass(passing: set[frozenset[str]]) -> None:
    """Where float sometimes hurts (outcomes follow no order), the result still is a recipe that passed."""
    base, changes = plan(8)

    prefix, _ = run(shortest_passing(base, changes, 1, "budget"), lambda floats: floats in passing)

    if prefix is not None:
        kept, _ = run(put_back(base, prefix, list(reversed(prefix[:-1]))), lambda floats: floats in passing)
        assert {name for name, _ in prefix} in passing
        assert {name for name, _ in kept} in passing


def test_one_by_one_never_reaches_the_float_model() -> None:
    """Each prefix is one change longer; the last leaves one op in INT8."""
    base, changes = plan(4)

    assert [len(prefix) for prefix in one_by_one(base, changes)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("floats", "others", "text"),
    [
        ("", "", "nothing else changed"),
        ("a", "", "1 in float: a"),
        ("abcde", "", "5 in float: a, b, c and 2 more"),
        ("ab", "c", "2 in float: a, b; 1 in another INT8 config: c"),
    ],
    ids=["none", "one", "five", "mixed"],
)
def test_described(floats: str, others: str, text: str) -> None:
    """A progress line names three ops of a kind and counts the rest."""
    assert described([(name, FLOAT32) for name in floats] + [(name, DYNAMIC) for name in others]) == text
