"""torch's quantized tensors and modules, made from plain codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ilit_pytorch.modules.torch_quantized import QUANTIZED_FORMS, quantize, torch_form, torch_op
from ilit_pytorch.quantization.qparams import ActivationParams

PARAMS = ActivationParams(0.05, 100, 255)
OUTPUT = ActivationParams(0.1, 128, 255)


def test_a_tensor_is_quantized_once() -> None:
    """One that is quantized already is returned as it is."""
    codes = quantize(torch.tensor([-5.0, 0.0, 0.05, 99.0]), PARAMS)
    assert codes.int_repr().tolist() == [0, 100, 101, 255]
    assert quantize(codes, OUTPUT) is codes


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("kind", ["linear", "conv2d"])
def test_an_op_holds_the_codes_it_is_given(kind: str, relu: bool) -> None:
    """Its output is the float op's on dequantized values, at most one step off."""
    codes = torch.randint(-63, 64, (6, 8) if kind == "linear" else (6, 4, 3, 3), dtype=torch.int8)
    scale, bias = torch.rand(6) / 50 + 0.01, torch.randn(6)
    x = torch.randn(3, 8) if kind == "linear" else torch.randn(3, 8, 5, 5)
    shape = None if kind == "linear" else ([1, 1], [1, 1], [1, 1], 2)
    module = torch_op((kind, relu), codes, scale, bias, shape)
    module.scale, module.zero_point = OUTPUT.scale, OUTPUT.zero_point
    assert torch.equal(module.weight().int_repr(), codes)
    weight, given = module.weight().dequantize(), quantize(x, PARAMS)
    plain: Any = torch.nn.functional
    options = {} if shape is None else {"padding": 1, "groups": 2}
    wanted = getattr(plain, kind)(given.dequantize(), weight, bias, **options)
    wanted = wanted.relu() if relu else wanted
    steps = (module(given).int_repr() - quantize(wanted, OUTPUT).int_repr().int()).abs()
    assert int(steps.max()) <= 1


def test_other_modules_have_forms_of_torchs_own() -> None:
    """They give out the scale that they are told, and the float module is left as it was."""
    original = torch.nn.LayerNorm(8)
    before = dict(vars(original))
    form = torch_form(original, OUTPUT)
    assert type(form) is QUANTIZED_FORMS[torch.nn.LayerNorm]
    output = form(quantize(torch.randn(3, 8), PARAMS))
    assert (output.q_scale(), output.q_zero_point()) == (pytest.approx(OUTPUT.scale), OUTPUT.zero_point)
    assert vars(original) == before
