"""A folded convolution computes what its BatchNorm gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit_pytorch.lowering.fold import folded

PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any], tuple[int, ...]]] = {
    "1d": (lambda: torch.nn.Conv1d(4, 6, 3), lambda: torch.nn.BatchNorm1d(6), (5, 4, 9)),
    "2d": (lambda: torch.nn.Conv2d(4, 6, 3, padding=1), lambda: torch.nn.BatchNorm2d(6), (5, 4, 9, 9)),
    "3d": (lambda: torch.nn.Conv3d(4, 6, 3), lambda: torch.nn.BatchNorm3d(6), (5, 4, 5, 5, 5)),
    "reflected": (
        lambda: torch.nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        lambda: torch.nn.BatchNorm2d(6),
        (5, 4, 9, 9),
    ),
    "no bias": (lambda: torch.nn.Conv2d(4, 6, 3, bias=False), lambda: torch.nn.BatchNorm2d(6, eps=0.1), (5, 4, 9, 9)),
    "plain": (lambda: torch.nn.Conv2d(4, 6, 3), lambda: torch.nn.BatchNorm2d(6, affine=False), (5, 4, 9, 9)),
    "groups": (lambda: torch.nn.Conv2d(4, 6, 3, groups=2), lambda: torch.nn.BatchNorm2d(6), (5, 4, 9, 9)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_it_computes_what_the_two_compute(name: str) -> None:
    """But for float32's rounding: 1e-6 of values of size 1, negative factors included; the two stay as they are."""
    conv, norm, shape = PAIRS[name][0](), PAIRS[name][1](), PAIRS[name][2]
    x = torch.randn(shape)
    with torch.no_grad():
        for _ in range(5):
            norm(conv(torch.randn(shape)))
        if norm.weight is not None:
            norm.weight.copy_(torch.linspace(-1, 2, 6))
            norm.bias.copy_(torch.randn(6))
        before, wanted = conv.weight.clone(), norm.eval()(conv(x))
        torch.testing.assert_close(folded(conv, norm)(x), wanted, rtol=1e-5, atol=2e-6)
        assert torch.equal(conv.weight, before)
    assert (conv.bias is None) == (name == "no bias")
