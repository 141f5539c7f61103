"""The page on preparing a model: its layer is the plain one in float, and fused in INT8."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ilit_pytorch
from ilit.recipe import OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize
from ilit_pytorch.engine import kernels

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "prepare-your-model.md"
TEXT = PAGE.read_text(encoding="utf-8")
STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", bits=7), QuantSpec("uint8"))


def shown() -> torch.nn.Module:
    """Return the page's model, in eval mode."""
    names: dict[str, Any] = {}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)  # noqa: S102 - our own page
    model: torch.nn.Module = names["model"].eval()
    return model


def in_plain_calls(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """Return what a layer computes, as the left column of the page's table says it."""
    heads = (op(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2) for op in (layer.query, layer.key, layer.value))
    context = torch.nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    y = layer.norm1(layer.dropout(layer.out(context)) + x)
    output: torch.Tensor = layer.norm2(layer.dropout(layer.down(layer.activation(layer.up(y)))) + y)
    return output


@torch.no_grad()
def test_the_pages_layer_is_the_plain_one_in_float_and_fused_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer runs one kernel to codes and two that add; the output is near float's."""
    torch.manual_seed(0)
    model, x = shown(), torch.randn(2, 10, 64)
    wanted = in_plain_calls(model[1], in_plain_calls(model[0], x))
    assert torch.equal(model(x), wanted)

    adapter = ilit_pytorch.PyTorchAdapter()
    space = replace(adapter.describe(model, (x, None)), calibrations=(CalibrationSize(1, "batches"),))
    calibration = adapter.calibrate(model, [(x, None)], space)
    lowered = adapter.lower(model, Recipe(dict.fromkeys(space.ops, STATIC), "1 batches"), calibration)
    called: list[str] = []
    for name in ("linear_codes", "linear_add"):
        plain = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *args, name=name, plain=plain: called.append(name) or plain(*args))
    found = lowered(x)
    assert called == ["linear_add", "linear_codes", "linear_add"] * 2
    assert float((found - wanted).abs().max()) < 0.1


def test_every_function_is_on_the_page() -> None:
    """Those of ``ilit_pytorch`` that modeling code calls."""
    for name in ("QuantStub", "linear_activation", "linear_add", "feed_forward", "unobserved"):
        assert f"{name}(" in TEXT
        assert name in ilit_pytorch.__all__
