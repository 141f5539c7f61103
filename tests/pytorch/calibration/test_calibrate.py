"""One pass serves every recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ilit.space import CalibrationSize
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.quantization.observers import SAMPLE_ROWS


class Counted:
    """Batches that are counted as they are taken."""

    def __init__(self, count: int) -> None:
        self.count, self.taken = count, 0

    def __iter__(self) -> Iterator[Any]:
        for seed in range(self.count):
            self.taken += 1
            yield torch.randn(10, 8, generator=torch.Generator().manual_seed(seed)), torch.zeros(10)


@pytest.mark.parametrize(("unit", "sizes", "batches"), [("batches", (2, 5, 3), 5), ("rows", (45, 15), 5)])
def test_a_list_of_sizes_costs_one_pass_of_the_longest(
    nets: SimpleNamespace, unit: Any, sizes: tuple[int, ...], batches: int
) -> None:
    """Each size has its own statistics, those of a calibration of just that size."""
    model, adapter = nets.mlp().eval(), PyTorchAdapter()
    space = adapter.describe(model, next(iter(Counted(1))))
    wanted = tuple(CalibrationSize(size, unit) for size in sizes)
    loader = Counted(9)
    together = adapter.calibrate(model, loader, replace(space, calibrations=wanted))
    assert loader.taken == batches
    for size in wanted:
        alone = adapter.calibrate(model, Counted(9), replace(space, calibrations=(size,)))
        for name, stats in alone.seen[str(size)].stats.items():
            ours = together.seen[str(size)].stats[name]
            assert (ours.low, ours.high, ours.reach) == (stats.low, stats.high, stats.reach)
            assert np.array_equal(ours.counts, stats.counts)
            channels = together.seen[str(size)].channels[name]
            assert torch.equal(channels.low, alone.seen[str(size)].channels[name].low)


def test_channels_are_those_of_the_data(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Ranges and means of each channel are exact, of Linears and of convolutions."""
    inputs = torch.randn(300, 8) * torch.arange(1, 9) + torch.arange(8)
    channels = bench(nets.mlp(), inputs).calibration.channels("1 batches", "0:in")
    assert torch.equal(channels.low, inputs.amin(0))
    assert torch.equal(channels.high, inputs.amax(0))
    assert torch.allclose(channels.mean, inputs.mean(0), atol=1e-4)
    assert channels.sample.shape == (SAMPLE_ROWS, 8)
    images = torch.randn(6, 1, 8, 8)
    channels = bench(nets.conv_net(), images).calibration.channels("1 batches", "0:in")
    assert channels.low.tolist() == [float(images.min())]
    assert channels.filled == 0


def test_large_activations_are_sampled(nets: SimpleNamespace) -> None:
    """Range and percentile of a million values hold up though not every value is counted."""
    from ilit_pytorch.quantization.clipping import activation_range
    from ilit_pytorch.quantization.observers import COUNTED, ActivationStats

    values, stats = torch.randn(1 << 13, 128), ActivationStats()
    stats.update(values)
    assert (stats.low, stats.high) == (float(values.min()), float(values.max()))
    assert COUNTED // 2 < stats.counts.sum() <= COUNTED
    low, high = activation_range(stats, "percentile", 255)
    assert low == pytest.approx(-3.9, abs=0.3)
    assert high == pytest.approx(3.9, abs=0.3)
