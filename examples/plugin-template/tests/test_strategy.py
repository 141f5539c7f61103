"""Strategy ``ends_in_float``: ilit's laws, and what it does."""

from __future__ import annotations

import pytest
from ilit_template.strategy import EndsInFloat

from ilit.strategy import Baseline
from ilit.testing import StrategyContract, planted, simulate, synthetic_space

BASELINE = Baseline(accuracy=0.9, target=0.891)


class TestContract(StrategyContract):
    """The published suite."""

    @pytest.fixture
    def strategy(self) -> EndsInFloat:
        """Return the strategy to test."""
        return EndsInFloat(EndsInFloat.Options())


@pytest.mark.parametrize(
    ("harm", "ends", "floats", "evaluations"),
    [
        ({}, 1, (), 1),
        ({"layer.9": 0.1}, 1, ("layer.9",), 2),
        ({"layer.0": 0.1}, 1, ("layer.0",), 3),
        ({"layer.0": 0.1, "layer.9": 0.1}, 1, ("layer.0", "layer.9"), 4),
        ({"layer.8": 0.1}, 2, ("layer.8", "layer.9"), 2),
    ],
    ids=["none", "last", "first", "both", "two-at-each-end"],
)
def test_harmful_ends_are_put_into_float(
    harm: dict[str, float], ends: int, floats: tuple[str, ...], evaluations: int
) -> None:
    """The search ends at the recipe that leaves the harmful end in float32."""
    strategy = EndsInFloat(EndsInFloat.Options(ends=ends))

    requests = simulate(strategy, synthetic_space(10), planted(harm, BASELINE), baseline=BASELINE)

    assert len(requests) == evaluations
    assert requests[-1].recipe.float_ops == floats
