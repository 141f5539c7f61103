"""Lines of older journals as the present format has them.

* Version 1: a probe's line told its kind by the flags ``per_op`` and ``timed``, and held every kind's figures; what was
  against a passed recipe stood in ``reason``; rows gained and lost in the evidence were ``fixed`` and ``broken``,
  comparisons ``looks``.
* Version 2: a probe's line holds the figures of its kind alone; what is against a passed recipe is ``objection``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Line = Mapping[str, Any]
"""One line as JSON, without its checksum."""


def upgraded(record: Line, version: int, present: int) -> Line:
    """Return a line of format version ``version`` as version ``present`` has it.

    Raises:
        KeyError: the line lacks what its kind needs.
    """
    for older in range(version, present):
        for change in _CHANGES[older]:
            record = change(record)
    return record


def _probe_of_one_kind(record: Line) -> Line:
    """Put one kind with its figures in the place of flags and all kinds' figures; ``timed`` won over ``per_op``."""
    if record["kind"] != "probe":
        return record
    figures: dict[str, Any] = {"kind": "distance", "distance": record["distance"]}
    if record["per_op"]:
        figures = {"kind": "op_errors", "errors": record["ops"]}
    if record.get("timed", False):
        figures = {"kind": "op_speeds", "speedups": record["speedups"]}
    place = {name: record[name] for name in ("n", "kind", "request", "digest", "why")}
    return {**place, "probe": {**figures, "reason": record["reason"]}}


def _objection_of_its_own(record: Line) -> Line:
    """Put what was against a passed recipe into ``objection``, and leave ``reason`` to failures."""
    if record["kind"] != "trial":
        return record
    trial = record["trial"]
    passed = trial["status"] == "passed"
    parts = ("", trial["reason"] or None) if passed else (trial["reason"], None)
    return {**record, "trial": {**trial, "reason": parts[0], "objection": parts[1]}}


def _evidence_by_present_names(record: Line) -> Line:
    """Put ``gained``, ``lost`` and ``comparisons`` in the place of ``fixed``, ``broken`` and ``looks``."""
    if record["kind"] != "trial" or record["trial"].get("evidence") is None:
        return record
    present = {"fixed": "gained", "broken": "lost", "looks": "comparisons"}
    evidence = {present.get(name, name): value for name, value in record["trial"]["evidence"].items()}
    return {**record, "trial": {**record["trial"], "evidence": evidence}}


_CHANGES: Mapping[int, tuple[Callable[[Line], Line], ...]] = {
    1: (_probe_of_one_kind, _objection_of_its_own, _evidence_by_present_names)
}
"""Format version -> the steps, in order, that turn one of its lines into one of the next version."""
