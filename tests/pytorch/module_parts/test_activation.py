"""How float activations become codes at run time."""

from __future__ import annotations

import pytest
import torch

from ilit_pytorch.module_parts import activation
from ilit_pytorch.module_parts.activation import StaticQuantizer
from ilit_pytorch.quantization.qparams import ActivationParams
from ilit_pytorch.quantization.smoothing import Smoothing


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 5, 4), (40,), (3, 100), (0, 4)])
@pytest.mark.parametrize("smoothed", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_blocks_make_no_difference(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], smoothed: bool, transposed: bool
) -> None:
    """A large activation is quantized block by block to the very codes that it has as a whole, layout included."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    if transposed and values.ndim > 1:
        values = values.transpose(0, 1)
    smoothing = Smoothing(torch.rand(values.shape[-1]) + 0.5, torch.randn(values.shape[-1])) if smoothed else None
    quantizer = StaticQuantizer(ActivationParams(0.02, 117, 255), smoothing)
    whole = quantizer(values).codes
    monkeypatch.setattr(activation, "BLOCK", 8)
    assert torch.equal(quantizer(values).codes, whole)
    assert quantizer(values).codes.stride() == whole.stride()
