"""What an INT8 model costs beside the float32 one, measured so that noise hits both alike.

On a shared machine a forward pass may take twice its usual time for seconds on end. So the two models take turns
on the same batches, one pass each after one warm-up each, and the medians are compared: slow spells hit both, and
single outliers move neither. Nothing more is claimed: there is no interval round the two medians, and models whose
costs differ by a few percent may come out either way round. Sizes are counted, not timed, and have no noise.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from ilit.adapter import Adapter, Measurement

LEAST_ROUNDS = 7
MOST_ROUNDS = 99
ENOUGH_SECONDS = 1.0


def interleave(adapter: Adapter, int8: Any, float32: Any, batches: Sequence[Any]) -> tuple[Measurement, Measurement]:
    """Return the median cost of one forward pass of each model.

    Args:
        adapter: runs and measures single passes.
        int8: the lowered model.
        float32: the float model, lowered with an all-float recipe.
        batches: the batches to take turns on, at least one. Each is used equally often, so that the medians are of
            the same mixture.

    Returns:
        The INT8 model's and the float model's cost. At least 7 pairs of passes are run, and more until about
        one second was spent in them; never more than 99.
    """
    for model in (int8, float32):
        adapter.measure(model, batches[0])
    ours: list[Measurement] = []
    theirs: list[Measurement] = []
    spent = 0.0
    while len(ours) < LEAST_ROUNDS or (spent < ENOUGH_SECONDS and len(ours) < MOST_ROUNDS):
        for batch in batches:
            # Who goes first alternates: the second of a pair finds the batch in the CPU's caches.
            pair = ((int8, ours), (float32, theirs))
            for model, costs in pair if len(ours) % 2 == 0 else reversed(pair):
                costs.append(adapter.measure(model, batch))
            spent += ours[-1].seconds + theirs[-1].seconds
    return _median(ours), _median(theirs)


def _median(costs: Sequence[Measurement]) -> Measurement:
    """The median of the times; the most of the sizes, since activations grow with the batch."""
    return Measurement(
        seconds=statistics.median(cost.seconds for cost in costs),
        bytes=max(cost.bytes for cost in costs),
        activation_bytes=max(cost.activation_bytes for cost in costs),
    )
