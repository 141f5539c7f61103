"""The INT8 convolution by itself, and which paddings it can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.ao.quantization import DeQuantStub, QuantStub

from ilit.errors import ArtefactError, LoweringError
from ilit.recipe import QuantSpec
from ilit_pytorch.artefact import files
from ilit_pytorch.engine import kernels
from ilit_pytorch.module_parts.activation import StaticQuantizer, TokenQuantizer
from ilit_pytorch.modules.conv import Int8Conv, geometry, padding_before
from ilit_pytorch.quantization.qparams import ActivationParams

STATIC = StaticQuantizer(ActivationParams(0.05, 100, 255))
CLASSES = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
PLAIN = ([1, 1], [0, 0], [1, 1], 1)
GEOMETRIES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "defaults": ({}, PLAIN, None),
    "numbers": ({"stride": 2, "padding": (1, 0), "dilation": 3, "groups": 2}, ([2, 2], [1, 0], [3, 3], 2), None),
    "valid": ({"padding": "valid"}, PLAIN, None),
    "same": ({"padding": "same", "dilation": 2}, ([1, 1], [2, 2], [2, 2], 1), None),
    "same, even kernel": ({"padding": "same", "kernel_size": (2, 3)}, PLAIN, ("constant", [1, 1, 0, 1])),
    "reflected": ({"padding": (1, 0), "padding_mode": "reflect"}, PLAIN, ("reflect", [0, 0, 1, 1])),
    "circular, nothing": ({"padding_mode": "circular"}, PLAIN, None),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's advice, not ours
@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometry_is_told(name: str) -> None:
    """The input is padded before where the kernel would have to pad one end more, or with anything but zeros."""
    options, wanted, before = GEOMETRIES[name]
    conv = torch.nn.Conv2d(4, 4, **{"kernel_size": 3, **options})
    assert (geometry(conv), padding_before(conv)) == (wanted, before)


def lowered(axes: int, **options: Any) -> tuple[Any, torch.Tensor, Int8Conv]:
    """Return a convolution whose weight is codes times scales, the codes, and its INT8 form."""
    conv: Any = CLASSES[axes](4, 6, 2, **options)
    codes = torch.randint(-63, 64, conv.weight.shape, dtype=torch.int8)
    scale = torch.rand(6) / 50 + 0.01
    conv.weight = torch.nn.Parameter(codes * scale.reshape(-1, *[1] * (axes + 1)))
    shape = geometry(conv)
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


def test_a_padded_input_is_saved_with_the_op(bench: Callable[..., Any], tmp_path: Path) -> None:
    """The same bits from files, and by way of a state dict; an architecture that pads otherwise is refused."""

    def net(**options: Any) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1, **options), torch.nn.Flatten())

    subject = bench(net(padding_mode="reflect"), torch.randn(8, 3, 6, 6))
    lowered = subject.lower(static=["0"])
    files.save(lowered, tmp_path)
    assert np.array_equal(subject.run(files.load(tmp_path, net(padding_mode="reflect"))), subject.run(lowered))
    for options in ({}, {"padding_mode": "circular"}):
        with pytest.raises(ArtefactError, match=r"has the geometry|is padded by"):
            files.load(tmp_path, net(**options))
    other = bench(net(padding_mode="circular"), subject.inputs).lower(static=["0"])
    with pytest.raises(RuntimeError, match="of another recipe"):
        other.load_state_dict(lowered.state_dict())


def test_between_torchs_stubs_a_padded_convolution_is_left(bench: Callable[..., Any]) -> None:
    """Its island goes on around it, and the reason is told."""
    convs = (torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode=mode) for mode in ("zeros", "reflect", "zeros"))
    subject = bench(torch.nn.Sequential(QuantStub(), *convs, DeQuantStub()), torch.randn(8, 3, 6, 6))
    assert subject.ops == ("1", "3")
    assert subject.calibration.structure.left["2"] == "between torch's stubs no INT8 kernel pads as it does"
    lowered = subject.lower(static=subject.ops)
    assert [type(module).__name__ for module in lowered[1:4]] == ["IslandOp", "IslandFloat", "IslandOp"]
    assert subject.close(lowered, 0.1)
