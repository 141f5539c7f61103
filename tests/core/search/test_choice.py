"""Which record is best, which is closest, which are on the front."""

from __future__ import annotations

import pytest

from ilit.adapter import Measurement
from ilit.criterion import Criterion
from ilit.objective import MODEL_SIZE, PERFORMANCE
from ilit.recipe import Recipe
from ilit.result import TrialRecord, relative_cost
from ilit.search.choice import best_of, closest_of, front_of, most_promising

HIGHER, LOWER = Criterion("absolute", 0.1), Criterion("absolute", 0.1, higher_is_better=False)


def record(
    number: int, accuracy: float | None, seconds: float = 1.0, float32: float = 2.0, objection: str | None = None
) -> TrialRecord:
    """Return a passed record with this accuracy, or a failed one without."""
    if accuracy is None:
        return TrialRecord(number, Recipe(), "failed", reason="engine: no")
    cost, float_cost = Measurement(seconds, int(seconds * 10), 0), Measurement(float32, int(float32 * 10), 0)
    return TrialRecord(number, Recipe(), "passed", accuracy, cost=cost, float_cost=float_cost, objection=objection)


def missed(number: int, accuracy: float) -> TrialRecord:
    """Return a record that was evaluated and did not pass."""
    return TrialRecord(number, Recipe(), "missed", accuracy)


@pytest.mark.parametrize(
    ("records", "best"),
    [
        pytest.param([], None, id="none"),
        pytest.param([missed(1, 0.9), record(2, None)], None, id="none passed"),
        pytest.param([record(1, 0.9, objection="slower than float32")], None, id="objected to"),
        pytest.param([record(1, 0.95, 1.5), record(2, 0.9, 1.0)], 2, id="cheapest"),
        pytest.param([record(1, 0.9), record(2, 0.95)], 2, id="of equals the more accurate"),
        pytest.param([record(1, 0.9), record(2, 0.9)], 1, id="of equals the earlier"),
        pytest.param([record(1, 0.9, 4.0, 8.0), record(2, 0.9, 3.0, 4.0)], 1, id="cost beside its own float32"),
    ],
)
def test_best_is_the_cheapest_accepted(records: list[TrialRecord], best: int | None) -> None:
    """Only what passed without objection counts; costs are compared beside the float model's of the same minutes."""
    found = best_of(records, PERFORMANCE, HIGHER)
    assert (found and found.number) == best


def test_more_accurate_follows_the_direction() -> None:
    """Where lower is better, of two equally dear records the lower one is best."""
    found = best_of([record(1, 0.9), record(2, 0.8)], PERFORMANCE, LOWER)
    assert found is not None
    assert found.number == 2


def test_each_objective_has_its_own_cost() -> None:
    """The smallest model need not be the fastest."""
    small = record(1, 0.9, 1.0)
    fast = TrialRecord(2, Recipe(), "passed", 0.9, cost=Measurement(0.5, 50, 0), float_cost=Measurement(2.0, 60, 0))
    by_size, by_time = best_of([small, fast], MODEL_SIZE, HIGHER), best_of([small, fast], PERFORMANCE, HIGHER)
    assert (by_size, by_time) == (small, fast)


@pytest.mark.parametrize(
    ("records", "criterion", "closest"),
    [
        pytest.param([record(1, None)], HIGHER, None, id="none evaluated"),
        pytest.param([missed(1, 0.5), missed(2, 0.7), record(3, None)], HIGHER, 2, id="higher"),
        pytest.param([missed(1, 0.5), missed(2, 0.7)], LOWER, 1, id="lower"),
        pytest.param([missed(1, -3.0), missed(2, -2.0)], HIGHER, 2, id="negative"),
        pytest.param([missed(1, 0.5), missed(2, 0.5)], HIGHER, 1, id="of equals the earlier"),
    ],
)
def test_closest_has_the_least_shortfall(records: list[TrialRecord], criterion: Criterion, closest: int | None) -> None:
    """Nearest to the target by the metric's own direction and sign."""
    found = closest_of(records, criterion, baseline=0.9)
    assert (found and found.number) == closest


