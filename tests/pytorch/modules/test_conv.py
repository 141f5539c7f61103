"""The INT8 convolution by itself, and which paddings it can do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ilit.errors import LoweringError
from ilit.recipe import QuantSpec
from ilit_pytorch.engine import kernels
from ilit_pytorch.module_parts.activation import StaticQuantizer, TokenQuantizer
from ilit_pytorch.modules.conv import Int8Conv, geometry
from ilit_pytorch.quantization.qparams import ActivationParams

STATIC = StaticQuantizer(ActivationParams(0.05, 100, 255))
CLASSES = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
GEOMETRIES: dict[str, tuple[dict[str, Any], Any]] = {
    "defaults": ({}, ([1, 1], [0, 0], [1, 1], 1)),
    "numbers": ({"stride": 2, "padding": (1, 0), "dilation": 3, "groups": 2}, ([2, 2], [1, 0], [3, 3], 2)),
    "valid": ({"padding": "valid"}, ([1, 1], [0, 0], [1, 1], 1)),
    "same": ({"padding": "same", "dilation": 2}, ([1, 1], [2, 2], [2, 2], 1)),
    "same, even kernel": ({"padding": "same", "kernel_size": 2}, None),
    "reflected": ({"padding": 1, "padding_mode": "reflect"}, None),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry_is_told_or_refused(name: str) -> None:
    """None where the kernel would have to pad one side more than the other, or with anything but zeros."""
    options, wanted = GEOMETRIES[name]
    assert geometry(torch.nn.Conv2d(4, 4, **{"kernel_size": 3, **options})) == wanted


def lowered(axes: int, **options: Any) -> tuple[Any, torch.Tensor, Int8Conv]:
    """Return a convolution whose weight is codes times scales, the codes, and its INT8 form."""
    conv: Any = CLASSES[axes](4, 6, 2, **options)
    codes = torch.randint(-63, 64, conv.weight.shape, dtype=torch.int8)
    scale = torch.rand(6) / 50 + 0.01
    conv.weight = torch.nn.Parameter(codes * scale.reshape(-1, *[1] * (axes + 1)))
    shape = geometry(conv)
    assert shape is not None
    return conv, codes, Int8Conv(kernels.pack_conv(codes, scale, shape), scale, conv.bias.detach(), shape, STATIC)


@pytest.mark.parametrize("axes", CLASSES)
def test_it_is_the_sum_of_its_codes(axes: int) -> None:
    """With and without an axis of rows, in one to three dimensions."""
    conv, codes, module = lowered(axes, stride=2, padding=1, groups=2)
    x = torch.randn(3, 4, *[5] * axes)
    with torch.no_grad():
        wanted = conv((STATIC(x).codes.float() - STATIC.params.zero_point) * STATIC.params.scale)
    torch.testing.assert_close(module(x), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module(x[0]), wanted[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(module.tensors()["weight"], codes)
    assert torch.equal(module.weight.clone(), conv.weight.detach())


@pytest.mark.parametrize("axes", CLASSES)
def test_it_is_built_again_from_what_an_artefact_holds(axes: int) -> None:
    """``meta`` and ``tensors`` give the same bits."""
    conv, _, module = lowered(axes, groups=2)
    x = torch.randn(3, 4, *[5] * axes)
    assert torch.equal(Int8Conv.restore(module.meta(), module.tensors(), conv)(x), module(x))


def test_a_scale_per_token_is_refused() -> None:
    """The last axis of an image is no feature; the line names the cure."""
    _, __, module = lowered(2)
    module.quantizer = TokenQuantizer(QuantSpec("uint8", "sym", "per_token", bits=8))
    with pytest.raises(LoweringError, match="one scale per token has no meaning here; use per_tensor"):
        module(torch.randn(1, 4, 5, 5))
