"""The verdict is said in plain words, and never says more than was shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ilit.criterion import Criterion
from ilit.evidence.record import Evidence
from ilit.report.verdict import resolution_warning, sentence

FOUND = Evidence(1725, 12, 15, 0.7011, 0.002, 0.00862, 0.95, 0.01, "tango", 2)
FLIPS = " (12 rows fixed, 15 broken of 1725, McNemar p 0.70; corrected for 2 recipes tried)"
TRIED = "corrected for 2 recipes tried"
SENTENCES = {
    "settled": (
        {},
        "the drop is at most 0.87 % with 95 % confidence" + FLIPS,
    ),
    "settled, rounded up no further than the tolerance": (
        {"bound": 0.01013, "tolerance": 0.0102, "comparisons": 1, "p_value": 0.0004},
        "the drop is at most 1.02 % with 95 % confidence"
        + FLIPS.replace("0.70", "0.0004").replace("2 recipes", "1 recipe"),
    ),
    "hardly by chance": (
        {"gained": 1, "p_value": 1e-12, "holdout": True},
        "the drop is at most 0.87 % with 95 % confidence"
        + FLIPS.replace("12 rows", "1 row").replace("0.70", "below 0.0001").replace(TRIED, "on the holdout"),
    ),
    "better": (
        {"drop": -0.02, "bound": -0.00317},
        "no drop: INT8 is better by at least 0.31 % with 95 % confidence" + FLIPS,
    ),
    "open": (
        {"bound": 0.01207, "units_needed": 900},
        "cannot tell: the drop may be up to 1.3 % with 95 % confidence; about 900 more rows would settle it" + FLIPS,
    ),
    "missed": (
        {"drop": 0.0142, "bound": 0.0231, "units_needed": None},
        "the drop seen is 1.42 %, above the tolerance of 1 %, and it may be up to 2.4 % with 95 % confidence" + FLIPS,
    ),
    "just": (
        {"drop": 0.01, "bound": 0.02, "units_needed": None},
        "the drop seen is 1 %, just the tolerance of 1 %, and it may be up to 2 % with 95 % confidence" + FLIPS,
    ),
    "holdout of scores, absolute": (
        {"gained": None, "lost": None, "p_value": None, "relative": False, "unit": "units", "holdout": True,
         "bound": 0.4321, "tolerance": 0.5, "confidence": 0.9},
        "the drop is at most 0.44 with 90 % confidence (1725 units; on the holdout)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SENTENCES)
def test_the_verdict_is_a_sentence(name: str) -> None:
    """What was shown, how sure it is, from what, corrected for what; never more than was shown."""
    changes, words = SENTENCES[name]
    assert sentence(replace(FOUND, **changes)) == words


WARNINGS: dict[str, tuple[Criterion, float, int, str]] = {
    "relative": (
        Criterion("relative", 0.01), 0.704, 277,
        "tuning.accuracy_criterion: 1 % relative of 277 evaluation rows is 2 rows, so a verdict hangs on single rows",
    ),
    "absolute": (Criterion("absolute", 0.01), 0.9, 100, "accuracy_criterion: 0.01 of 100 evaluation rows is 1 row,"),
    "enough": (Criterion("relative", 0.01), 0.87, 1725, ""),
    "errors are no shares": (Criterion("relative", 0.01, higher_is_better=False), 0.02, 50, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_too_few_rows_are_warned_of(name: str) -> None:
    """A tolerance worth fewer than three rows is said to be beyond what they can show, in one line."""
    criterion, baseline, units, text = WARNINGS[name]
    found = resolution_warning(criterion, baseline, units)
    assert text in found
    assert bool(found) == bool(text)
    assert len(found.splitlines()) == bool(text)


def test_a_metric_in_percent_has_its_whole() -> None:
    """Where all right is 100, a tolerance of 1 % of 80 on 277 questions is two of them."""
    assert not resolution_warning(Criterion(), 80.0, 277)
    assert "is 2.2 rows" in resolution_warning(Criterion(), 80.0, 277, all_right=100.0)
