"""The ranges chosen from the statistics of activations, against the definitions written out over the raw values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilit.recipe import QuantSpec, Scheme
from ilit_pytorch.quantization import clipping
from ilit_pytorch.quantization.clipping import KL_CLIPPED, activation_range
from ilit_pytorch.quantization.qparams import activation_params, quantize_weight

ALGORITHMS = ("minmax", "kl", "percentile", "mse")
SCHEMES: tuple[Scheme, ...] = ("asym", "sym")


DISTRIBUTIONS: dict[str, Callable[[Any], torch.Tensor]] = {
    "normal": lambda normal: normal(1),
    "relu": lambda normal: normal(2).relu(),
    "negative": lambda normal: -normal(3).abs(),
    "off zero": lambda normal: normal(4) + 50,
    "outlier": lambda normal: torch.cat([normal(5), torch.tensor([200.0])]),
    "zero": lambda normal: torch.zeros(9),
    "constant": lambda normal: torch.full((9,), 3.0),
    "one": lambda normal: torch.tensor([-2.0]),
    "denormal": lambda normal: torch.tensor([1e-45, -1e-45, 0.0]),
    "tiny": lambda normal: normal(6) * 1e-38,
    "huge": lambda normal: normal(7).clamp(-3, 3) * 1e38,
    "two": lambda normal: torch.tensor([0.0, 1.0]).repeat(50),
    "scalar": lambda normal: torch.tensor(2.5),
    "half": lambda normal: normal(8).half(),
    "bfloat16": lambda normal: normal(9).bfloat16(),
    "double": lambda normal: normal(10).double() * (1 + 1e-12),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_range_is_wider_than_what_was_seen(
    name: str, algorithm: str, stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]
) -> None:
    """Each algorithm gives a finite range inside the smallest and largest value, and parameters can be made of it."""
    stats = stats_of(DISTRIBUTIONS[name](normal))
    low, high = activation_range(stats, algorithm, 255)
    assert stats.low <= low
    assert high <= stats.high
    assert stats.counts.sum() == DISTRIBUTIONS[name](normal).numel()
    assert math.isfinite(activation_params(low, high, QuantSpec("uint8", "asym")).scale)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), outlier=st.floats(1, 300), bits=st.sampled_from([7, 8]))
def test_mse_is_never_worse_than_minmax(
    seed: int, outlier: float, bits: int, stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]
) -> None:
    """In simulation, clipping and rounding by ``mse`` has at most the squared error of ``minmax``."""
    values = torch.cat([normal(seed, 2000), torch.tensor([outlier])])
    stats, top, errors = stats_of(values), 2**bits - 1, {}
    for algorithm in ("minmax", "mse"):
        spec = QuantSpec("uint8", "asym", bits=bits)
        params = activation_params(*activation_range(stats, algorithm, top), spec)
        codes = (values.double() / params.scale).round().add(params.zero_point).clamp(0, top)
        errors[algorithm] = float(((codes - params.zero_point) * params.scale - values).square().mean())
    assert errors["mse"] <= errors["minmax"] * 1.1  # bins of 1 / 2048 of the range stand for the values in them


# --- Against the definitions -----------------------------------------------------------------------------------------

HEAVY = torch.from_numpy(np.random.default_rng(9527).standard_t(3, 40_000)).float()
SHARE = torch.rand(40_000, generator=torch.Generator().manual_seed(1))
DATA: dict[str, Callable[[Any], torch.Tensor]] = {
    "normal": lambda normal: normal(1, 40_000),
    "relu": lambda normal: normal(2, 40_000).relu(),
    "negative": lambda normal: -normal(3, 40_000).abs(),
    "gelu": lambda normal: torch.nn.functional.gelu(normal(4, 40_000)),
    "leaky": lambda normal: torch.nn.functional.leaky_relu(normal(5, 40_000)),
    "heavy": lambda normal: HEAVY,
    "heavy, 9 of 10 zero": lambda normal: HEAVY * (SHARE < 0.1),
    "rare": lambda normal: normal(6, 40_000) * (SHARE < 0.001),
    "log-normal": lambda normal: normal(7, 40_000).exp(),
    "off zero": lambda normal: normal(8, 40_000) + 50,
    "shifted": lambda normal: normal(9, 40_000) - 3,
    "softmax": lambda normal: torch.softmax(3 * normal(10, 40_000).reshape(-1, 100), dim=1).flatten(),
    "outlier": lambda normal: torch.cat([normal(11, 40_000), torch.tensor([100.0])]),
    "constant": lambda normal: torch.full((999,), 3.0),
    "two values": lambda normal: torch.tensor([0.0, 1.0]).repeat(500),
    "few values": lambda normal: torch.tensor([0.0, 0.013, 0.31, 1.7]).repeat(500),
    "whole numbers": lambda normal: torch.arange(10.0).repeat(100),
}


@pytest.fixture(scope="module")
def data(normal: Callable[..., torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the values of ``DATA`` by name."""
    return {name: make(normal) for name, make in DATA.items()}