def point(number: int, accuracy: float, latency: float, size: float, objection: str | None = None) -> TrialRecord:
    """Return a passed record with this latency and size relative to float32's."""
    cost, float_cost = Measurement(latency * 4, int(size * 100), 0), Measurement(4.0, 100, 0)
    return TrialRecord(number, Recipe(), "passed", accuracy, cost=cost, float_cost=float_cost, objection=objection)


FRONTS = {
    "none passed": ([missed(1, 0.9), record(2, None)], HIGHER, []),
    "the fastest first": ([point(1, 0.95, 0.75, 0.5), point(2, 0.9, 0.5, 0.5)], HIGHER, [2, 1]),
    "beaten in all three": ([point(1, 0.9, 0.75, 0.5), point(2, 0.95, 0.5, 0.25)], HIGHER, [2]),
    "beaten in one, equal in the others": ([point(1, 0.9, 0.5, 0.5), point(2, 0.9, 0.5, 0.25)], HIGHER, [2]),
    "kept by size alone": ([point(1, 0.9, 0.75, 0.25), point(2, 0.95, 0.5, 0.5)], HIGHER, [2, 1]),
    "equals stay, the earlier first": ([point(2, 0.9, 0.5, 0.5), point(1, 0.9, 0.5, 0.5)], HIGHER, [1, 2]),
    "lower is better": ([point(1, 0.9, 0.5, 0.5), point(2, 0.8, 0.5, 0.5)], LOWER, [2]),
    "objected to": ([point(1, 0.99, 0.5, 0.5, objection="slower than float32"), point(2, 0.9, 0.75, 0.5)], HIGHER, [2]),
    "each beside its own float32": ([record(1, 0.9, 4.0, 8.0), record(2, 0.9, 3.0, 4.0)], HIGHER, [1]),
}


def pruned(number: int, bound: float, rows: int) -> TrialRecord:
    """Return a record that was stopped after so many rows, when it could still have reached the bound."""
    return TrialRecord(number, Recipe(), "pruned", bound, rows=rows)


def test_a_bound_is_no_score() -> None:
    """What was seen to its end is closer than what could have been better; without such, the best bound counts."""
    assert closest_of([pruned(1, 0.79, 50), missed(2, 0.5)], HIGHER, 0.9) == missed(2, 0.5)
    assert closest_of([pruned(1, 0.7, 50), pruned(2, 0.79, 50)], HIGHER, 0.9) == pruned(2, 0.79, 50)


@pytest.mark.parametrize(
    ("records", "criterion", "promising"),
    [
        pytest.param([], HIGHER, None, id="none"),
        pytest.param([missed(1, 0.7), record(2, None)], HIGHER, None, id="none pruned"),
        pytest.param([pruned(1, 0.79, 100), pruned(2, 0.785, 300)], HIGHER, 2, id="held out longest"),
        pytest.param([pruned(1, 0.78, 100), pruned(2, 0.79, 100)], HIGHER, 2, id="of equals the larger bound"),
        pytest.param([pruned(1, 1.02, 100), pruned(2, 1.01, 100)], LOWER, 2, id="where lower is better"),
        pytest.param([pruned(1, 0.79, 100), missed(2, 0.795)], HIGHER, None, id="a complete one is closer"),
        pytest.param([pruned(1, 0.79, 100), pruned(2, 0.7, 300), missed(3, 0.75)], HIGHER, 1, id="only where closer"),
    ],
)
def test_the_most_promising_lost_the_fewest_rows(
    records: list[TrialRecord], criterion: Criterion, promising: int | None
) -> None:
    """Bounds all lie just beyond the target; how many rows that took is what tells pruned recipes apart."""
    found = most_promising(records, criterion, baseline=0.9)
    assert (found and found.number) == promising


@pytest.mark.parametrize(("records", "criterion", "front"), FRONTS.values(), ids=FRONTS)
def test_the_front_holds_what_nothing_beats(records: list[TrialRecord], criterion: Criterion, front: list[int]) -> None:
    """An accepted record is left out where another is as good in accuracy, latency and size, and better in one."""
    assert [found.number for found in front_of(records, criterion)] == front


def test_a_cost_that_was_never_measured_is_an_error() -> None:
    """Only passed records were measured."""
    with pytest.raises(ValueError, match="trial 7 has no measured cost: its status is missed"):
        relative_cost(missed(7, 0.5), PERFORMANCE)
