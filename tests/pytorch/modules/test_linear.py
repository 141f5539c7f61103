"""The INT8 Linear by itself."""

from __future__ import annotations

import pytest
import torch

from ilit.recipe import QuantSpec
from ilit_pytorch.engine import kernels
from ilit_pytorch.module_parts.activation import DynamicQuantizer, Quantizer, StaticQuantizer, TokenQuantizer
from ilit_pytorch.modules.linear import Int8Linear
from ilit_pytorch.quantization.qparams import ActivationParams

CODES = torch.tensor([[1, -2, 3, 0], [63, 0, -63, 5]], dtype=torch.int8)
SCALE = torch.tensor([0.5, 0.25])
BIAS = torch.tensor([1.0, -1.0])
QUANTIZERS: dict[str, Quantizer] = {
    "static": StaticQuantizer(ActivationParams(0.125, 64, 255)),
    "dynamic": DynamicQuantizer(QuantSpec("uint8", "asym", bits=8)),
    "per token": TokenQuantizer(QuantSpec("uint8", "sym", "per_token", bits=8)),
}


def linear(quantizer: Quantizer, post_op: str = "none") -> Int8Linear:
    """Return a module of two outputs."""
    return Int8Linear(kernels.pack_linear(CODES), SCALE, BIAS, quantizer, post_op)


@pytest.mark.parametrize("post_op", ["none", "relu"])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_it_is_the_sum_of_its_codes(name: str, post_op: str) -> None:
    """In exact arithmetic, with a scale for the tensor or one for each token; the post-op comes last."""
    x, quantizer = torch.randn(3, 5, 4), QUANTIZERS[name]
    codes, scale, zero_point = quantizer(x)
    wanted = ((codes.double() - zero_point) * scale) @ (CODES.double() * SCALE[:, None]).T + BIAS
    wanted = wanted.relu() if post_op == "relu" else wanted
    torch.testing.assert_close(linear(quantizer, post_op)(x), wanted.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_it_is_built_again_from_what_an_artefact_holds(name: str) -> None:
    """``meta`` and ``tensors`` give the same bits."""
    module, x = linear(QUANTIZERS[name], "relu"), torch.randn(6, 4)
    again = Int8Linear.restore(module.meta(), module.tensors(), torch.nn.Linear(4, 2))
    assert torch.equal(again(x), module(x))


def test_its_weight_reads_as_the_float_ones() -> None:
    """Its shape costs no dequantizing, its values are codes times scales."""
    weight = linear(QUANTIZERS["static"]).weight
    assert (tuple(weight.shape), weight.dtype) == ((2, 4), torch.float32)
    assert torch.equal(weight.clone(), CODES.float() * SCALE[:, None])
