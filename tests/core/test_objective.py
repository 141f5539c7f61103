"""Objectives and what they object to."""

from __future__ import annotations

import pytest

from ilit.adapter import Measurement
from ilit.objective import FOOTPRINT, MODEL_SIZE, PERFORMANCE, Objective

FLOAT = Measurement(0.02, 1000, 500)


@pytest.mark.parametrize(
    ("objective", "int8", "begins"),
    [
        pytest.param(PERFORMANCE, Measurement(0.01, 9999, 9999), None, id="faster"),
        pytest.param(PERFORMANCE, FLOAT, None, id="as fast"),
        pytest.param(
            PERFORMANCE, Measurement(0.03, 1, 1), "performance: INT8 costs 0.03 s, float32 0.02 s", id="slower"
        ),
        pytest.param(FOOTPRINT, Measurement(9.0, 1000, 499), None, id="less memory"),
        pytest.param(FOOTPRINT, Measurement(0.0, 1000, 501), "footprint: INT8 costs 1501 bytes", id="more memory"),
        pytest.param(MODEL_SIZE, Measurement(9.0, 999, 9999), None, id="smaller"),
        pytest.param(MODEL_SIZE, Measurement(0.0, 1001, 0), "modelsize: INT8 costs 1001 bytes", id="larger"),
    ],
)
def test_what_costs_more_than_float_is_objected_to(objective: Objective, int8: Measurement, begins: str | None) -> None:
    """Each objective looks at its own cost only, and says both figures; None is no objection."""
    objection = objective.objection(int8, FLOAT)
    assert objection == begins if begins is None else str(objection).startswith(begins)
