"""The wording of a run's figures: a trial's score, drop and flips, the modules left in float, and a miss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ilit.evidence.record import Evidence
from ilit.result import TrialRecord, TuneResult
from ilit.run.folder import CLOSEST, LOG

MOST_LINES = 3


def evaluation_rows(trials: Iterable[TrialRecord]) -> int | None:
    """Return the number of rows of a complete evaluation, None where no trial was evaluated to its end."""
    return max((trial.rows for trial in trials if trial.status in ("passed", "missed")), default=0) or None


def score(trial: TrialRecord, higher_is_better: bool) -> str:
    """Return a trial's accuracy: ``0.8612``, ``at most 0.8612`` where it was pruned, empty where it has none."""
    if trial.accuracy is None:
        return ""
    if trial.status != "pruned":
        return f"{trial.accuracy:.4f}"
    return f"{'at most' if higher_is_better else 'at least'} {trial.accuracy:.4f}"


def pruned(trial: TrialRecord, rows: int | None = None) -> str:
    """Return the end of a pruned evaluation, ``pruned after 512 of 1725 rows``; else empty.

    Args:
        trial: its record.
        rows: of a complete evaluation, where that is known.
    """
    if trial.status != "pruned":
        return ""
    seen = f"{trial.rows} of {rows}" if rows and rows > trial.rows else str(trial.rows)
    return f"pruned after {seen} rows" if trial.rows else "pruned"


def score_in_full(trial: TrialRecord, higher_is_better: bool) -> str:
    """Return the score, where pruned with the end of the evaluation: ``at most 0.8612 (pruned after 512 rows)``."""
    stopped = pruned(trial)
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
    """Return a line for each module that stays in float though its kind can be quantized, with the reason.

    ``a.b stays in float: patched forward``; where more than ``MOST_LINES`` share a reason, one line has all of these.

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
    """Return the flips against float32: ``12 rows fixed, 15 broken of 1725, McNemar p 0.7``; empty if unknown."""
    if found.gained is None or found.lost is None or found.p_value is None:
        return ""
    changed = f"{found.gained} {found.unit} fixed, {found.lost} broken of {found.units}"
    return f"{changed}, McNemar p {found.p_value:.2g}"


def miss_message(result: TuneResult) -> str:
    """Return a line for a run that accepted nothing: the criterion, the closest recipe, and how to get its model.

    Where recipes met the criterion, it says what the objective objects to in the closest of them.
    """
    closest, asked = result.closest, f"{result.metric} {result.criterion}"
    if closest is None:
        failed = [record.reason for record in result.trials if record.reason]
        why = f"; the first failed with: {failed[0]}" if failed else ""
        return f"no recipe met {asked} ({result.reason}); none could be evaluated{why}; see {result.folder / LOG}"
    scores = f"the closest, trial {closest.number}, scores {score_in_full(closest, result.higher_is_better)}"
    if closest.status == "passed":
        told = f"no recipe was accepted: {scores} and meets {asked}, but {closest.objection} ({result.reason})"
    else:
        told = f"no recipe met {asked} ({result.reason}); {scores}"
    saved = (result.folder / CLOSEST).is_dir()
    where = f"is saved in {result.folder / CLOSEST}: get it by ilit.load or" if saved else "is not saved: get it by"
    return f"{told}; it {where} on_miss='closest'"
