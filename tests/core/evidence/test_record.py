"""The evidence about a recipe: settled where its bound is within the tolerance."""

from __future__ import annotations

import math

import pytest

from ilit.evidence import Evidence


@pytest.mark.parametrize(
    ("drop", "bound", "settled"),
    [
        pytest.param(0.0, 0.009, True, id="below"),
        pytest.param(0.0, 0.01, True, id="at the tolerance"),
        pytest.param(0.0, 0.011, False, id="above, though no drop was seen"),
        pytest.param(-0.02, -0.001, True, id="better than float32"),
        pytest.param(0.0, math.nan, False, id="no bound"),
    ],
)
def test_the_bound_settles_it_not_the_drop_seen(drop: float, bound: float, settled: bool) -> None:
    """A bound that is no number settles nothing."""
    assert Evidence(100, 1, 1, 1.0, drop, bound, 0.95, 0.01, "tango", 1).settled is settled
