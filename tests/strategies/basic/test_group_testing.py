"""Group testing with trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilit.recipe import FLOAT32
from ilit.strategy import Baseline, TrialOutcome
from ilit.testing import STATIC, synthetic_space
from ilit_strategies.basic.group_plan import promised
from ilit_strategies.basic.group_testing import harmful_ops, likely_number
from ilit_strategies.basic.thresholds import FEW_HARMFUL_OPS

BASELINE = Baseline(0.9, 0.891, stop="budget")


def run(steps: Any, accuracy: Callable[[set[str]], float]) -> tuple[Any, list[set[str]]]:
    """Return the result of ``steps``, and the ops in float of each trial; ``accuracy`` is given the ops in INT8."""
    asked: list[set[str]] = []
    reply = None
    while True:
        try:
            trial = steps.send(reply)
        except StopIteration as end:
            return end.value, asked
        asked.append(set(trial.recipe.float_ops))
        score = accuracy(set(trial.recipe.quantized_ops))
        reply = TrialOutcome("passed" if score >= BASELINE.target else "missed", score)


@settings(max_examples=60)
@given(
    count=st.integers(2, 80),
    data=st.data(),
    step=st.sampled_from([0.05, 0.5, math.inf]),
)
def test_exactly_the_harmful_ops_are_found_within_the_promise(count: int, data: st.DataObject, step: float) -> None:
    """Whatever their number and places, whether losses add up or all is lost at once; theirs is a trial."""
    names = [f"layer.{number}" for number in range(count)]
    wanted = data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=min(8, count - 1)))

    def accuracy(int8: set[str]) -> float:
        hurt = len(int8 & wanted)
        return 0.9 - (step * hurt if math.isfinite(step) else 0.9 * bool(hurt))

    base = synthetic_space(count).recipe({})
    found, asked = run(harmful_ops(base, names, BASELINE, 0.9 - accuracy(set(names))), accuracy)

    assert set(found) == wanted
    assert wanted in asked
    assert len(asked) <= promised(count, len(wanted)) + (count == 64 and len(wanted) == 4)


def test_losses_that_add_up_save_trials() -> None:
    """The number of harmful ops is read from the losses once one is found, and the groups are fitted to it."""
    names = [f"layer.{number}" for number in range(100)]
    wanted = set(names[12::13])
    base, lost = synthetic_space(100).recipe({}), 0.05 * len(wanted)

    _, counted = run(harmful_ops(base, names, BASELINE, lost), lambda int8: 0.9 - 0.05 * len(int8 & wanted))
    _, blind = run(harmful_ops(base, names, BASELINE, lost), lambda int8: 0.5 if int8 & wanted else 0.9)

    assert len(counted) < len(blind)


def test_a_wrong_estimate_costs_trials_and_nothing_else() -> None:
    """Losses that add up to what one would take for other numbers still lead to exactly the harmful ops."""
    names = [f"layer.{number}" for number in range(50)]
    harm = {"layer.3": 0.02, "layer.20": 0.1, "layer.21": 0.04, "layer.49": 0.3}
    base = synthetic_space(50).recipe({})

    found, asked = run(
        harmful_ops(base, names, BASELINE, sum(harm.values())),
        lambda int8: 0.9 - sum(harm[n] for n in int8 & set(harm)),
    )

    assert set(found) == set(harm)
    assert len(asked) <= promised(50, 4) + 4


def test_harm_that_adds_up_over_all_ops_has_no_single_ops_to_blame() -> None:
    """The op that is one too many passes alone: one trial tells, and no op after op is sought."""
    names = [f"layer.{number}" for number in range(40)]
    base = synthetic_space(40).recipe({})

    found, asked = run(harmful_ops(base, names, BASELINE, 0.04), lambda int8: 0.9 - 0.001 * len(int8))

    assert found is None
    assert len(set(names) - asked[-1]) == 1
    assert len(asked) <= 1 + math.ceil(math.log2(40))


def test_few_ops_are_found_though_each_alone_would_be_tolerated() -> None:
    """Ops that only miss together are worth a trial or more each while they are few."""
    names = [f"layer.{number}" for number in range(40)]
    wanted = set(names[5::9])
    base = synthetic_space(40).recipe({})

    found, _ = run(
        harmful_ops(base, names, BASELINE, 0.008 * len(wanted)), lambda int8: 0.9 - 0.008 * len(int8 & wanted)
    )

    assert found is not None
    assert len(wanted) - 1 == len(found) <= FEW_HARMFUL_OPS
    assert wanted.issuperset(found)


def test_an_op_that_misses_alone_is_to_blame_however_little_it_adds() -> None:
    """Losses that hide each other look like ones that add up, so the op is tried alone before it is let off."""
    names = [f"layer.{number}" for number in range(40)]
    base = synthetic_space(40).recipe({})

    found, asked = run(
        harmful_ops(base, names, BASELINE, lost=0.1),
        lambda int8: 0.9 - max(0.0002 * len(int8), 0.012 * ("layer.33" in int8)),
    )

    assert found == ["layer.33"]
    assert set(names) - {"layer.33"} in asked


def test_what_cannot_be_in_float_is_not_asked_for_and_its_harm_ends_the_search() -> None:
    """One trial shows that no choice of the others helps."""
    space = synthetic_space({"forced": (STATIC,), **{f"layer.{n}": (STATIC, FLOAT32) for n in range(8)}})
    names = [name for name in space.ops if name != "forced"]

    found, asked = run(harmful_ops(space.recipe({}), names, BASELINE), lambda int8: 0.5 if "forced" in int8 else 0.9)

    assert found == []
    assert asked == [set(names)]


@given(st.sets(st.frozensets(st.sampled_from([f"layer.{n}" for n in range(6)]))))
def test_it_ends_where_outcomes_follow_no_order(passing: set[frozenset[str]]) -> None:
    """Float that sometimes hurts costs trials, never the end of the search."""
    base = synthetic_space(6).recipe({})

    _, asked = run(harmful_ops(base, list(base.ops), BASELINE), lambda int8: 0.9 if frozenset(int8) in passing else 0.5)

    assert len(asked) <= promised(6, 6)


@pytest.mark.parametrize(
    ("lost", "steps", "expected"),
    [
        (0.15, [0.05], 3),
        (0.15, [0.05, 0.05], 3),
        (0.05, [0.05], 0),
        (0.4, [], 0),
        (math.inf, [0.05], 0),
        (0.13, [0.05], 0),
        (0.1, [0.0], 0),
        (0.1, [-0.01], 0),
        (0.15, [math.inf], 0),
    ],
    ids=["three", "two-seen", "one-or-all-alike", "none-seen", "unknown-loss", "uneven", "no-step", "gain", "failed"],
)
def test_likely_number(lost: float, steps: list[float], expected: int) -> None:
    """The number of harmful ops if losses add up; 0 where they do not tell."""
    assert likely_number(lost, steps) == expected
