"""What an INT8 model costs beside the float32 one, measured so that noise hits both alike.

On a shared machine a forward pass may take twice its usual time for seconds on end. So the two models take turns
on the same batches, one pass each once both are warm, and the medians are compared: slow spells hit both, and
single outliers move neither. Nothing more is claimed: there is no interval round the two medians, and models whose
costs differ by a few percent may come out either way round. Sizes are counted, not timed, and have no noise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ilit.adapter import Adapter, Measurement
from ilit.errors import EvaluationError

CLEAR_ROUNDS = 3  # suffice where one model is faster in each of them by CLEAR
CLEAR = 1.1
LEAST_ROUNDS = 7
MOST_ROUNDS = 99
ENOUGH_SECONDS = 1.0


def interleave(
    adapter: Adapter, int8: Any, float32: Any, batches: Sequence[Any], *, warm: bool = False
) -> tuple[Measurement, Measurement]:
    """Return the median cost of one forward pass of each model.

    Args:
        adapter: runs and measures single passes.
        int8: the lowered model.
        float32: the float model, lowered with an all-float recipe.
        batches: the batches to take turns on, at least one. Each is used equally often, so that the medians are of
            the same mixture.
        warm: both have just been run on such batches, as by an evaluation, so that no pass is needed before.

    Returns:
        The INT8 model's and the float model's cost. Where one of them is faster by more than a tenth in each of the
        first 3 pairs of passes, these are all. Else at least 7 pairs are run, and more until about one second was
        spent in them; never more than 99.

    Raises:
        EvaluationError: the adapter measured something that is negative or no finite number.
    """
    for model in () if warm else (int8, float32):
        _measured(adapter, model, batches[0])
    ours: list[Measurement] = []
    theirs: list[Measurement] = []
    while not _enough(ours, theirs):
        for batch in batches:
            # Who goes first alternates: the second of a pair finds the batch in the CPU's caches.
            pair = ((int8, ours), (float32, theirs))
            for model, costs in pair if len(ours) % 2 == 0 else reversed(pair):
                costs.append(_measured(adapter, model, batch))
    return _median(ours), _median(theirs)


def _measured(adapter: Adapter, model: Any, batch: Any) -> Measurement:
    """Return the cost of one pass in plain numbers, which any journal takes."""
    cost = adapter.measure(model, batch)
    for name, figure in asdict(cost).items():
        if not math.isfinite(figure) or figure < 0:
            raise EvaluationError(
                f"adapter {adapter.name}: measure gave {name} {figure}; it must be a finite number of 0 or more, so "
                "report it to the adapter's author"
            )
    return Measurement(float(cost.seconds), int(cost.bytes), int(cost.activation_bytes))


def _enough(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> bool:
    """Return whether the pairs so far tell which model is faster."""
    if len(ours) < CLEAR_ROUNDS:
        return False
    ratios = [mine.seconds / other.seconds if other.seconds else 1.0 for mine, other in zip(ours, theirs, strict=True)]
    if max(ratios) < 1 / CLEAR or min(ratios) > CLEAR:
        return True
    spent = sum(cost.seconds for cost in (*ours, *theirs))
    return len(ours) >= LEAST_ROUNDS and (spent >= ENOUGH_SECONDS or len(ours) >= MOST_ROUNDS)


def _median(costs: Sequence[Measurement]) -> Measurement:
    """The median of the times; the most of the sizes, since activations grow with the batch."""
    return Measurement(
        seconds=statistics.median(cost.seconds for cost in costs),
        bytes=max(cost.bytes for cost in costs),
        activation_bytes=max(cost.activation_bytes for cost in costs),
    )
