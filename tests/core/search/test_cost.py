"""Costs are medians of passes that take turns."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ilit.adapter import Measurement
from ilit.errors import EvaluationError
from ilit.search.cost import CLEAR_ROUNDS, LEAST_ROUNDS, MOST_ROUNDS, interleave


class Stopwatch:
    """An adapter that only measures: each pass of a model takes what the script says."""

    name = "stopwatch"

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.seconds = seconds
        self.calls: list[tuple[str, Any]] = []

    def measure(self, model: str, batch: Any) -> Measurement:
        times = self.seconds[model]
        self.calls.append((model, batch))
        return Measurement(times[(len(self.calls) // 2) % len(times)], 10, batch)


def test_models_take_turns_on_the_same_batches() -> None:
    """After one warm-up each, every pair is on one batch, who is first alternates, batches are used alike."""
    watch = Stopwatch({"int8": [1.0], "float": [1.05]})
    interleave(watch, "int8", "float", [1, 2, 3])  # type: ignore[arg-type]  # only ``measure`` is called
    warm, timed = watch.calls[:2], watch.calls[2:]
    pairs = list(zip(timed[::2], timed[1::2], strict=True))
    assert Counter(model for model, _ in warm) == {"int8": 1, "float": 1}
    assert all(a[1] == b[1] and {a[0], b[0]} == {"int8", "float"} for a, b in pairs)
    assert {a[0] for a, _ in pairs} == {"int8", "float"}
    assert len(set(Counter(a[1] for a, _ in pairs).values())) == 1
    assert len(pairs) >= LEAST_ROUNDS


@pytest.mark.parametrize("int8", [1.0, 4.0], ids=["faster", "slower"])
def test_a_clear_case_is_settled_by_three_pairs(int8: float) -> None:
    """Where one model is faster by more than a tenth in every pair no more are run, and warm models need no warm-up."""
    watch = Stopwatch({"int8": [int8], "float": [2.0]})
    interleave(watch, "int8", "float", [1], warm=True)  # type: ignore[arg-type]
    assert len(watch.calls) == 2 * CLEAR_ROUNDS


def test_one_slow_spell_moves_nothing() -> None:
    """The median of both is untouched by a few passes that took a hundred times as long."""
    watch = Stopwatch({"int8": [1.0, 1.0, 100.0, 1.0], "float": [2.0, 2.0, 2.0, 200.0]})
    ours, theirs = interleave(watch, "int8", "float", [5])  # type: ignore[arg-type]
    assert (ours, theirs) == (Measurement(1.0, 10, 5), Measurement(2.0, 10, 5))


@pytest.mark.parametrize(
    ("seconds", "pairs"), [(9.0, LEAST_ROUNDS), (0.05, 10), (1e-6, MOST_ROUNDS)], ids=["slow", "a second", "fast"]
)
def test_the_time_spent_is_bounded(seconds: float, pairs: int) -> None:
    """At least 7 pairs, more until about a second was spent, at most 99."""
    watch = Stopwatch({"int8": [seconds], "float": [seconds]})
    interleave(watch, "int8", "float", [1])  # type: ignore[arg-type]
    assert len(watch.calls) / 2 - 1 == pytest.approx(pairs, abs=1)


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        pytest.param(Measurement(math.nan, 1, 1), "seconds nan", id="NaN"),
        pytest.param(Measurement(math.inf, 1, 1), "seconds inf", id="infinite"),
        pytest.param(Measurement(-0.5, 1, 1), "seconds -0.5", id="negative time"),
        pytest.param(Measurement(1.0, -1, 1), "bytes -1", id="negative size"),
        pytest.param(Measurement(1.0, 1, -1), "activation_bytes -1", id="negative activations"),
    ],
)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_what_cannot_be_a_cost_is_refused(measured: Measurement, told: str, warm: bool) -> None:
    """With the adapter's name and the figure, whichever pass gave it."""
    adapter = SimpleNamespace(name="mine", measure=lambda model, batch: measured)
    with pytest.raises(EvaluationError, match=f"^adapter mine: measure gave {told}; .* report it to the adapter"):
        interleave(adapter, "int8", "float", [1], warm=warm)  # type: ignore[arg-type]


def test_costs_are_plain_numbers() -> None:
    """Whatever numbers the adapter counts in, a journal takes them."""
    measured = Measurement(np.float32(0.5), np.int64(10), np.int32(5))  # type: ignore[arg-type]
    adapter = SimpleNamespace(name="mine", measure=lambda model, batch: measured)
    for cost in interleave(adapter, "int8", "float", [1]):  # type: ignore[arg-type]
        assert [type(figure) for figure in (cost.seconds, cost.bytes, cost.activation_bytes)] == [float, int, int]
