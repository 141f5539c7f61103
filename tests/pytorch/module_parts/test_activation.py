"""How float activations become codes at run time."""

from __future__ import annotations

import pytest
import torch

from ilit.recipe import QuantSpec
from ilit_pytorch.engine import quantize
from ilit_pytorch.module_parts.activation import (
    NOT_FINITE,
    DynamicQuantizer,
    Quantizer,
    SharedActivation,
    StaticQuantizer,
    TokenQuantizer,
    codes_of,
)
from ilit_pytorch.quantization.qparams import ActivationParams
from ilit_pytorch.quantization.smoothing import Smoothing

PARAMS = {7: ActivationParams(0.04, 58, 127), 8: ActivationParams(0.02, 117, 255)}


def quantizers(bits: int, channels: int) -> dict[str, Quantizer]:
    """Return one of each kind."""
    smoothing = Smoothing(torch.rand(channels) + 0.5, torch.randn(channels))
    return {
        "static": StaticQuantizer(PARAMS[bits]),
        "smoothed": StaticQuantizer(PARAMS[bits], smoothing),
        "dynamic": DynamicQuantizer(QuantSpec("uint8", "asym", bits=bits)),
        "per token": TokenQuantizer(QuantSpec("uint8", "sym", "per_token", bits=bits)),
    }


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 5, 4), (40,), (3, 100), (0, 4)])
@pytest.mark.parametrize("kind", ["static", "smoothed", "dynamic", "per token"])
@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_way_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], kind: str, bits: int, transposed: bool
) -> None:
    """Codes are the same in one pass, in several, and in several block by block."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    if transposed and values.ndim > 1:
        values = values.transpose(0, 1)
    quantizer = quantizers(bits, values.shape[-1])[kind]
    first = quantizer(values)
    assert first.codes.shape == values.shape
    assert first.codes.numel() == 0 or int(first.codes.max()) < 1 << bits
    monkeypatch.setattr(quantize, "_one_pass_is_exact", lambda: False)
    assert torch.equal(quantizer(values).codes, first.codes)
    monkeypatch.setattr(quantize, "BLOCK", 8)
    assert torch.equal(quantizer(values).codes, first.codes)


@pytest.mark.parametrize("kind", ["static", "smoothed", "dynamic", "per token"])
@pytest.mark.parametrize("bits", [7, 8])
def test_codes_stand_for_their_values(kind: str, bits: int) -> None:
    """Within range, each is at most half a step off."""
    values = torch.randn(32, 16).clamp(-1.5, 1.5)
    quantizer = quantizers(bits, 16)[kind]
    codes, scale, zero_point = quantizer(values)
    back = (codes.double() - zero_point) * scale
    smoothing = quantizer.smoothing if isinstance(quantizer, StaticQuantizer) else None
    wanted = values.double()
    if smoothing is not None:
        wanted = (wanted - smoothing.centre) / smoothing.vector
        wanted = wanted.clamp((0 - zero_point) * scale, ((1 << bits) - 1 - zero_point) * scale)
    assert bool((back - wanted).abs().le(torch.as_tensor(scale) * 0.5001).all())


@pytest.mark.parametrize("kind", ["dynamic", "per token"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_range_that_is_not_finite_is_refused(kind: str, value: float) -> None:
    """A scale found in such values would make all codes meaningless."""
    values = torch.randn(4, 8)
    values[2, 3] = value
    with pytest.raises(ValueError, match=NOT_FINITE):
        quantizers(8, 8)[kind](values)


@pytest.mark.parametrize("bits", [7, 8])
def test_static_codes_of_what_is_not_finite(bits: int) -> None:
    """Infinities are clamped as all numbers are, NaN becomes the largest code."""
    top = (1 << bits) - 1
    codes = StaticQuantizer(PARAMS[bits])(torch.tensor([torch.nan, torch.inf, -torch.inf] * 9)).codes
    assert codes.tolist() == [top, top, 0] * 9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_quantized_from_float32(dtype: torch.dtype) -> None:
    """Plain or behind a stub that several readers share."""
    values, quantizer = torch.randn(4, 8).to(dtype), StaticQuantizer(PARAMS[8])
    wanted = quantizer(values.float()).codes
    assert torch.equal(codes_of(values, quantizer).codes, wanted)
    assert torch.equal(codes_of(SharedActivation(values), quantizer).codes, wanted)
