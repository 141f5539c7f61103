"""Records of a run."""

from __future__ import annotations

import math

import pytest

from ilit.adapter import Measurement
from ilit.objective import MODEL_SIZE, PERFORMANCE, Objective
from ilit.recipe import Recipe
from ilit.result import TrialRecord, relative_cost


@pytest.mark.parametrize(
    ("record", "accepted", "why_not"),
    [
        pytest.param(TrialRecord(1, Recipe(), "passed", 0.9), True, "", id="passed"),
        pytest.param(TrialRecord(1, Recipe(), "passed", 0.9, objection="slower"), False, "slower", id="objected to"),
        pytest.param(TrialRecord(1, Recipe(), "passed", 0.9, "a word on it"), True, "a word on it", id="no objection"),
        pytest.param(TrialRecord(1, Recipe(), "missed", 0.7), False, "", id="missed"),
        pytest.param(TrialRecord(1, Recipe(), "pruned", 0.7), False, "", id="pruned"),
        pytest.param(TrialRecord(1, Recipe(), "failed", reason="engine: no"), False, "engine: no", id="failed"),
    ],
)
def test_accepted_is_passed_without_objection(record: TrialRecord, accepted: bool, why_not: str) -> None:
    """The status and the objection tell, no other text; ``why_not`` is what a reader is told of either."""
    assert (record.accepted, record.why_not) == (accepted, why_not)


@pytest.mark.parametrize(
    ("objective", "share"),
    [
        (PERFORMANCE, 0.5),
        (MODEL_SIZE, 0.25),
        (Objective("free", "", lambda cost: 0.0), 1.0),
        (Objective("of INT8 alone", "", lambda cost: 1.0 if cost.bytes == 100 else 0.0), math.inf),
        (Objective("of float alone", "", lambda cost: 1.0 if cost.bytes == 400 else 0.0), 0.0),
    ],
    ids=["time", "size", "both cost nothing", "float costs nothing", "INT8 costs nothing"],
)
def test_a_cost_is_a_share_of_the_float_models_in_the_same_passes(objective: Objective, share: float) -> None:
    """So that records measured minutes apart can be compared; a share of nothing is infinite, of equals 1."""
    cost = {"cost": Measurement(0.01, 100, 50), "float_cost": Measurement(0.02, 400, 60)}
    assert relative_cost(TrialRecord(1, Recipe(), "passed", 0.9, **cost), objective) == pytest.approx(share)


def test_a_record_without_a_measured_cost_has_no_relative_one() -> None:
    """Only passed recipes are measured."""
    with pytest.raises(ValueError, match="trial 2 has no measured cost: its status is missed"):
        relative_cost(TrialRecord(2, Recipe(), "missed", 0.7), PERFORMANCE)
