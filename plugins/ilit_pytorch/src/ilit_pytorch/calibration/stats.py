"""The statistics of one calibration pass: what was seen of every activation, filled batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ilit_pytorch.model.padding import Padding
from ilit_pytorch.quantization.observers import SAMPLE_ROWS, ActivationStats, ChannelStats

SAMPLE_INDICES = 2048  # of an embedding's input


@dataclass
class Intake:
    """How the activations of the batch at hand are taken.

    Attributes:
        histogram: whether a histogram is filled, beside the range.
        sample_rows: rows of an op's input to sample of each batch.
        batch: the batch's number, from 1.
        padding: what of them is padding.
    """

    histogram: bool = True
    sample_rows: int = SAMPLE_ROWS
    batch: int = 1
    padding: Padding = field(default_factory=Padding)


@dataclass
class CalibrationStats:
    """What calibration has seen of activations. ``x:in`` is the input of module ``x``, ``x:out`` its output.

    Attributes:
        stats: activation -> statistics of all its values.
        channels: activation -> statistics of its channels, for inputs of ops outside islands.
        indices: path of an embedding -> up to ``SAMPLE_INDICES`` of the indices it looked up first.
        intake: how the batch at hand is taken.
    """

    stats: dict[str, ActivationStats] = field(default_factory=dict)
    channels: dict[str, ChannelStats] = field(default_factory=dict)
    indices: dict[str, torch.Tensor] = field(default_factory=dict)
    intake: Intake = field(default_factory=Intake)

    def take(self, name: str, value: torch.Tensor, axis: int | None) -> None:
        """Take an activation of one batch; ``axis`` is that of its channels, None where only all values count."""
        rows = value.numel() // (value.shape[-1] if value.ndim else 1) if value.numel() else 0
        if axis in (None, -1):
            value = self.intake.padding.without(value)
        if not value.numel():
            return  # nothing but padding, or an op that no row of this batch was sent to
        bounds = None
        if axis is not None:
            channels = self.channels.setdefault(name, ChannelStats.empty(value.shape[axis]))
            due = self.intake.sample_rows * self.intake.batch - channels.filled  # more, where earlier batches gave none
            bounds = channels.update(value, axis, max(due, self.intake.sample_rows), rows)
        self.stats.setdefault(name, ActivationStats()).update(value, self.intake.histogram, bounds)

    def take_indices(self, name: str, indices: torch.Tensor) -> None:
        """Sample what an embedding looked up first."""
        indices = self.intake.padding.without(indices).flatten()[:SAMPLE_INDICES]
        if name not in self.indices and indices.numel():
            self.indices[name] = indices.clone()

    def snapshot(self) -> CalibrationStats:
        """Return a copy that later batches do not change, without what was given room and not seen."""
        return CalibrationStats(
            {name: one.snapshot() for name, one in self.stats.items()},
            {name: one.snapshot() for name, one in self.channels.items() if one.count},
            dict(self.indices),
        )

    def borrow(self, longer: CalibrationStats) -> None:
        """Take what is not known here from a longer pass: an op that only some rows reach may come late."""
        self.stats = {**longer.stats, **self.stats}
        self.channels = {**longer.channels, **self.channels}
        self.indices = {**longer.indices, **self.indices}
