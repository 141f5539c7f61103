"""How figures are written: bounds are told as bounds, and nothing is rounded in our favour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ilit.adapter import Cpu
from ilit.evidence.record import Evidence
from ilit.recipe import Recipe
from ilit.report.wording import (
    drop,
    evaluation_rows,
    flips,
    left_in_float,
    miss_message,
    pruned,
    score,
    score_in_full,
)
from ilit.result import TrialRecord, TuneResult

PASSED = TrialRecord(1, Recipe(), "passed", 0.87, rows=1725)
PRUNED = TrialRecord(2, Recipe(), "pruned", 0.8612, rows=512)
FAILED = TrialRecord(3, Recipe(), "failed", reason="engine: no")
FOUND = Evidence(1725, 12, 15, 0.7011, 0.00174, 0.00866, 0.95, 0.01, "tango", 2)

SCORES = {
    "complete": (PASSED, True, 1725, "0.8700", ""),
    "pruned": (PRUNED, True, 1725, "at most 0.8612", "pruned after 512 of 1725 rows"),
    "lower is better": (PRUNED, False, 1725, "at least 0.8612", "pruned after 512 of 1725 rows"),
    "all rows unknown": (PRUNED, True, None, "at most 0.8612", "pruned after 512 rows"),
    "rows unknown": (replace(PRUNED, rows=0), True, None, "at most 0.8612", "pruned"),
    "failed": (FAILED, True, 1725, "", ""),
}


@pytest.mark.parametrize(("trial", "higher", "rows", "short", "stopped"), SCORES.values(), ids=SCORES)
def test_a_score_says_what_it_is(trial: TrialRecord, higher: bool, rows: int | None, short: str, stopped: str) -> None:
    """A pruned trial's accuracy is a bound, and after how many rows it was certain."""
    assert (score(trial, higher), pruned(trial, rows)) == (short, stopped)


def test_a_score_in_full_has_both() -> None:
    """In one text."""
    assert score_in_full(PASSED, True) == "0.8700"
    assert score_in_full(PRUNED, True) == "at most 0.8612 (pruned after 512 rows)"


@pytest.mark.parametrize(
    ("trials", "rows"),
    [([PASSED, PRUNED], 1725), ([PRUNED, FAILED], None), ([], None)],
    ids=["one complete", "none complete", "none"],
)
def test_rows_are_those_of_a_complete_evaluation(trials: list[TrialRecord], rows: int | None) -> None:
    """What a pruned trial saw says nothing of how many rows there are."""
    assert evaluation_rows(trials) == rows


@pytest.mark.parametrize(
    ("left", "lines"),
    [
        ({}, []),
        ({"a.b": "forward was\nreplaced", "c": "its weight is shared"},
         ["a.b stays in float: forward was replaced", "c stays in float: its weight is shared"]),
        ({"": "no form"}, ["the model itself stays in float: no form"]),
        (dict.fromkeys("abc", "no form"), [f"{name} stays in float: no form" for name in "abc"]),
        ({**dict.fromkeys("abcd", "no form"), "e": "hook"},
         ["4 modules stay in float: no form: a, b, c, d", "e stays in float: hook"]),
    ],
    ids=["none", "reasons", "the model", "a few alike", "many alike"],
)  # fmt: skip
def test_what_stays_in_float_is_named_with_its_reason(left: dict[str, str], lines: list[str]) -> None:
    """A line each; many for one reason share one, and not a name is left out."""
    assert left_in_float(left) == lines


DROPS = {
    "relative": (0.00866, True, "0.87 %"),
    "relative, exact": (0.01, True, "1.00 %"),
    "relative, up to the next step": (0.010001, True, "1.01 %"),
    "relative, better": (-0.00129, True, "-0.12 %"),
    "relative, a quotient": ((0.9 - 0.891) / 0.9, True, "1.00 %"),
    "absolute": (0.008661, False, "0.00867"),
    "absolute, large": (12.34, False, "12.4"),
    "none": (0.0, False, "0"),
}


@pytest.mark.parametrize(("value", "relative", "text"), DROPS.values(), ids=DROPS)
def test_drops_are_rounded_up(value: float, relative: bool, text: str) -> None:
    """No less is lost than is said, whatever the metric's unit."""
    assert drop(value, relative) == text


def test_flips_are_counted_in_units() -> None:
    """Rows or what else the metric's units are; nothing where answers are not simply right or wrong."""
    assert flips(FOUND) == "12 rows fixed, 15 broken of 1725, McNemar p 0.7"
    assert flips(replace(FOUND, unit="units")).startswith("12 units fixed")
    assert flips(replace(FOUND, gained=None, lost=None, p_value=None)) == ""


def missed(folder: Path, closest: TrialRecord | None) -> TuneResult:
    """Return the result of a run that accepted nothing."""
    return TuneResult(
        met=False, reason="no more recipes", metric="f1", baseline=0.9, target=0.891, best=None, closest=closest,
        trials=(FAILED,), front=(), probes=0, evaluations=1, seconds=1.0, cpu=Cpu("", "", "V", 1), folder=folder,
        criterion="1 % relative of 0.9000: at least 0.8910",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("closest", "saved", "end"),
    [
        pytest.param(
            replace(PASSED, status="missed"), True,
            "the closest, trial 1, scores 0.8700; it is saved in {folder}/closest: get it by ilit.load or "
            "on_miss='closest'", id="saved",
        ),
        pytest.param(
            replace(PASSED, status="missed"), False,
            "the closest, trial 1, scores 0.8700; it is not saved: get it by on_miss='closest'", id="not saved",
        ),
        pytest.param(
            PRUNED, False,
            "the closest, trial 2, scores at most 0.8612 (pruned after 512 rows); it is not saved: get it by "
            "on_miss='closest'", id="pruned",
        ),
        pytest.param(
            None, False, "none could be evaluated; the first failed with: engine: no; see {folder}/log.txt", id="none"
        ),
    ],
)  # fmt: skip
def test_a_miss_says_how_near_the_closest_came(
    tmp_path: Path, closest: TrialRecord | None, saved: bool, end: str
) -> None:
    """And how to get its model, by a folder only where there is one; where nothing was evaluated, the first reason."""
    if saved:
        (tmp_path / "closest").mkdir()
    result = missed(tmp_path, closest)
    start = "no recipe met f1 1 % relative of 0.9000: at least 0.8910 (no more recipes); "
    assert miss_message(result) == start + end.format(folder=tmp_path)


def test_a_recipe_that_is_objected_to_is_no_miss_of_the_criterion(tmp_path: Path) -> None:
    """It met the criterion, so the message says that none was accepted, and why."""
    closest = replace(PASSED, accuracy=0.895, objection="performance: INT8 costs 2 s, float32 1 s")
    assert miss_message(missed(tmp_path, closest)) == (
        "no recipe was accepted: the closest, trial 1, scores 0.8950 and meets f1 1 % relative of 0.9000: at least "
        "0.8910, but performance: INT8 costs 2 s, float32 1 s (no more recipes); it is not saved: get it by "
        "on_miss='closest'"
    )
