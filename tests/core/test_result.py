"""Records of a run."""

from __future__ import annotations

import pytest

from ilit.recipe import Recipe
from ilit.result import TrialRecord


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
