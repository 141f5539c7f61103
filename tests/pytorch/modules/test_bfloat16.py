"""The bfloat16 Linear by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.ao.nn.intrinsic import LinearReLU

from ilit_pytorch.module_parts.activation import SharedActivation
from ilit_pytorch.modules.bfloat16 import BFloat16Linear

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(9527))


@pytest.mark.parametrize("fused", [False, True], ids=["linear", "linear and relu"])
def test_weight_and_input_are_rounded_and_the_output_is_float32(fused: bool) -> None:
    """As torch computes it in bfloat16; a reader of a shared activation reads its float tensor."""
    plain = torch.nn.Linear(8, 4)
    original = LinearReLU(plain, torch.nn.ReLU()) if fused else plain
    with torch.no_grad():
        wanted = copy.deepcopy(original).bfloat16()(X.bfloat16()).float()
    module = BFloat16Linear(original)
    assert torch.equal(module(X), wanted)
    assert module(X).dtype == torch.float32
    assert torch.equal(module(SharedActivation(X)), wanted)


def test_built_around_what_was_rounded_before_it_is_the_same() -> None:
    """As when an artefact is read back."""
    module = BFloat16Linear(torch.nn.Linear(8, 4))
    assert torch.equal(BFloat16Linear.restore({}, {}, copy.deepcopy(module.original))(X), module(X))
