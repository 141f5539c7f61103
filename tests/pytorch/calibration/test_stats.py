"""What one calibration pass notes of activations, batch by batch."""

from __future__ import annotations

import torch

from ilit_pytorch.calibration.stats import SAMPLE_INDICES, CalibrationStats, Intake
from ilit_pytorch.model.padding import Padding

X = torch.tensor([[1.0, -2.0], [3.0, 4.0]])


def test_channels_are_noted_where_an_axis_is_given() -> None:
    """Range and histogram of all values in any case."""
    seen = CalibrationStats()
    seen.take("op:in", X, -1)
    seen.take("op:out", X, None)
    assert {name: (one.low, one.high, int(one.counts.sum())) for name, one in seen.stats.items()} == {
        "op:in": (-2.0, 4.0, 4), "op:out": (-2.0, 4.0, 4),
    }  # fmt: skip
    assert {name: (one.low.tolist(), one.high.tolist()) for name, one in seen.channels.items()} == {
        "op:in": ([1.0, -2.0], [3.0, 4.0])
    }


def test_a_histogram_costs_nothing_where_nobody_asks_for_it() -> None:
    """The range is noted all the same."""
    seen = CalibrationStats(intake=Intake(histogram=False))
    seen.take("op:in", X, -1)
    assert (seen.stats["op:in"].high, int(seen.stats["op:in"].counts.sum())) == (4.0, 0)


def test_padding_is_left_out() -> None:
    """Of values, channels and indices; an activation of nothing but padding has not been seen."""
    padding = Padding({(2, 2): torch.tensor([0, 3])})
    seen = CalibrationStats(intake=Intake(padding=padding))
    seen.take("op:in", torch.tensor([[[1.0], [100.0]], [[100.0], [2.0]]]), -1)
    seen.take_indices("embed", torch.tensor([[5, 0], [0, 6]]))
    assert (seen.stats["op:in"].low, seen.stats["op:in"].high) == (1.0, 2.0)
    assert seen.indices["embed"].tolist() == [5, 6]
    seen.intake.padding = Padding({(2, 2): torch.tensor([], dtype=torch.int64)})
    seen.take("other:in", torch.ones(2, 2, 1), -1)
    assert "other:in" not in seen.stats | seen.channels


def test_indices_are_those_looked_up_first() -> None:
    """Up to a bound; later batches add none."""
    seen = CalibrationStats()
    seen.take_indices("embed", torch.arange(SAMPLE_INDICES + 5)[None])
    seen.take_indices("embed", torch.zeros(1, 3, dtype=torch.int64))
    assert torch.equal(seen.indices["embed"], torch.arange(SAMPLE_INDICES))


def test_a_snapshot_is_not_changed_by_later_batches() -> None:
    """The sizes of calibration are snapshots of one pass."""
    seen = CalibrationStats()
    seen.take("op:in", X, -1)
    early = seen.snapshot()
    seen.take("op:in", 10 * X, -1)
    seen.take("late:in", X, -1)
    assert (early.stats["op:in"].high, early.channels["op:in"].high.tolist()) == (4.0, [3.0, 4.0])
    assert set(early.stats) == {"op:in"}


def test_only_what_is_unknown_is_borrowed_from_a_longer_pass() -> None:
    """What a short one has seen stays its own."""
    short, longer = CalibrationStats(), CalibrationStats()
    short.take("op:in", X, -1)
    for name in ("op:in", "late:in"):
        longer.take(name, 10 * X, -1)
    short.borrow(longer)
    assert {name: one.high for name, one in short.stats.items()} == {"op:in": 4.0, "late:in": 40.0}
    assert set(short.channels) == {"op:in", "late:in"}
