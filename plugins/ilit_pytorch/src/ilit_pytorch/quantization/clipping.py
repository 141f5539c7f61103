"""How a clipping range is chosen: from the statistics of an activation, or from a weight itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ilit.recipe import Scheme
from ilit_pytorch.quantization.observers import HALF_BINS, ActivationStats

LEAST_SCALE = 1e-12  # a tensor of zeros still needs a scale to divide by
PERCENTILE = 0.9999  # share of values inside the range
CLIP_FRACTIONS = tuple(1.0 - 0.025 * step for step in range(29))  # 1.0 down to 0.3, tried by mse
KL_STEP = 16  # bins between two thresholds tried by kl
KL_CLIPPED = 1e-3  # share of the values, zeros apart, that kl clips at most


def grid(low: float, high: float, scheme: Scheme, max_code: int) -> tuple[float, int]:
    """Return scale and zero point whose codes, 0 to ``max_code``, cover ``low`` to ``high`` and hit 0.0 exactly.

    ``sym`` puts the zero point in the middle: 128 of 255 for 8 bits, 64 of 127 for 7.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if scheme == "sym":
        middle = (max_code + 1) // 2
        return max(max(-low, high) / (max_code - middle), LEAST_SCALE), middle
    scale = max((high - low) / max_code, LEAST_SCALE)
    return scale, min(max_code, round(-low / scale))


def activation_range(
    stats: ActivationStats, algorithm: str, max_code: int, scheme: Scheme = "asym"
) -> tuple[float, float]:
    """Return the (low, high) that an activation is clipped to, never wider than what was seen.

    ``minmax``: everything seen. ``percentile``: the middle ``PERCENTILE`` of the values. ``kl``: the threshold on both
    sides of 0 with the least Kullback-Leibler divergence. ``mse``: the fraction of the range with the least squared
    error of clipping and rounding together (Choukroun et al. 2019, "Low-bit Quantization of Neural Networks for
    Efficient Inference", section 3). The last two reckon with the codes that the scheme really has for the values.
    Values of exactly 0 have no say, since they have a code of their own in any range.
    """
    low, high = stats.low, stats.high
    counts = stats.counts.copy()
    counts[HALF_BINS] -= stats.zeros
    if algorithm == "minmax" or not low < high or not counts.any():
        return low, high
    if algorithm == "percentile":
        inner = _percentile_range(stats, counts)
    elif algorithm == "kl":
        inner = _kl_range(stats, counts, max_code, scheme)
    else:
        inner = _least_squares_range(stats, counts, max_code, scheme)
    return max(low, inner[0]), min(high, inner[1])


def kl_threshold(counts: np.ndarray, levels: Callable[[float], int]) -> float:
    """Return the threshold, as a fraction of the histogram's end, with the least KL divergence.

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017. As there the first bin is left out: what falls into it becomes
    code 0 at any threshold, and says nothing of the others' shape. Three things are added, for what the publication's
    networks do not give: the first bin counts where hardly a value lies beyond it, so that an outlier does not stand
    for all; thresholds below one bin a level are tried, for the same reason; and ``KL_CLIPPED`` bounds what is clipped,
    since of few distinct values the divergence is 0 however many are.

    Args:
        counts: counts of absolute values in bins of equal width from 0, exact zeros left out, shape (bins,).
        levels: from a threshold, as a fraction of the end, to how many codes stand for what is below.
    """
    counts = counts.astype(np.float64)
    if counts[1:].sum() >= KL_CLIPPED * counts.sum():
        counts[0] = 0.0
    best, least = len(counts), math.inf
    beyond = counts.sum() - np.cumsum(counts)  # what a threshold after each bin clips
    for end in _thresholds(len(counts)):
        if beyond[end - 1] > KL_CLIPPED * counts.sum() or not counts[:end].any():
            continue
        reference = counts[:end].copy()
        reference[-1] += beyond[end - 1]  # what is clipped lands in the last bin
        divergence = _kl(reference, _merged(counts[:end], levels(end / len(counts))))
        if divergence < least:
            best, least = end, divergence
    return best / len(counts)


