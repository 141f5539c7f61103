"""Plans of group tests."""

from __future__ import annotations

from functools import cache

import pytest

from ilit_strategies.basic.group_plan import group_plan, promised
from ilit_strategies.basic.thresholds import MAX_PLANNED_OPS


@pytest.mark.parametrize(
    ("ops", "harmful", "expected"), [(74, 1, 9), (74, 3, 21), (146, 6, 42), (64, 8, 40), (5, 0, 0), (5, 5, 10)]
)
def test_promised(ops: int, harmful: int, expected: int) -> None:
    """The number of trials is k (ceil(log2(n / k)) + 2)."""
    assert promised(ops, harmful) == expected


def worst(ops: int, harmful: int, likely: int = 0) -> int:
    """Return the trials at worst over all places of ``harmful`` ops, by following the plan's every branch."""
    plan = group_plan(ops, likely)

    @cache
    def trials(suspected: int, unknown: int, found: int, left: int) -> int:
        if suspected == 1:
            return trials(0, unknown, found + 1, left - 1)
        if suspected == unknown == 0:
            return 0
        size, branches = plan.size(suspected, unknown, found), list[int]()
        pool = suspected or unknown
        assert 1 <= size <= (suspected - 1 if suspected else unknown)
        if left <= suspected + unknown - size and not (suspected and left < 1):
            branches.append(
                trials(suspected - size if suspected else 0, unknown - (0 if suspected else size), found, left)
            )
        if left >= 1:
            branches.append(trials(size, (unknown if suspected else 0) + pool - size, found, left))
        return 1 + max(branches)

    return trials(ops, 0, 0, harmful)


@pytest.mark.parametrize("ops", [12, 40, 63, 74, 96, 123, 146, 150])
def test_the_promise_is_kept_for_every_number_and_place(ops: int) -> None:
    """Not a sample: every branch of the plan, for 1 to 8 harmful ops."""
    assert group_plan(ops).excess <= 0
    assert all(worst(ops, harmful) <= promised(ops, harmful) for harmful in range(1, 9))


@pytest.mark.parametrize(("ops", "numbers"), [(64, {4}), (127, {4}), (128, {4, 8})])
def test_where_no_plan_keeps_the_promise_few_numbers_take_a_trial_more(ops: int, numbers: set[int]) -> None:
    """Powers of two leave nothing to round up."""
    beyond = {harmful: worst(ops, harmful) - promised(ops, harmful) for harmful in range(1, 9)}

    assert max(beyond.values()) <= 1
    assert {harmful for harmful, more in beyond.items() if more > 0} <= numbers


@pytest.mark.parametrize("ops", [40, 74, 150])
def test_more_than_any_promise_is_for_are_found_all_the_same(ops: int) -> None:
    """All ops may hurt: the plan still ends, in about two trials an op at worst."""
    assert worst(ops, ops) <= 2 * ops
    assert worst(ops, MAX_PLANNED_OPS + 5) <= 3 * ops


@pytest.mark.parametrize("likely", [2, 4, 8])
def test_a_number_that_is_likely_takes_fewer_trials(likely: int) -> None:
    """Groups are fitted to it; the others pay at most two trials more than promised."""
    assert group_plan(100, likely).excess < 0
    assert worst(100, likely, likely) < promised(100, likely)
    assert all(worst(100, k, likely) <= promised(100, k) + 2 for k in range(1, 9))


@pytest.mark.parametrize("ops", [1, 2, 3])
def test_few_ops(ops: int) -> None:
    """There is a plan for any number of ops."""
    assert all(worst(ops, harmful) <= promised(ops, harmful) for harmful in range(1, ops + 1))


@pytest.mark.parametrize("ops", [40, 74, 146])
def test_spent_trials_are_made_up_for_one_op(ops: int) -> None:
    """One trial less than promised where one op hurts."""
    plan = group_plan(ops, spent=1)

    assert plan.excess <= 0
