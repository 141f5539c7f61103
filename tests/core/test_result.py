"""Records of a run: one a trial, the latest."""

from __future__ import annotations

from ilit.recipe import Recipe
from ilit.result import TrialRecord, with_record

FIRST, SECOND = TrialRecord(1, Recipe(), "pruned", 0.8), TrialRecord(2, Recipe(), "missed", 0.7)


def test_a_new_trial_comes_last() -> None:
    """Records stay in the order of their trials."""
    assert with_record((FIRST,), SECOND) == (FIRST, SECOND)


def test_a_later_record_takes_the_place_of_the_earlier() -> None:
    """A completed evaluation replaces the pruned one where that was."""
    completed = TrialRecord(1, Recipe(), "missed", 0.75)
    assert with_record((FIRST, SECOND), completed) == (completed, SECOND)
