"""How a trial's figures are written for people and programs: its score, its drop and what that proves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ilit.evidence.record import Evidence
from ilit.report.verdict import sentence
from ilit.result import TrialRecord

MOST_LINES = 3


def evaluation_rows(trials: Iterable[TrialRecord]) -> int | None:
    """Return how many rows a complete evaluation had, as far as the trials tell; else None."""
    return max((trial.rows for trial in trials if trial.status in ("passed", "missed")), default=0) or None


def score(trial: TrialRecord, higher_is_better: bool) -> str:
    """Return a trial's accuracy: ``0.8612``, ``at most 0.8612`` where it was pruned, empty where it has none."""
    if trial.accuracy is None:
        return ""
    if trial.status != "pruned":
        return f"{trial.accuracy:.4f}"
    return f"{'at most' if higher_is_better else 'at least'} {trial.accuracy:.4f}"


def pruned(trial: TrialRecord, rows: int | None = None) -> str:
    """Return where a trial was stopped, ``pruned after 512 of 1725 rows``; empty where it was not.

    Args:
        trial: its record.
        rows: of a complete evaluation, where that is known.
    """
    if trial.status != "pruned":
        return ""
    seen = f"{trial.rows} of {rows}" if rows and rows > trial.rows else str(trial.rows)
    return f"pruned after {seen} rows" if trial.rows else "pruned"


def score_in_full(trial: TrialRecord, higher_is_better: bool, rows: int | None = None) -> str:
    """Return the score, and where pruned also after how many rows: ``at most 0.8612 (pruned after 512 of 1725 rows)``.

    Args:
        trial: its record.
        higher_is_better: the metric's direction.
        rows: of a complete evaluation, where that is known.
    """
    stopped = pruned(trial, rows)
    return score(trial, higher_is_better) + (f" ({stopped})" if stopped else "")


def drop(value: float, relative: bool) -> str:
    """Return a drop, rounded up, so that no less is said than was found: ``0.87 %`` of float32's score, or ``0.00862``.

    Args:
        value: a share of the baseline where ``relative``, else in the metric's unit.
        relative: the criterion is.
    """
    step = 1e-4 if relative else 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 1.0
    # A quotient's last digits are rounding errors of its own, and must not carry it up a step.
    up = math.ceil(round(value / step, 6)) * step
    return f"{up * 100:.2f} %" if relative else f"{up:.3g}"


def left_in_float(left: Mapping[str, str]) -> list[str]:
    """Return what stays in float though its kind can be quantized, in lines: ``a.b stays in float: patched forward``.

    A line has one module, or where more than ``MOST_LINES`` share a reason, all of these.

    Args:
        left: module path -> why, as ``SearchSpace.left_in_float``.
    """
    by_reason: dict[str, list[str]] = {}
    for path, reason in left.items():
        by_reason.setdefault(" ".join(reason.split()), []).append(path or "the model itself")
    lines = []
    for reason, paths in by_reason.items():
        if len(paths) <= MOST_LINES:
            lines += [f"{path} stays in float: {reason}" for path in paths]
        else:
            lines.append(f"{len(paths)} modules stay in float: {reason}: {', '.join(paths)}")
    return lines


def flips(found: Evidence) -> str:
    """Return what changed against float32: ``12 rows fixed, 15 broken of 1725, McNemar p 0.7``; empty if unknown."""
    if found.gained is None or found.lost is None or found.p_value is None:
        return ""
    changed = f"{found.gained} {found.unit} fixed, {found.lost} broken of {found.units}"
    return f"{changed}, McNemar p {found.p_value:.2g}"


def verdict(found: Evidence | None) -> str:
    """Return what the evidence proves, in a sentence without a full stop; empty where there is none."""
    return sentence(found) if found else ""


def evidence_fields(trial: TrialRecord | None, found: Evidence | None) -> dict[str, Any]:
    """Return what is known of a trial's drop as plain values, None where it is not known.

    The keys are ``drop`` and ``drop_bound`` (shares of the baseline where the criterion is relative, else the metric's
    unit), ``confidence`` of the bound, ``fixed`` and ``broken`` (units against float32), ``rows`` that were compared
    or, where none were, evaluated, and ``verdict``, the sentence.
    """
    rows = found.units if found else trial.rows if trial else 0
    return {
        "drop": found and found.drop,
        "drop_bound": found and found.bound,
        "confidence": found and found.confidence,
        "fixed": found and found.gained,
        "broken": found and found.lost,
        "rows": rows or None,
        "verdict": verdict(found) or None,
    }
