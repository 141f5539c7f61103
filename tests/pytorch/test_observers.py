"""What is kept of activations, and the ranges chosen from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilit.recipe import QuantSpec
from ilit_pytorch.observers import HALF_BINS, ActivationStats, activation_range
from ilit_pytorch.qparams import activation_params

ALGORITHMS = ("minmax", "kl", "percentile", "mse")


def stats_of(*batches: torch.Tensor) -> ActivationStats:
    """Return statistics of the batches in order."""
    stats = ActivationStats()
    for batch in batches:
        stats.update(batch)
    return stats


def normal(seed: int, rows: int = 500) -> torch.Tensor:
    """Return normal values of that seed."""
    return torch.randn(rows, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 1000), doublings=st.integers(0, 6))
def test_widening_gives_the_histogram_of_all_at_once(seed: int, doublings: int) -> None:
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


DISTRIBUTIONS = {
    "normal": lambda: normal(1), "relu": lambda: normal(2).relu(), "negative": lambda: -normal(3).abs(),
    "off zero": lambda: normal(4) + 50, "outlier": lambda: torch.cat([normal(5), torch.tensor([200.0])]),
    "zero": lambda: torch.zeros(9), "constant": lambda: torch.full((9,), 3.0), "one": lambda: torch.tensor([-2.0]),
    "denormal": lambda: torch.tensor([1e-45, -1e-45, 0.0]), "tiny": lambda: normal(6) * 1e-38,
    "huge": lambda: normal(7).clamp(-3, 3) * 1e38, "two": lambda: torch.tensor([0.0, 1.0]).repeat(50),
    "scalar": lambda: torch.tensor(2.5), "half": lambda: normal(8).half(), "bfloat16": lambda: normal(9).bfloat16(),
    "double": lambda: normal(10).double() * (1 + 1e-12),
}  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_range_is_wider_than_what_was_seen(name: str, algorithm: str) -> None:
    """Each algorithm gives a finite range inside the smallest and largest value, and parameters can be made of it."""
    stats = stats_of(DISTRIBUTIONS[name]())
    low, high = activation_range(stats, algorithm, 255)
    assert stats.low <= low
    assert high <= stats.high
    assert stats.counts.sum() == DISTRIBUTIONS[name]().numel()
    assert math.isfinite(activation_params(low, high, QuantSpec("uint8", "asym")).scale)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), outlier=st.floats(1, 300), bits=st.sampled_from([7, 8]))
def test_mse_is_never_worse_than_minmax(seed: int, outlier: float, bits: int) -> None:
    """In simulation, clipping and rounding by ``mse`` has at most the squared error of ``minmax``."""
    values = torch.cat([normal(seed, 2000), torch.tensor([outlier])])
    stats, top, errors = stats_of(values), 2**bits - 1, {}
    for algorithm in ("minmax", "mse"):
        spec = QuantSpec("uint8", "asym", bits=bits)
        params = activation_params(*activation_range(stats, algorithm, top), spec)
        codes = (values.double() / params.scale).round().add(params.zero_point).clamp(0, top)
        errors[algorithm] = float(((codes - params.zero_point) * params.scale - values).square().mean())
    assert errors["mse"] <= errors["minmax"] * 1.1  # bins of 1 / 2048 of the range stand for the values in them


@pytest.mark.parametrize("algorithm", ["kl", "percentile", "mse"])
def test_a_rare_outlier_is_clipped(algorithm: str) -> None:
    """One value in 100,000 far out is not given codes at the cost of all others."""
    values = torch.cat([normal(1, 100_000), torch.tensor([1000.0])])
    assert activation_range(stats_of(values), algorithm, 255)[1] < 900


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["last", "first"])
def test_what_is_not_finite_is_remembered(bad: float, order: tuple[int, int]) -> None:
    """A NaN or an infinity in any batch shows in the range, whatever comes before or after."""
    both = (normal(1), torch.tensor([1.0, bad]))
    stats = stats_of(*(both[index] for index in order))
    assert math.isnan(stats.low)
    assert math.isnan(stats.high)


def test_snapshots_and_empty_batches() -> None:
    """A snapshot stays as it was, and an empty batch changes nothing."""
    stats = stats_of(normal(1))
    before = stats.snapshot()
    stats.update(torch.zeros(0))
    assert (stats.low, stats.high, stats.reach) == (before.low, before.high, before.reach)
    stats.update(normal(2) * 9)
    assert before.counts.sum() == 500
    assert before.high < stats.high
