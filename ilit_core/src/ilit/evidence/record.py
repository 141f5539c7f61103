"""The evidence of paired predictions about a recipe: how far the float32 model's accuracy may have dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Evidence:
    """A recipe compared with the float32 model unit by unit (a unit is mostly a row).

    Drops are in the criterion's own unit: a share of the baseline where it is relative, else the metric's unit;
    positive is worse than float32, whatever the metric's direction.

    Attributes:
        units: units compared.
        gained: units wrong in float32 and right in INT8; None where predictions are scores, not classes.
        lost: units right in float32 and wrong in INT8; None likewise.
        p_value: McNemar's exact two-sided p of ``gained`` against ``lost``; None where those are.
        drop: the drop seen.
        bound: the one-sided upper bound of the true drop.
        confidence: of the bound, after every correction: what the verdict states, such as 0.95.
        tolerance: the drop that the criterion allows.
        method: ``tango`` (score interval for paired proportions) or ``bootstrap`` (paired, of the whole metric).
        comparisons: the index j of this comparison in the order in which the search's trials were begun. The allowed
            error is spent by alpha spending: the j-th bound may spend 1 / (j * (j + 1)) of it. A pruned trial that
            is completed later retains its j. 1 on the holdout.
        holdout: the units were held out from the search.
        units_needed: about how many more units would settle it, did the drop stay as seen; 0 where it is settled, None
            where no number would (the drop seen is not below the tolerance).
        relative: drops are shares of the baseline; False where they are in the metric's own unit.
        unit: what the units are, for messages: ``rows``, or ``units`` where they are something else.
    """

    units: int
    gained: int | None
    lost: int | None
    p_value: float | None
    drop: float
    bound: float
    confidence: float
    tolerance: float
    method: Literal["tango", "bootstrap"]
    comparisons: int
    holdout: bool = False
    units_needed: int | None = 0
    relative: bool = True
    unit: str = "rows"

    @property
    def settled(self) -> bool:
        """True where the bound is within the tolerance."""
        return self.bound <= self.tolerance
