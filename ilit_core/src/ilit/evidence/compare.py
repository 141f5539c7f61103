"""The evidence about one recipe: the bound that fits the metric, corrected for the comparisons of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ilit.criterion import Criterion
from ilit.evidence.bootstrap import bootstrap_upper
from ilit.evidence.bounds import drop_upper, error_share, mcnemar_p
from ilit.evidence.record import Evidence
from ilit.evidence.units import PairedUnits


@dataclass(frozen=True)
class Claim:
    """The claim under test: a recipe's true drop is within the tolerance.

    Attributes:
        criterion: the tolerance, and whether it is a share of the baseline.
        comparisons: the index j of this comparison in the order in which the search's trials were begun. The allowed
            error is spent by alpha spending: the j-th bound may spend 1 / (j * (j + 1)) of it. A pruned trial that
            is completed later retains its j. 1 on the holdout.
        confidence: that is to hold for all recipes of the search together.
        holdout: the units were held out from the search, so that no correction is due.
    """

    criterion: Criterion
    comparisons: int
    confidence: float = 0.95
    holdout: bool = False

    @property
    def relative(self) -> bool:
        """True where the drop is a share of the baseline."""
        return self.criterion.kind == "relative"

    @property
    def error(self) -> float:
        """The error probability that this one bound may spend."""
        return (1 - self.confidence) * (1.0 if self.holdout else error_share(self.comparisons))


def evidence(units: PairedUnits, claim: Claim, rng_seed: int = 9527) -> Evidence:
    """Return the evidence that paired predictions give about a recipe.

    The bound is Tango's where the metric is a share of right units; a relative drop is then one of the baseline, taken
    as fixed, since its own error enters only times the tolerance. Elsewhere it is a paired bootstrap of the metric.

    Args:
        units: both models' predictions.
        claim: the drop that is to be excluded, and how surely.
        rng_seed: of the bootstrap.

    Raises:
        EvaluationError: the metric has no drop on these units.
    """
    drop, flips = units.drop(claim.relative), units.flips()
    if units.metric.share_of_right and flips is not None:
        method: Literal["tango", "bootstrap"] = "tango"
        bound = _tango_bound(units, flips, claim)
    else:
        method, bound = "bootstrap", _bootstrap_bound(units, claim, rng_seed)
    bound = max(bound, drop)
    gained, lost = flips or (None, None)
    return Evidence(
        units=len(units),
        gained=gained,
        lost=lost,
        p_value=None if flips is None else mcnemar_p(*flips),
        drop=drop,
        bound=bound,
        confidence=claim.confidence,
        tolerance=claim.criterion.tolerance,
        method=method,
        comparisons=claim.comparisons,
        holdout=claim.holdout,
        units_needed=_more_units(len(units), drop, bound, claim.criterion.tolerance),
        relative=claim.relative,
        unit="rows" if units.metric.by_row else "units",
    )


def _tango_bound(units: PairedUnits, flips: tuple[int, int], claim: Claim) -> float:
    scale = abs(units.baseline) if claim.relative else 1.0
    return drop_upper(*flips, len(units), 1 - claim.error) * units.score(units.labels) / scale


def _bootstrap_bound(units: PairedUnits, claim: Claim, rng_seed: int) -> float:
    bound = bootstrap_upper(units, relative=claim.relative, confidence=1 - claim.error, rng_seed=rng_seed)
    if not math.isfinite(bound):
        raise units.undefined_drop()
    return bound


def _more_units(units: int, drop: float, bound: float, tolerance: float) -> int | None:
    """Return the number of further units that bring the bound to the tolerance, to two figures.

    The distance between drop and bound goes as 1 / sqrt(units).
    """
    if bound <= tolerance:
        return 0
    if drop >= tolerance:
        return None
    more = units * ((bound - drop) / (tolerance - drop)) ** 2 - units
    step = int(10 ** max(0, math.floor(math.log10(max(more, 1))) - 1))
    return max(1, math.ceil(more / step)) * step
