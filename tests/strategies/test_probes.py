"""Sub-generators that ask for probes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ilit.strategy import DistanceOutcome, DistanceProbe, OpErrorOutcome, OpErrorProbe
from ilit.testing import synthetic_space
from ilit_strategies.probes import by_own_error, distances

SPACE = synthetic_space(3)
BASE = SPACE.recipe({})


def run(steps: Any, outcome: Any) -> tuple[Any, Any]:
    """Return the only request of ``steps`` and what they return when sent ``outcome``."""
    request = next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(outcome)
    return request, end.value.value


def test_distances_asks_for_all_as_one_tuple_and_takes_nan_for_infinite() -> None:
    """One tuple, so that an executor may spread it; a NaN cannot win a comparison."""
    recipes = [BASE, BASE.in_float(["layer.0"])]

    request, found = run(distances(recipes, "why"), (DistanceOutcome(0.5), DistanceOutcome(math.nan)))

    assert request == (DistanceProbe(recipes[0], "why"), DistanceProbe(recipes[1], "why"))
    assert found == [0.5, math.inf]


def test_distances_of_nothing_asks_for_nothing() -> None:
    """An empty tuple is never requested."""
    with pytest.raises(StopIteration) as end:
        next(distances([], "why"))

    assert end.value.value == []


@pytest.mark.parametrize(
    ("errors", "order"),
    [
        ({"layer.0": 1.0, "layer.1": 3.0, "layer.2": 2.0}, [1, 2, 0]),
        ({"layer.0": 1.0, "layer.1": 1.0, "layer.2": 1.0}, [0, 1, 2]),
        ({"layer.0": 1.0, "layer.2": math.nan}, [2, 0, 1]),
        ({}, [0, 1, 2]),
        ({"layer.9": 5.0}, [0, 1, 2]),
    ],
    ids=["largest-first", "ties-keep-order", "nan-first-unknown-last", "none-given", "foreign-name"],
)
def test_by_own_error(errors: dict[str, float], order: list[int]) -> None:
    """One instrumented probe orders the INT8 ops."""
    request, found = run(by_own_error(BASE), OpErrorOutcome(errors))

    assert isinstance(request, OpErrorProbe)
    assert found == [f"layer.{number}" for number in order]
