"""Observers: running statistics of the values seen in calibration.

An ``ActivationStats`` is filled batch by batch in bounded memory: minimum, maximum and one histogram whose bins are
merged in pairs whenever a wider value comes, so that no value is ever re-binned by interpolation. Every algorithm and
scheme is answered from the same statistics. ``ChannelStats`` holds what smoothing, bias correction and an op's own
error need of its input: range and mean of every channel, and a few hundred rows of it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

HALF_BINS = 2048  # on each side of 0
COUNTED = 1 << 17  # values of a batch that go into the histogram
SAMPLE_ROWS = 128  # rows of an op's input that are sampled
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass
class ActivationStats:
    """Running statistics of one activation.

    Attributes:
        low: smallest value seen; NaN, as ``high``, once a value was not finite.
        high: largest value seen.
        reach: the histogram covers ``-reach`` to ``reach``; 0 before the first non-zero value.
        counts: int64 array of shape (2 * HALF_BINS,), bins of equal width in ascending order.
        zeros: how many of the counted values were exactly 0; they are in ``counts[HALF_BINS]`` too.
    """

    low: float = math.inf
    high: float = -math.inf
    reach: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * HALF_BINS, dtype=np.int64))
    zeros: int = 0

    def update(self, values: torch.Tensor, histogram: bool = True, bounds: tuple[float, float] | None = None) -> None:
        """Take the values of one batch, any shape, floating point.

        Args:
            values: the activation.
            histogram: False leaves it at the range.
            bounds: its smallest and largest value where they are known already.
        """
        if values.numel() == 0:
            return
        low, high = bounds or tuple(float(bound) for bound in torch.aminmax(values.detach()))
        if not (math.isfinite(low) and math.isfinite(high)) or math.isnan(self.low):
            self.low = self.high = math.nan  # and so it stays: no later batch hides it
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        if histogram:
            self._widen(max(-low, high, 0.0))
            self._count(values.detach())

    def snapshot(self) -> ActivationStats:
        """Return a copy that later updates do not change."""
        return ActivationStats(self.low, self.high, self.reach, self.counts.copy(), self.zeros)

    def _widen(self, needed: float) -> None:
        if self.reach == 0.0:
            self.reach = needed
        while self.reach < needed:
            merged = self.counts.reshape(-1, 2).sum(axis=1)  # (HALF_BINS,): the middle half of the wider histogram
            self.counts[:] = 0
            self.counts[HALF_BINS // 2 : HALF_BINS // 2 + HALF_BINS] = merged
            self.reach *= 2.0

    def _count(self, values: torch.Tensor) -> None:
        if self.reach == 0.0:
            self.counts[HALF_BINS] += values.numel()
            self.zeros += values.numel()
            return
        values = _sample(values)
        # float32 has no room for the span of a range near its own end, nor for the bins of one near 0.
        wide = values.float() if 1e-30 < self.reach < 1e38 else values.double()
        counts = torch.histc(wide, 2 * HALF_BINS, -self.reach, self.reach)
        self.counts += counts.numpy().astype(np.int64)
        self.zeros += values.numel() - int(torch.count_nonzero(values))


def _sample(values: torch.Tensor) -> torch.Tensor:
    """Return ``COUNTED`` of the values, flat, spread evenly over every axis; all where there are no more."""
    flat = values.reshape(-1)
    return flat if flat.numel() <= COUNTED else flat[_positions(flat.numel())]


@functools.lru_cache(maxsize=4)
def _positions(count: int) -> torch.Tensor:
    """Return ``COUNTED`` positions among ``count``, int64: one in each of as many equal stretches.

    Where in its stretch is said by multiples of the golden ratio, which are spread evenly along every arithmetic
    progression (H. Weyl 1916): whatever the sizes of the axes, no channel, place or row is met more than another, as
    it would be at a fixed step that shares a factor with one of them.
    """
    stretch = torch.arange(COUNTED, dtype=torch.float64)
    return stretch.add((stretch * GOLDEN).frac()).mul_(count / COUNTED).long().clamp_max_(count - 1)


@dataclass
class ChannelStats:
    """Running statistics of each channel of an op's input.

    All room is taken at once and filled in place: what is allocated between the activations of a pass and outlives them
    would tear holes into the memory that they leave, hundreds of MB for BERT-base.

    Attributes:
        low: smallest value seen, float32 (channels,).
        high: largest value seen, float32 (channels,).
        total: sum of the values seen, float64 (channels,).
        sampled: room for rows of the input, float32 (``SAMPLE_ROWS``, channels).
        count: values seen of each channel.
        rows: rows the activations had, padding included.
        batches: activations seen, so that ``rows / batches`` is the usual number of rows.
        filled: rows in ``sampled`` so far; 0 where channels are not the last axis.
    """

    low: torch.Tensor
    high: torch.Tensor
    total: torch.Tensor
    sampled: torch.Tensor
    count: int = 0
    rows: int = 0
    batches: int = 0
    filled: int = 0

    @classmethod
    def empty(cls, channels: int) -> ChannelStats:
        """Return statistics of nothing."""
        low, high = torch.full((channels,), math.inf), torch.full((channels,), -math.inf)
        return cls(low, high, torch.zeros(channels, dtype=torch.float64), torch.empty(SAMPLE_ROWS, channels))

    @classmethod
    def zeros(cls, channels: int) -> ChannelStats:
        """Return statistics of one row of zeros."""
        low, high = torch.zeros(channels), torch.zeros(channels)
        return cls(low, high, torch.zeros(channels, dtype=torch.float64), torch.empty(0, channels), count=1)

    def update(self, values: torch.Tensor, axis: int, wanted: int, rows: int) -> tuple[float, float]:
        """Take one batch and return its smallest and largest value.

        Args:
            values: float (..., channels) where ``axis`` is -1, (rows, channels, ...) or (channels, ...) else.
            axis: where the channels are.
            wanted: rows to sample of this batch.
            rows: what the op has to compute, padding included.
        """
        axis %= values.ndim
        others = [other for other in range(values.ndim) if other != axis]
        flat = values.reshape(-1, values.shape[-1]) if axis == values.ndim - 1 else None
        source, over = (values, others) if flat is None else (flat, [0])
        low, high = source.amin(over), source.amax(over)
        torch.minimum(self.low, low, out=self.low)
        torch.maximum(self.high, high, out=self.high)
        self.total += source.sum(over)
        self.count += values.numel() // values.shape[axis]
        self.rows, self.batches = self.rows + rows, self.batches + 1
        wanted = min(wanted, SAMPLE_ROWS - self.filled)
        if flat is not None and wanted > 0:
            chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(self.count))[:wanted]
            self.sampled[self.filled : self.filled + len(chosen)] = flat[chosen]
            self.filled += len(chosen)
        return float(low.min()), float(high.max())

    def snapshot(self) -> ChannelStats:
        """Return a copy that later updates do not change; rows are never overwritten, so their room is shared."""
        return replace(self, low=self.low.clone(), high=self.high.clone(), total=self.total.clone())

    @property
    def mean(self) -> torch.Tensor:
        """Mean of each channel, float32 (channels,)."""
        return (self.total / max(self.count, 1)).float()

    @property
    def sample(self) -> torch.Tensor:
        """The sampled rows, float32 (rows, channels)."""
        return self.sampled[: self.filled]
