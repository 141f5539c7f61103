"""The verdict in words: what the evidence proves of a drop, and the warning where it can prove too little."""

from __future__ import annotations

import math

from ilit.criterion import Criterion
from ilit.evidence.record import Evidence


def sentence(found: Evidence) -> str:
    """Return the verdict in plain words, without a full stop.

    Bounds are rounded up to two figures, so that no more is said than was shown. Relative drops are in percent of the
    baseline, absolute ones in the metric's own unit.
    """
    sure = f"with {found.confidence * 100:g} % confidence"
    if found.settled:
        # Rounding up must not carry a bound past the tolerance that it keeps.
        shown = min(_two_figures(found.bound), found.tolerance)
        verdict = (
            f"the drop is at most {_amount(found, shown)} {sure}"
            if shown >= 0
            else f"no drop: INT8 is better by at least {_amount(found, -shown)} {sure}"
        )
    else:
        bound = f"may be up to {_amount(found, _two_figures(found.bound))} {sure}"
        if found.units_needed is None:
            verdict = f"the drop seen is {_amount(found, found.drop)}, {_against(found)}, and it {bound}"
        else:
            verdict = f"cannot tell: the drop {bound}; about {found.units_needed:,} more {found.unit} would settle it"
    return f"{verdict} ({_details(found)})"


def resolution_warning(criterion: Criterion, baseline: float, units: int, all_right: float = 1.0) -> str:
    """Return a warning where the units are too few to show that the tolerance is kept, else an empty string.

    By the rule of three: where none of n units broke, up to 3 / n may still break, with 95 % confidence.

    Args:
        criterion: what may be lost, of a metric that is or resembles a share of right units.
        baseline: the float32 model's score.
        units: evaluation rows, or whatever the metric's units are.
        all_right: what the metric gives where all units are right.
    """
    allowed = criterion.tolerance * (abs(baseline) if criterion.kind == "relative" else 1.0) / all_right * units
    if allowed >= 3 or not criterion.higher_is_better:
        return ""
    named = f"{criterion.tolerance * 100:g} % relative" if criterion.kind == "relative" else f"{criterion.tolerance:g}"
    return (
        f"tuning.accuracy_criterion: {named} of {units} evaluation rows is {_rows(allowed)}, so a verdict hangs on "
        "single rows, and even an INT8 model that answers all of them alike is not proven to keep it; evaluate on more "
        "rows or tolerate more"
    )


def _rows(count: float) -> str:
    text = f"{count:.1f}".removesuffix(".0")
    return f"{text} row" if text == "1" else f"{text} rows"


def _details(found: Evidence) -> str:
    parts = []
    if found.gained is not None and found.lost is not None and found.p_value is not None:
        p = f"{found.p_value:.2f}" if found.p_value >= 0.01 else f"{found.p_value:.1g}"
        p = p if found.p_value >= 1e-4 else "below 0.0001"
        unit = found.unit.removesuffix("s") if found.gained == 1 else found.unit
        parts.append(f"{found.gained} {unit} fixed, {found.lost} broken of {found.units}, McNemar p {p}")
    else:
        parts.append(f"{found.units} {found.unit}")
    if found.holdout:
        parts.append("on the holdout")
    else:
        tried = "1 recipe" if found.comparisons == 1 else f"{found.comparisons} recipes"
        parts.append(f"corrected for {tried} tried")
    return "; ".join(parts)


def _against(found: Evidence) -> str:
    relation = "above" if found.drop > found.tolerance else "just"
    return f"{relation} the tolerance of {_amount(found, found.tolerance)}"


def _amount(found: Evidence, value: float) -> str:
    return f"{value * 100:.3g} %" if found.relative else f"{value:.3g}"


def _two_figures(value: float) -> float:
    """Return ``value`` rounded up to two figures."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return math.ceil(value / step - 1e-9) * step