def error(values: torch.Tensor, low: float, high: float, scheme: Scheme, bits: int) -> float:
    """Return the mean squared error of clipping and rounding by the parameters that a range gives."""
    params = activation_params(low, high, QuantSpec("uint8", scheme, bits=bits))
    codes = (values.double() / params.scale).round().add(params.zero_point).clamp(0, params.max_code)
    return float(((codes - params.zero_point) * params.scale - values).square().mean())


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", DATA)
def test_mse_is_the_best_fraction_of_the_range(
    name: str, scheme: Scheme, bits: int, stats_of: Callable[..., Any], data: dict[str, torch.Tensor]
) -> None:
    """No fraction of the range has a smaller error over the raw values than by 3 %, zeros and few values included."""
    values = data[name]
    low, high = float(values.min()), float(values.max())
    tried = (error(values, low * part, high * part, scheme, bits) for part in np.linspace(0.3, 1.0, 29))
    found = error(values, *activation_range(stats_of(*values.chunk(4)), "mse", 2**bits - 1, scheme), scheme, bits)
    assert found <= 1.03 * min(tried) + 1e-12


def published_threshold(values: torch.Tensor, levels: int) -> float:
    """Return the threshold of Migacz 2017 over 2048 bins, the first one left out, written out bin by bin."""
    counts, edges = np.histogram(values.abs().numpy(), 2048, (0.0, float(values.abs().max())))
    counts = np.where(np.arange(2048) == 0, 0, counts).astype(np.float64)
    best, least = 0, math.inf
    for end in range(max(levels, int(np.flatnonzero(counts)[0]) + 1), 2049, 8):
        p = counts[:end].copy()
        p[-1] += counts[end:].sum()
        q = np.zeros(end)
        for part in np.array_split(np.arange(end), levels):
            filled = part[counts[part] > 0]
            q[filled] = counts[filled].mean() if len(filled) else 0.0
        p, q = p / p.sum(), q / q.sum()
        there = p > 0
        divergence = float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))))
        if divergence < least:
            best, least = end, divergence
    return float(edges[best])


KL_LEVELS = {"normal": 128, "relu": 256, "negative": 256, "heavy": 128, "log-normal": 256, "off zero": 256}


@pytest.mark.parametrize("name", KL_LEVELS)
def test_kl_is_the_published_method(name: str, stats_of: Callable[..., Any], data: dict[str, torch.Tensor]) -> None:
    """The threshold is that of the publication, with as many levels as there are codes on the side of the values.

    Near its minimum the divergence is as good as flat, so what is compared is the error that the thresholds lead to.
    """
    values = data[name]
    wanted, stats = published_threshold(values, KL_LEVELS[name]), stats_of(values)
    found = error(values, *activation_range(stats, "kl", 255), "asym", 8)
    ranges = (stats.low, stats.high), (max(stats.low, -wanted), min(stats.high, wanted))
    minmax, published = (error(values, *bounds, "asym", 8) for bounds in ranges)
    assert found <= 1.5 * max(minmax, published)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", DATA)
