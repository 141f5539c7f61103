"""Bias correction takes back what rounding does to the mean output."""

from __future__ import annotations

import pytest
import torch

from ilit.recipe import QuantSpec, Recipe
from ilit_pytorch.quantization.bias_correction import bias_shift
from ilit_pytorch.quantization.qparams import quantize_weight

SPEC = QuantSpec("int8", "sym", "per_channel", "minmax", 7)


def test_a_linear_keeps_its_mean_output() -> None:
    """With the shift the mean over the rows is the float one."""
    x, weight = torch.rand(500, 9), torch.randn(4, 9)
    codes, scale = quantize_weight(weight, SPEC)
    rounded = codes.float() * scale[:, None]
    shift = bias_shift(weight, codes, scale, x.mean(0))
    off = (x @ rounded.T - x @ weight.T).mean(0)
    assert off.abs().max() > 1e-3
    assert torch.allclose((x @ rounded.T + shift - x @ weight.T).mean(0), torch.zeros(4), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_convolution_keeps_its_mean_output(groups: int) -> None:
    """The same without padding, for groups too, where each channel is constant."""
    means, weight = torch.rand(4), torch.randn(8, 4 // groups, 3, 3)
    x = means[None, :, None, None].expand(2, 4, 6, 6)
    codes, scale = quantize_weight(weight, SPEC)
    rounded = codes.float() * scale[:, None, None, None]
    shift = bias_shift(weight, codes, scale, means, groups)
    wanted, found = (torch.nn.functional.conv2d(x, w, groups=groups) for w in (weight, rounded))
    assert torch.allclose(found + shift[None, :, None, None], wanted, atol=1e-4)


def test_the_transform_decides(bench, nets) -> None:  # type: ignore[no-untyped-def]  # fixtures of conftest
    """A recipe with ``bias_correction`` runs with another bias than one without, and closer to float on average."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(8, 4, bias=False)), torch.rand(256, 8) + 1)
    config = {"0": nets.STATIC}
    off = {}
    for corrected in (False, True):
        recipe = Recipe(config, "1 batches", {"bias_correction": corrected})
        lowered = subject.adapter.lower(subject.model, recipe, subject.calibration)
        off[corrected] = abs((subject.run(lowered) - subject.run()).mean(axis=0)).max()
        assert ("bias" in lowered.get_submodule("0").tensors()) == corrected
    assert off[True] < 0.5 * off[False]
