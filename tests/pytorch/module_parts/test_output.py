"""What an INT8 op answers in, and what backward through it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from ilit.errors import LoweringError
from ilit.recipe import OpConfig, QuantSpec

STATIC = OpConfig(
    "int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8", "asym", bits=8)
)
CONFIGS = {
    "static": STATIC,
    "smoothed": replace(STATIC, smoothing=0.8),
    "dynamic": replace(STATIC, approach="dynamic"),
    "per token": OpConfig("int8", "dynamic", STATIC.weight, QuantSpec("uint8", "sym", "per_token", "minmax", 8)),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_and_out(bench: Callable[..., Any], name: str, dtype: torch.dtype) -> None:
    """An activation in half precision is quantized from float32 and answered in its own dtype."""
    x = torch.randn(64, 32) * 3
    subject = bench(torch.nn.Sequential(torch.nn.Linear(32, 16)), x)
    lowered = subject.lower(**{"0": CONFIGS[name]})
    half = x.to(dtype)
    found, wanted = lowered(half), lowered(half.float())
    assert found.dtype == dtype
    assert torch.equal(found, wanted.to(dtype))


@pytest.mark.parametrize("name", CONFIGS)
def test_autocast_decides_the_dtype(bench: Callable[..., Any], name: str) -> None:
    """Under autocast an INT8 Linear answers as the float one does, in bfloat16, and about as exactly."""
    x = torch.randn(64, 32) * 3
    model = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.Linear(16, 8))
    subject = bench(model, x)
    lowered = subject.lower(**dict.fromkeys(subject.ops, CONFIGS[name]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, float_answer = lowered(x), model(x)
    assert found.dtype == float_answer.dtype == torch.bfloat16
    assert (found.float() - model(x)).norm() < 0.03 * model(x).norm()


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (3, 6, 6), (2, 3, 6, 1)])
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
def test_a_convolution_keeps_the_memory_format(bench: Callable[..., Any], shape: tuple[int, ...], last: bool) -> None:
    """Contiguous in, contiguous out, so that a ``view`` works after it; channels_last in, channels_last out."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1))
    lowered = bench(model, torch.randn(2, 3, 6, 6)).lower(static=["0"])
    x = torch.randn(shape)
    if last and x.ndim == 4:
        x = x.to(memory_format=torch.channels_last)
    found, wanted = lowered(x), model(x)
    assert found.stride() == wanted.stride()
    assert found.shape == wanted.shape


@pytest.mark.parametrize("name", CONFIGS)
def test_backward_is_refused(bench: Callable[..., Any], name: str) -> None:
    """In one line, wherever a gradient would have to go through an INT8 op; no gradient goes round it."""
    x = torch.randn(64, 32)
    subject = bench(torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.LayerNorm(16)), x)
    lowered = subject.lower(**{"0": CONFIGS[name]})
    with pytest.raises(LoweringError, match="an INT8 op has no gradient"):
        lowered(x.requires_grad_()).sum().backward()
    assert x.grad is None


def test_nothing_is_trained_by_chance(bench: Callable[..., Any]) -> None:
    """A lowered model has no parameter that asks for a gradient, so a training loop stops at its first backward."""
    x = torch.randn(64, 32)
    lowered = bench(torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.LayerNorm(16)), x).lower(static=["0"])
    with pytest.raises(RuntimeError, match="does not require grad"):
        lowered(x).sum().backward()


def test_gradients_do_not_end_at_a_stub(stubbed: Any) -> None:
    """Quantized tensors have none, so a graph that goes into them is refused where it does."""
    lowered = stubbed.lower(static=["conv1", "conv2"])
    with pytest.raises(LoweringError, match="run the model under torch"):
        lowered(stubbed.inputs.clone().requires_grad_())


@pytest.mark.parametrize("kind", ["linear", "embedding"])
def test_a_thawed_op_refuses_backward(bench: Callable[..., Any], kind: str) -> None:
    """Whoever thaws a lowered model and trains it is stopped at its first backward, not at half a model."""
    first = torch.nn.Linear(8, 8) if kind == "linear" else torch.nn.Embedding(8, 8)
    x = torch.randn(16, 8) if kind == "linear" else torch.randint(0, 8, (16,))
    config = STATIC if kind == "linear" else OpConfig("int8", "weight_only", STATIC.weight)
    lowered = bench(torch.nn.Sequential(first, torch.nn.LayerNorm(8)), x).lower(**{"0": config})
    with pytest.raises(LoweringError, match="an INT8 op has no gradient"):
        lowered.requires_grad_(True)(x).sum().backward()


@pytest.mark.parametrize("value", [torch.ones(4, 32, dtype=torch.int64), torch.ones(4, 32) > 0, None])
def test_other_inputs_are_refused(bench: Callable[..., Any], value: Any) -> None:
    """As the float op refuses them, in one line."""
    lowered = bench(torch.nn.Sequential(torch.nn.Linear(32, 16)), torch.randn(8, 32)).lower(static=["0"])
    with pytest.raises(LoweringError, match="takes a floating-point tensor, not"):
        lowered[0](value)
