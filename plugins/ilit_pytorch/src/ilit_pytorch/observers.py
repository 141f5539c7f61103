"""What is kept of the values seen in calibration, and how a clipping range is chosen from it.

An ``ActivationStats`` is filled batch by batch in bounded memory: minimum, maximum and one histogram whose bins are
merged in pairs whenever a wider value comes, so that no value is ever re-binned by interpolation. Every algorithm and
scheme is answered from the same statistics. ``ChannelStats`` keeps what smoothing, bias correction and an op's own
error need of its input: range and mean of every channel, and a few hundred rows of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

HALF_BINS = 2048  # on each side of 0
COUNTED = 1 << 17  # values of a batch that go into the histogram; of a larger one every n-th
SAMPLE_ROWS = 128  # rows of an op's input that are kept
PERCENTILE = 0.9999  # share of values kept inside the range
CLIP_FRACTIONS = tuple(1.0 - 0.025 * step for step in range(29))  # 1.0 down to 0.3, tried by mse
KL_STEP = 16  # bins between two thresholds tried by kl


@dataclass
class ActivationStats:
    """Running statistics of one activation.

    Attributes:
        low: smallest value seen; NaN, as ``high``, once a value was not finite.
        high: largest value seen.
        reach: the histogram covers ``-reach`` to ``reach``; 0 before the first non-zero value.
        counts: int64 array of shape (2 * HALF_BINS,), bins of equal width in ascending order.
    """

    low: float = math.inf
    high: float = -math.inf
    reach: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * HALF_BINS, dtype=np.int64))

    def update(self, values: torch.Tensor, histogram: bool = True, bounds: tuple[float, float] | None = None) -> None:
        """Take the values of one batch, any shape, floating point.

        Args:
            values: the activation.
            histogram: False keeps only the range.
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
        return ActivationStats(self.low, self.high, self.reach, self.counts.copy())

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
            return
        values = _every_nth(values)
        # float32 has no room for the span of a range near its own end, nor for the bins of one near 0.
        wide = values.float() if 1e-30 < self.reach < 1e38 else values.double()
        counts = torch.histc(wide.flatten(), 2 * HALF_BINS, -self.reach, self.reach)
        self.counts += counts.numpy().astype(np.int64)


