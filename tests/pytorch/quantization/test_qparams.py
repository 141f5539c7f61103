"""Scales, zero points and weight codes, for any range there may be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilit.recipe import QuantSpec
from ilit_pytorch.module_parts.activation import DynamicQuantizer, StaticQuantizer
from ilit_pytorch.quantization.qparams import (
    ActivationParams,
    activation_params,
    max_activation_code,
    max_weight_code,
    quantize_weight,
)

BOUND = st.floats(-3e38, 3e38)
SPEC = st.builds(
    QuantSpec, dtype=st.just("uint8"), scheme=st.sampled_from(["sym", "asym"]), bits=st.sampled_from([7, 8])
)


@given(first=BOUND, second=BOUND, spec=SPEC)
def test_zero_is_hit_and_the_range_is_covered(first: float, second: float, spec: QuantSpec) -> None:
    """Scale is positive, zero has a code of its own, and both ends lie within half a step of a code."""
    low, high = sorted((first, second))
    params = activation_params(low, high, spec)
    assert math.isfinite(params.scale)
    assert params.scale > 0
    assert 0 <= params.zero_point <= params.max_code == max_activation_code(spec.bits)
    half = params.scale * 0.5001
    assert (0 - params.zero_point) * params.scale <= low + half
    assert (params.max_code - params.zero_point) * params.scale >= high - half


def test_a_worked_number() -> None:
    """-1 to 3 in 8 bits: 255 steps of 4 / 255, zero at code 64."""
    params = activation_params(-1.0, 3.0, QuantSpec("uint8", "asym"))
    assert params == ActivationParams(pytest.approx(4 / 255), 64, 255)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 0.0), (5.0, 5.0), (-5.0, -5.0), (0.0, 1e-38), (-1e-45, 1e-45), (-3e38, 3e38), (2.0, 3.0)],
    ids=["zero", "constant", "negative", "tiny", "denormal", "huge", "off zero"],
)
@pytest.mark.parametrize("scheme", ["sym", "asym"])
def test_degenerate_ranges_quantize(low: float, high: float, scheme: str) -> None:
    """Whatever was seen, codes stay in range and what they stand for is within half a step."""
    spec = QuantSpec("uint8", scheme)  # type: ignore[arg-type]  # one of the schemes
    values = torch.tensor([low, high, 0.0])
    for quantizer in (StaticQuantizer(activation_params(low, high, spec)), DynamicQuantizer(spec)):
        codes, scale, zero_point = quantizer(values)
        back = (codes.double() - zero_point) * scale
        assert codes[2] == zero_point
        assert torch.all((back - values.double()).abs() <= scale * 0.501)


@given(
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40),
    spec=SPEC,
    widen=st.floats(0.1, 4),
)
def test_static_codes_are_the_nearest(values: list[float], spec: QuantSpec, widen: float) -> None:
    """Codes are round(value / scale) + zero point, clamped to what the spec's bits allow even outside the range."""
    tensor = torch.tensor(values)
    params = activation_params(min(values), max(values), spec)
    codes, scale, zero_point = StaticQuantizer(params)(tensor * widen)
    wanted = (tensor.double() * widen / scale).round().add(zero_point).clamp(0, params.max_code)
    assert (codes.double() - wanted).abs().max() <= 1  # a half may be rounded otherwise in float32
    assert int(codes.max()) <= max_activation_code(spec.bits)


WEIGHTS = {
    "normal": lambda: torch.randn(6, 40), "conv": lambda: torch.randn(6, 4, 3, 3), "zero": lambda: torch.zeros(6, 40),
    "constant": lambda: torch.full((6, 40), 3.0), "tiny": lambda: torch.randn(6, 40) * 1e-38,
    "huge": lambda: torch.randn(6, 40) * 1e37, "one zero row": lambda: torch.randn(6, 40) * torch.arange(6)[:, None],
    "one column": lambda: torch.randn(6, 1), "outlier": lambda: torch.randn(6, 40).index_fill(1, torch.tensor(3), 90.0),
}  # fmt: skip


@pytest.mark.parametrize("algorithm", ["minmax", "kl", "percentile", "mse"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weight_codes_stay_in_range(name: str, granularity: str, algorithm: str) -> None:
    """Codes use the bits they may, scales are positive, one a channel, and minmax is within half a step."""
    torch.manual_seed(0)
    weight = WEIGHTS[name]()
    for bits in (7, 8):
        spec = QuantSpec("int8", "sym", granularity, algorithm, bits)  # type: ignore[arg-type]  # parametrized
        codes, scale = quantize_weight(weight, spec)
        assert (codes.dtype, codes.shape, scale.dtype, scale.shape) == (torch.int8, weight.shape, torch.float32, (6,))
        assert int(codes.abs().max()) <= max_weight_code(bits)
        assert bool((scale > 0).all())
        assert bool(scale.isfinite().all())
        assert granularity == "per_channel" or len(scale.unique()) == 1
        back = codes.double() * scale.double().reshape(-1, *[1] * (weight.ndim - 1))
        if algorithm == "minmax":
            steps = scale.double().reshape(-1, *[1] * (weight.ndim - 1))
            assert torch.all((back - weight.double()).abs() <= steps * 0.501)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), bits=st.sampled_from([7, 8]), spread=st.floats(1, 30))
def test_mse_weights_are_never_worse_than_minmax(seed: int, bits: int, spread: float) -> None:
    """The squared error of ``mse`` is at most that of ``minmax``, row by row."""
    weight = torch.randn(5, 60, generator=torch.Generator().manual_seed(seed))
    weight[:, 0] *= spread
    errors = {}
    for algorithm in ("minmax", "mse"):
        spec = QuantSpec("int8", "sym", "per_channel", algorithm, bits)  # type: ignore[arg-type]  # one of the two
        codes, scale = quantize_weight(weight, spec)
        errors[algorithm] = (codes * scale[:, None] - weight).square().sum(dim=1)
    assert torch.all(errors["mse"] <= errors["minmax"] * (1 + 1e-6))
