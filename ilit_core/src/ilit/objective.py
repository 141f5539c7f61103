"""Which of the recipes that meet the criterion is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ilit.adapter import Measurement

__all__ = ["FOOTPRINT", "MODEL_SIZE", "PERFORMANCE", "Objective"]


@dataclass(frozen=True)
class Objective:
    """A cost to be as small as possible.

    Attributes:
        name: the name used in ``tuning.objective``.
        unit: the cost's unit, for tables.
        cost: a forward pass's measurement -> the cost.
        must_beat_float: a recipe that costs more than the float32 model in the same interleaved measurement is never
            ``best``.
    """

    name: str
    unit: str
    cost: Callable[[Measurement], float]
    must_beat_float: bool = False

    def objection(self, int8: Measurement, float32: Measurement) -> str | None:
        """Return the reason why a recipe that passed cannot be ``best``; None where it can."""
        ours, theirs = self.cost(int8), self.cost(float32)
        if self.must_beat_float and ours > theirs:
            return f"{self.name}: INT8 costs {ours:.4g} {self.unit}, float32 {theirs:.4g} {self.unit}"
        return None


PERFORMANCE = Objective("performance", "s", lambda m: m.seconds, must_beat_float=True)
FOOTPRINT = Objective("footprint", "bytes", lambda m: float(m.bytes + m.activation_bytes), must_beat_float=True)
MODEL_SIZE = Objective("modelsize", "bytes", lambda m: float(m.bytes), must_beat_float=True)
