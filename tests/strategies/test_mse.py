"""Strategy ``mse``."""

from __future__ import annotations

import pytest

from ilit.recipe import FLOAT32
from ilit.strategy import OpErrorOutcome, OpErrorProbe, Outcome, Request, Trial, TrialOutcome
from ilit.testing import (
    ANSWERS,
    SPACES,
    STATIC,
    StrategyContract,
    planted,
    simulate,
    synthetic_space,
)
from ilit_strategies.mse import Mse


class TestContract(StrategyContract):
    """The public suite."""

    @pytest.fixture
    def strategy(self) -> Mse:
        """Return ``mse``."""
        return Mse(Mse.Options())


def test_a_preferred_recipe_that_passes_costs_one_evaluation() -> None:
    """No probe and no second trial where the first is accepted."""
    requests = simulate(Mse(Mse.Options()), SPACES["four-ops"], ANSWERS["all-accepted"])

    assert [type(request) for request in requests] == [Trial]


def test_the_op_with_the_largest_error_goes_to_float_first_then_one_more_each() -> None:
    """The order of the fallback is the order of the ops' own output errors, NaN before all and unknown last."""
    errors = {"layer.0": 0.1, "layer.1": float("nan"), "layer.3": 0.4}

    def answer(request: Request) -> Outcome:
        if isinstance(request, OpErrorProbe):
            return OpErrorOutcome(errors)
        return TrialOutcome("missed", 0.5)

    requests = simulate(Mse(Mse.Options()), SPACES["four-ops"], answer)

    assert [sorted(request.recipe.float_ops) for request in requests if isinstance(request, Trial)] == [
        [],
        ["layer.1"],
        ["layer.1", "layer.3"],
        ["layer.0", "layer.1", "layer.3"],
    ]


def test_it_stops_at_the_first_accepted() -> None:
    """Three planted ops of twenty: the preferred recipe, then one, two and three ops in float."""
    harm = {"layer.3": 0.05, "layer.11": 0.03, "layer.17": 0.02}

    requests = simulate(Mse(Mse.Options()), synthetic_space(20), planted(harm))

    assert len(requests) == 1 + 1 + 3
    assert set(requests[-1].recipe.float_ops) == set(harm)


def test_an_op_without_float_is_passed_over() -> None:
    """What the space does not allow is not asked for."""
    space = synthetic_space({"a": (STATIC,), "b": (STATIC, FLOAT32)})

    requests = simulate(Mse(Mse.Options()), space, planted({"a": 0.5, "b": 0.1}))

    assert [request.recipe.float_ops for request in requests if isinstance(request, Trial)] == [(), ("b",)]
