"""Lines of older journals read as the present ones."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ilit.run.journal import read_journal, trial_to_json
from ilit.run.records import Journal, Probed, Tried
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpSpeedOutcome, Status

DATA = Path(__file__).parents[2] / "data"
OLD = read_journal(DATA / "journal-v1.jsonl")  # to which values it reads, ``test_journal.py`` says
PASSED = next(entry.record for entry in OLD.entries if isinstance(entry, Tried) and entry.record.status == "passed")
RECIPE = PASSED.recipe


@pytest.mark.parametrize(
    ("status", "reason", "objection"),
    [
        pytest.param("passed", "", None, id="accepted"),
        pytest.param("passed", "performance: slower", "performance: slower", id="objected to"),
        pytest.param("missed", "", None, id="missed"),
        pytest.param("failed", "engine: no", None, id="failed"),
    ],
)
def test_a_trial_of_version_1_has_its_objection_in_the_reason(
    tmp_path: Path, status: Status, reason: str, objection: str | None
) -> None:
    """It is read as written today: what was against a passed recipe is its objection, no failure's reason."""
    today = replace(PASSED, status=status, reason="" if objection else reason, objection=objection)
    trial = {name: value for name, value in trial_to_json(today).items() if name != "objection"}
    line = {"n": 1, "kind": "trial", "request": 1, "trial": {**trial, "reason": reason}}
    header = (DATA / "journal-v1.jsonl").read_text(encoding="utf-8").splitlines()[0]
    canonical = partial(json.dumps, sort_keys=True, separators=(",", ":"))
    checksum = hashlib.sha256(canonical(line).encode()).hexdigest()
    file = tmp_path / "journal.jsonl"
    file.write_text(f"{header}\n{canonical({**line, 'sha256': checksum})}\n", encoding="utf-8")
    assert read_journal(file).entries == (Tried(1, today),)


def test_older_names_of_the_evidence_are_read() -> None:
    """The run in tests/data was written when rows gained and lost were "fixed" and "broken", comparisons "looks"."""
    journal = read_journal(DATA / "run-v1" / "journal.jsonl")
    found = [entry.record.evidence for entry in journal.entries if isinstance(entry, Tried)]
    assert [(one.gained, one.lost, one.comparisons, one.units) for one in found if one] == [
        (1, 50, 1, 256),
        (1, 50, 2, 256),
        (1, 50, 3, 256),
    ]


def test_the_probes_of_version_1_are_of_one_kind_each() -> None:
    """Its flags say which figures of a line were asked for; a probe with both flags was timed."""
    why, failed = ("how far", "how wrong", "how fast", "both asked"), "engine: no"
    outcomes = (
        (DistanceOutcome(0.25), why[0]),
        (DistanceOutcome(math.inf, failed), ""),
        (OpErrorOutcome({"a": 0.125, "b": math.inf}), why[1]),
        (OpErrorOutcome({}, failed), ""),
        (OpSpeedOutcome({"a": 1.5}), why[2]),
        (OpSpeedOutcome({}, failed), ""),
        (OpSpeedOutcome({"a": 0.5}), why[3]),
    )
    probes = tuple(Probed(number, RECIPE.digest, *each) for number, each in enumerate(outcomes, 1))
    header = replace(OLD.header, left_in_float={"layer1": "its forward was replaced"})
    assert read_journal(DATA / "journal-v1-probes.jsonl") == Journal(header, probes)