def test_kl_clips_few_values(
    name: str, scheme: Scheme, stats_of: Callable[..., Any], data: dict[str, torch.Tensor]
) -> None:
    """However many zeros there are, or few values, no more than a thousandth of the others is clipped."""
    values = data[name]
    low, high = activation_range(stats_of(values), "kl", 255, scheme)
    others = values[values != 0]
    clipped = (others < min(low, 0.0)) | (others > max(high, 0.0))
    assert float(clipped.float().mean()) <= KL_CLIPPED


@pytest.mark.parametrize("far", [30.0, 1e3, 1e5])
@pytest.mark.parametrize("algorithm", ["kl", "percentile"])
def test_one_outlier_does_not_take_the_codes(
    algorithm: str, far: float, stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]
) -> None:
    """However far it is, the other values keep most of the range the histogram can tell them apart in."""
    values = torch.cat([normal(1, 100_000), torch.tensor([far])])
    high = activation_range(stats_of(values), algorithm, 255)[1]
    assert 3.0 < high <= max(5.0, far / 1000)


@pytest.mark.parametrize("algorithm", ["kl", "percentile", "mse"])
def test_zeros_have_no_say(algorithm: str, stats_of: Callable[..., Any], normal: Callable[..., torch.Tensor]) -> None:
    """A hundred times as many zeros as values leave the range where it is without them."""
    values = normal(3, 2000).abs() + 0.5
    with_zeros = torch.cat([values, torch.zeros(100_000)])
    ranges = [activation_range(stats_of(one), algorithm, 255) for one in (with_zeros, values)]
    assert [high for _, high in ranges] == pytest.approx([ranges[1][1]] * 2, rel=0.03)


def test_a_one_sided_range_has_all_codes_under_asym_and_half_under_sym(
    stats_of: Callable[..., Any], data: dict[str, torch.Tensor]
) -> None:
    """So ``sym`` clips more for its coarser steps, and ``asym`` is closer to the values by half."""
    values, ends = data["relu"], {}
    for scheme in SCHEMES:
        ends[scheme] = activation_range(stats_of(values), "mse", 255, scheme)
    assert ends["sym"][1] < ends["asym"][1]
    assert error(values, *ends["asym"], "asym", 8) < 0.5 * error(values, *ends["sym"], "sym", 8)


@pytest.mark.parametrize(("name", "scheme", "levels"), [
    ("relu", "asym", 256), ("negative", "asym", 256), ("normal", "asym", 128), ("gelu", "asym", 246),
    ("relu", "sym", 128), ("normal", "sym", 128),
])  # fmt: skip
def test_kl_reckons_with_the_codes_there_are(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    scheme: Scheme,
    levels: int,
    stats_of: Callable[..., Any],
    data: dict[str, torch.Tensor],
) -> None:
    """Values on one side of 0 have all codes of ``asym``, those on both sides a share, and half are left by ``sym``."""
    found = []
    monkeypatch.setattr(clipping, "kl_threshold", lambda _counts, count: found.append(count(1.0)) or 1.0)
    values = data[name] * 4 / data[name].abs().max()
    activation_range(stats_of(values), "kl", 255, scheme)
    assert found == [pytest.approx(levels, abs=12)]


@pytest.mark.parametrize("share", [0.5, 0.95, 0.9995])
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_a_pruned_weight_is_not_clipped_by_its_zeros(share: float, granularity: str) -> None:
    """``kl`` retains the weights that pruning has left: it is off by half as much again as ``minmax`` at most."""
    weight = torch.randn(64, 4000) * (torch.rand(64, 4000) > share)
    off = {}
    for algorithm in ("minmax", "kl"):
        codes, scale = quantize_weight(weight, QuantSpec("int8", "sym", granularity, algorithm, 8))  # type: ignore[arg-type]  # parametrized
        off[algorithm] = float((codes * scale[:, None] - weight).norm())
    assert off["kl"] <= 1.5 * off["minmax"]
