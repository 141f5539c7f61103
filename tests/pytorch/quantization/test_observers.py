"""The statistics of activations: exact ranges, histograms that lose nothing, samples that favour nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ilit_pytorch.quantization.observers import COUNTED, HALF_BINS


@given(seed=st.integers(0, 1000), doublings=st.integers(0, 6))
def test_widening_gives_the_histogram_of_all_at_once(
    seed: int, doublings: int, stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]
) -> None:
    """Bins merged in pairs lose nothing: the counts are those of one histogram of all data over the final reach."""
    first = normal(seed)
    second = normal(seed + 1) * 2.0**doublings
    stats = stats_of(first, second)
    everything = torch.cat([first, second])
    wanted = torch.histc(everything, 2 * HALF_BINS, -stats.reach, stats.reach).numpy()
    assert stats.counts.sum() == everything.numel()
    assert stats.reach >= float(everything.abs().max())
    # A value on the very edge of a bin may be counted on either side of it.
    assert np.abs(np.cumsum(stats.counts) - np.cumsum(wanted)).max() <= 1
    assert (stats.low, stats.high) == (float(everything.min()), float(everything.max()))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["last", "first"])
def test_what_is_not_finite_is_remembered(
    bad: float, order: tuple[int, int], stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]
) -> None:
    """A NaN or an infinity in any batch shows in the range, whatever comes before or after."""
    both = (normal(1), torch.tensor([1.0, bad]))
    stats = stats_of(*(both[index] for index in order))
    assert math.isnan(stats.low)
    assert math.isnan(stats.high)


def test_snapshots_and_empty_batches(stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]) -> None:
    """A snapshot stays as it was, and an empty batch changes nothing."""
    stats = stats_of(normal(1))
    before = stats.snapshot()
    stats.update(torch.zeros(0))
    assert (stats.low, stats.high, stats.reach) == (before.low, before.high, before.reach)
    stats.update(normal(2) * 9)
    assert before.counts.sum() == 500
    assert before.high < stats.high


@pytest.mark.parametrize("count", [1000, COUNTED, COUNTED + 1])
def test_zeros_are_counted_apart(count: int, stats_of: Callable[..., Any]) -> None:
    """Values of exactly 0 are told from small ones, before and after the first other value, and by a snapshot too."""
    stats = stats_of(torch.zeros(count), torch.tensor([0.0, -0.0, 1e-30, -1e-30, 2.0]))
    assert stats.zeros == stats.snapshot().zeros == count + 2
    assert stats.counts.sum() == count + 5


SHAPES = {
    "images": (8, 16, 56, 56), "odd images": (3, 7, 255, 257), "tokens": (32, 512, 64), "wide tokens": (2, 128, 3072),
    "signal": (4, 80, 3000), "matrix": (1 << 10, 1 << 10), "just more": (COUNTED // 64 + 1, 64),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_part_of_a_large_activation_is_sampled_alike(
    shape: tuple[int, ...], stats_of: Callable[..., Any]
) -> None:
    """Along no axis is a part met by less than half or more than twice its share of what goes into the histogram."""
    total = math.prod(shape)
    for axis, size in enumerate(shape):
        part = torch.arange(size).reshape([-1 if other == axis else 1 for other in range(len(shape))])
        stats = stats_of(torch.tensor([float(HALF_BINS)]), (part % HALF_BINS).add(0.5).expand(shape))
        met = stats.counts[HALF_BINS:][: min(size, HALF_BINS)].astype(float)
        met[-1] -= size >= HALF_BINS  # the value that set the reach
        share = met * len(met) / min(total, COUNTED)
        if min(total, COUNTED) >= 64 * size:
            assert share.min() > 0.5
            assert share.max() < 2.0
        else:
            assert share.min() > 0.0


def test_a_loud_channel_shows_in_the_histogram(stats_of: Callable[..., Any]) -> None:
    """One channel of an image in a hundred has the share of large values that it has."""
    images = torch.randn(16, 64, 56, 56)
    images[:, 17] *= 100
    stats = stats_of(images)
    wanted = float((images.abs() > 50).float().mean())
    far = round(50 / stats.reach * HALF_BINS)
    found = (stats.counts[: HALF_BINS - far].sum() + stats.counts[HALF_BINS + far :].sum()) / stats.counts.sum()
    assert found == pytest.approx(wanted, rel=0.1)