def _every_nth(values: torch.Tensor) -> torch.Tensor:
    """Return at most ``COUNTED`` values, flat, evenly spread over rows and channels; all where there are no more."""
    flat = values.flatten()
    step = -(-flat.numel() // COUNTED)
    while step > 1 and math.gcd(step, values.shape[-1]) != 1:
        step += 1  # a step that shares a factor with the row's length would leave channels out
    return flat[::step]


@dataclass
class ChannelStats:
    """Running statistics of each channel of an op's input.

    All room is taken at once and filled in place: what is allocated between the activations of a pass and kept would
    tear holes into the memory that they leave, hundreds of MB for BERT-base.

    Attributes:
        low: smallest value seen, float32 (channels,).
        high: largest value seen, float32 (channels,).
        total: sum of the values seen, float64 (channels,).
        kept: room for rows of the input, float32 (``SAMPLE_ROWS``, channels).
        count: values seen of each channel.
        batches: activations seen, so that ``count / batches`` is the usual number of rows.
        filled: rows in ``kept`` so far; 0 where channels are not the last axis.
    """

    low: torch.Tensor
    high: torch.Tensor
    total: torch.Tensor
    kept: torch.Tensor
    count: int = 0
    batches: int = 0
    filled: int = 0

    @classmethod
    def empty(cls, channels: int) -> ChannelStats:
        """Return statistics of nothing."""
        low, high = torch.full((channels,), math.inf), torch.full((channels,), -math.inf)
        return cls(low, high, torch.zeros(channels, dtype=torch.float64), torch.empty(SAMPLE_ROWS, channels))

    def update(self, values: torch.Tensor, axis: int, wanted: int) -> tuple[float, float]:
        """Take one batch and return its smallest and largest value.

        Args:
            values: float (..., channels) where ``axis`` is -1, (rows, channels, ...) or (channels, ...) else.
            axis: where the channels are.
            wanted: rows to keep of this batch.
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
        self.batches += 1
        wanted = min(wanted, SAMPLE_ROWS - self.filled)
        if flat is not None and wanted > 0:
            chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(self.count))[:wanted]
            self.kept[self.filled : self.filled + len(chosen)] = flat[chosen]
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
        """The kept rows, float32 (rows, channels)."""
        return self.kept[: self.filled]


def activation_range(stats: ActivationStats, algorithm: str, max_code: int) -> tuple[float, float]:
    """Return the (low, high) that an activation is clipped to, never wider than what was seen.

    ``minmax``: everything seen. ``percentile``: the middle ``PERCENTILE`` of the values. ``kl``: the symmetric
    threshold with the least Kullback-Leibler divergence (Migacz, "8-bit Inference with TensorRT", GTC 2017). ``mse``:
    the fraction of the range with the least squared error of clipping and rounding together (Choukroun et al. 2019,
    "Low-bit Quantization of Neural Networks for Efficient Inference", section 3).
    """
    low, high = stats.low, stats.high
    if algorithm == "minmax" or stats.reach == 0.0 or not low < high:
        return low, high
    if algorithm == "percentile":
        inner = _percentile_range(stats)
    elif algorithm == "kl":
        threshold = kl_threshold(stats.counts[:HALF_BINS][::-1] + stats.counts[HALF_BINS:], (max_code + 1) // 2)
        inner = (-threshold * stats.reach, threshold * stats.reach)
    else:
        inner = _least_squares_range(stats, max_code)
    return max(low, inner[0]), min(high, inner[1])


def kl_threshold(counts: np.ndarray, levels: int) -> float:
    """Return the threshold, as a fraction of the histogram's end, with the least KL divergence.

    Args:
        counts: counts of absolute values in bins of equal width from 0, shape (bins,).
        levels: codes on one side of 0.
    """
    best, best_divergence = len(counts), math.inf
    total = np.cumsum(counts)
    for end in range(levels, len(counts) + 1, KL_STEP):
        reference = counts[:end].astype(np.float64)
        kept = reference.copy()
        reference[-1] += total[-1] - total[end - 1]  # what is clipped lands in the last bin
        edges = np.linspace(0, end, levels + 1).astype(np.int64)
        starts, widths = edges[:-1], np.diff(edges)
        filled = np.add.reduceat((kept > 0).astype(np.float64), starts)
        sums = np.add.reduceat(kept, starts)
        level = np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0)
        candidate = np.where(kept > 0, np.repeat(level, widths), 0.0)
        divergence = _kl(reference, candidate)
        if divergence < best_divergence:
            best, best_divergence = end, divergence
    return best / len(counts)


def weight_clip(flat: torch.Tensor, algorithm: str, max_code: int) -> torch.Tensor:
    """Return the largest magnitude kept of each row of a float32 weight (out, rest), shape (out,).

    ``minmax`` and ``mse`` are exact per row. ``kl`` and ``percentile`` need more values than a row has, so they look at
    all rows together, each divided by its own largest magnitude, and clip every row at the same fraction.
    """
    largest = torch.maximum(flat.amax(dim=1), -flat.amin(dim=1))  # (out,); abs() would need another tensor
    if algorithm == "minmax":
        return largest
    if algorithm == "mse":
        return largest * _least_squares_fraction(flat, largest, max_code)
    shares = (flat.abs() / largest.clamp_min(1e-30)[:, None]).flatten()
    if algorithm == "percentile":
        kept = max(1, math.ceil(PERCENTILE * shares.numel()))
        return largest * torch.kthvalue(shares, kept).values
    counts = torch.histc(shares, HALF_BINS, 0.0, 1.0).numpy()
    return largest * kl_threshold(counts, max_code + 1)


def _least_squares_fraction(flat: torch.Tensor, largest: torch.Tensor, max_code: int) -> torch.Tensor:
    best = torch.ones_like(largest)
    least = torch.full_like(largest, math.inf)
    for fraction in CLIP_FRACTIONS:
        scale = (largest * fraction / max_code).clamp_min(1e-30)[:, None]
        error = (flat / scale).round_().clamp_(-max_code, max_code).mul_(scale).sub_(flat).square_().sum(dim=1)
        better = error < least
        best[better], least[better] = fraction, error[better]
    return best


def _centres(stats: ActivationStats) -> np.ndarray:
    width = stats.reach / HALF_BINS
    return (np.arange(2 * HALF_BINS) + 0.5) * width - stats.reach


def _percentile_range(stats: ActivationStats) -> tuple[float, float]:
    share = np.cumsum(stats.counts) / stats.counts.sum()
    tail = (1.0 - PERCENTILE) / 2.0
    width = stats.reach / HALF_BINS
    first = int(np.searchsorted(share, tail, side="right"))
    last = int(np.searchsorted(share, 1.0 - tail, side="left"))
    return first * width - stats.reach, (last + 1) * width - stats.reach


def _least_squares_range(stats: ActivationStats, max_code: int) -> tuple[float, float]:
    centres = np.clip(_centres(stats), stats.low, stats.high)
    best, least = 1.0, math.inf
    for fraction in CLIP_FRACTIONS:
        low, high = min(stats.low * fraction, 0.0), max(stats.high * fraction, 0.0)
        scale = (high - low) / max_code
        rounded = np.clip(np.round((centres - low) / scale), 0, max_code) * scale + low
        inside = (centres >= low) & (centres <= high)
        # A bin is wider than a point: inside the range the rounding error of its values averages scale**2 / 12.
        error = np.where(inside, scale**2 / 12.0, (rounded - centres) ** 2)
        cost = float((stats.counts * error).sum())
        if cost < least:
            best, least = fraction, cost
    return stats.low * best, stats.high * best


def _kl(reference: np.ndarray, candidate: np.ndarray) -> float:
    p, q = reference / reference.sum(), candidate / max(candidate.sum(), 1e-30)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())
