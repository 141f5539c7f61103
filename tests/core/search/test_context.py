"""The parts of a context: what passes, how much time is left, and the float model's answers on some rows."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from ilit.criterion import Criterion
from ilit.evaluation.scoring import FunctionScorer, Score
from ilit.objective import PERFORMANCE
from ilit.search.context import Assessment, Holdout, Models, Reference, RunClock, RunContext
from ilit.strategy import Baseline
from ilit.testing import FakeAccuracy


@pytest.mark.parametrize("part", [RunContext, Models, Assessment, RunClock, Reference, Holdout])
def test_nothing_of_a_context_can_be_set(part: Any) -> None:
    """Every part is frozen, and none has a list that a trial could write into."""
    assert is_dataclass(part)
    with pytest.raises(FrozenInstanceError):
        part.__setattr__(object.__new__(part), fields(part)[0].name, None)
    assert not any(str(field.type).startswith(("list", "dict", "set")) for field in fields(part))


@pytest.mark.parametrize(
    ("score", "higher_is_better", "passes"),
    [
        pytest.param(Score(0.87), True, False, id="below"),
        pytest.param(Score(0.88), True, True, id="within"),
        pytest.param(Score(0.95, complete=False), True, False, id="a bound only"),
        pytest.param(Score(0.90, complete=True), False, True, id="lower is better, within"),
        pytest.param(Score(0.92, complete=True), False, False, id="lower is better, beyond"),
    ],
)
def test_a_score_passes_once_it_is_complete(score: Score, higher_is_better: bool, passes: bool) -> None:
    """An evaluation that was stopped has a bound, which proves no pass."""
    criterion = Criterion("absolute", 0.015, higher_is_better)
    baseline = Baseline(0.89, criterion.target(0.89), higher_is_better)
    assessment = Assessment(FunctionScorer(lambda model: 0.0), criterion, baseline, PERFORMANCE, ())
    assert assessment.passes(score) is passes


@pytest.mark.parametrize(
    ("deadline", "left", "expired"),
    [(math.inf, math.inf, False), (12.0, 2.0, False), (10.0, 0.0, True), (9.0, -1.0, True)],
    ids=["none", "before", "at", "after"],
)
def test_time_is_up_at_the_deadline(deadline: float, left: float, expired: bool) -> None:
    """At 10 seconds on the clock."""
    clock = RunClock(lambda: 10.0, deadline)
    assert (clock.left(), clock.expired()) == (left, expired)


class Margins(FakeAccuracy):
    """A metric that has seen six rows."""

    def __init__(self, by_row: bool = True, margins: int = 6) -> None:
        super().__init__()
        self.by_row = by_row  # type: ignore[misc]  # a class variable of the metric, another one here
        self.count = margins

    def margins(self) -> Any:
        return np.array([0.5, 0.1, 0.4, 0.2, 0.9, 0.3])[: self.count]


PREDICTIONS, LABELS = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 1, 0, 0, 1, 1])


def reference(metric: Margins | None = None, predictions: Any = PREDICTIONS) -> Reference:
    """Return a reference of six rows, the third and the last of which are wrong."""
    return Reference(metric or Margins(), predictions, LABELS, 4 / 6)


def test_a_part_of_the_rows_has_its_own_score() -> None:
    """Predictions, labels and numbers are those of the rows."""
    part = reference().on([0, 2, 3])
    assert part.score == pytest.approx(2 / 3)
    assert part.units is not None
    assert part.units.tolist() == [0, 2, 3]
    assert part.predictions.tolist() == [0, 2, 0]
    assert part.labels.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("rows", "order"),
    [(None, [5, 2, 1, 3, 0, 4]), ([0, 1, 2], [2, 1, 0]), ([4, 5], [5, 4])],
    ids=["all", "some", "two"],
)
def test_misses_come_first_then_the_unsure(rows: list[int] | None, order: list[int]) -> None:
    """By the loader's numbers: what float32 gets wrong, then by its margin; within each the least margin first."""
    assert reference().misses_first(rows) == order


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(reference(Margins(by_row=False)), id="units are no rows"),
        pytest.param(reference(Margins(margins=3)), id="margins of other rows"),
        pytest.param(reference(predictions=PREDICTIONS.astype(np.float32)), id="scores are not right or wrong"),
        pytest.param(reference().on([0, 1]), id="a part knows no margins"),
    ],
)
def test_there_may_be_no_such_order(without: Reference) -> None:
    """Then evaluations stay in the loader's order."""
    assert without.misses_first() is None
