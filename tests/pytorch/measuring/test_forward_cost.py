"""Bytes are counted from shapes and dtypes, and counting leaves nothing on the model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ilit_pytorch.measuring.forward_cost import forward_seconds, forward_seconds_and_bytes, model_bytes


def test_a_shared_weight_counts_once(nets: SimpleNamespace) -> None:
    """Parameters and buffers, those that a state dict leaves out too."""
    assert model_bytes(nets.TiedEmbedding()) == 4 * (12 * 8 + (8 * 8 + 8) + 12 + 8)


def test_int8_weights_count_a_byte(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Scales and biases four."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    assert model_bytes(subject.lower(static=["0"])) == 16 * 8 + 4 * (16 + 16) + 4 * (16 * 3 + 3)


def test_activations_are_those_of_the_largest_leaf(nets: SimpleNamespace) -> None:
    """Its input and output together, whatever the rest of the model takes."""
    seconds, activations = forward_seconds_and_bytes(nets.mlp().eval(), torch.randn(6, 8))
    assert activations == 4 * 6 * (16 + 16)
    assert seconds > 0


def test_a_failing_forward_leaves_no_hook() -> None:
    """Nor does one that works."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 4))
    with pytest.raises(RuntimeError):
        forward_seconds_and_bytes(model, torch.randn(6, 9))
    assert forward_seconds(model, torch.randn(6, 8)) > 0
    assert not any(module._forward_hooks for module in model.modules())