def weight_clip(flat: torch.Tensor, algorithm: str, max_code: int) -> torch.Tensor:
    """Return the magnitude that each row of a float32 weight (out, rest) is clipped at, shape (out,).

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
        inside = max(1, math.ceil(PERCENTILE * shares.numel()))
        return largest * torch.kthvalue(shares, inside).values
    counts = torch.histc(shares, HALF_BINS, 0.0, 1.0).numpy()
    counts[0] -= shares.numel() - int(torch.count_nonzero(shares))
    return largest * kl_threshold(counts, lambda _: max_code + 1)


def _least_squares_fraction(flat: torch.Tensor, largest: torch.Tensor, max_code: int) -> torch.Tensor:
    best = torch.ones_like(largest)
    least = torch.full_like(largest, math.inf)
    for fraction in CLIP_FRACTIONS:
        scale = (largest * fraction / max_code).clamp_min(1e-30)[:, None]
        error = (flat / scale).round_().clamp_(-max_code, max_code).mul_(scale).sub_(flat).square_().sum(dim=1)
        better = error < least
        best[better], least[better] = fraction, error[better]
    return best


def _percentile_range(stats: ActivationStats, counts: np.ndarray) -> tuple[float, float]:
    share = np.cumsum(counts) / counts.sum()
    tail = (1.0 - PERCENTILE) / 2.0
    width = stats.reach / HALF_BINS
    first = int(np.searchsorted(share, tail, side="right"))
    last = int(np.searchsorted(share, 1.0 - tail, side="left"))
    return first * width - stats.reach, (last + 1) * width - stats.reach


def _kl_range(stats: ActivationStats, counts: np.ndarray, max_code: int, scheme: Scheme) -> tuple[float, float]:
    def clipped(fraction: float) -> tuple[float, float]:
        bound = fraction * stats.reach
        return max(stats.low, -bound), min(stats.high, bound)

    def levels(fraction: float) -> int:
        """One-sided values have all codes of ``asym`` to themselves, and half of those of ``sym``."""
        scale, _ = grid(*clipped(fraction), scheme, max_code)
        return int(fraction * stats.reach / scale) + 1

    return clipped(kl_threshold(counts[:HALF_BINS][::-1] + counts[HALF_BINS:], levels))


def _least_squares_range(
    stats: ActivationStats, counts: np.ndarray, max_code: int, scheme: Scheme
) -> tuple[float, float]:
    counts = np.repeat(counts, 2)  # two points a bin: it is not so much narrower than a code
    places = ((np.arange(len(counts)) + 0.5) / len(counts) * 2.0 - 1.0) * stats.reach
    points = np.clip(places, stats.low, stats.high)
    counts, points = counts[counts > 0], points[counts > 0]
    best, least = 1.0, math.inf
    for fraction in CLIP_FRACTIONS:
        scale, zero_point = grid(stats.low * fraction, stats.high * fraction, scheme, max_code)
        codes = np.clip(np.round(points / scale) + zero_point, 0, max_code)
        cost = float((counts * ((codes - zero_point) * scale - points) ** 2).sum())
        if cost < least:
            best, least = fraction, cost
    return stats.low * best, stats.high * best


def _thresholds(bins: int) -> list[int]:
    """Return the thresholds tried, in bins: ever wider ones up to ``KL_STEP``, 8 times that, then every ``KL_STEP``."""
    few = 8 * KL_STEP
    return [*(1 << power for power in range(few.bit_length() - 1)), *range(few, bins + 1, KL_STEP)]


def _merged(counts: np.ndarray, levels: int) -> np.ndarray:
    """Return a histogram (bins,) merged into ``levels`` levels: each spread evenly over its bins with values."""
    if levels >= len(counts):
        return counts
    edges = np.linspace(0, len(counts), levels + 1).astype(np.int64)
    filled = np.add.reduceat((counts > 0).astype(np.float64), edges[:-1])
    sums = np.add.reduceat(counts, edges[:-1])
    level = np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0)
    return np.where(counts > 0, np.repeat(level, np.diff(edges)), 0.0)


def _kl(reference: np.ndarray, candidate: np.ndarray) -> float:
    p, q = reference / reference.sum(), candidate / candidate.sum()
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())
