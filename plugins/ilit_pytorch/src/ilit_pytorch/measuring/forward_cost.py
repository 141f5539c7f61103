"""What one forward pass costs: time, the model's bytes and the largest activations."""

from __future__ import annotations

import time
from typing import Any

import torch

from ilit_pytorch.model.batch import call, tensors_in
from ilit_pytorch.module_parts.lowered import Lowered


def forward_seconds(model: torch.nn.Module, inputs: Any) -> float:
    """Return the wall time of one forward pass."""
    with torch.no_grad():
        start = time.perf_counter()
        call(model, inputs)
        return time.perf_counter() - start


def forward_seconds_and_bytes(model: torch.nn.Module, inputs: Any) -> tuple[float, int]:
    """Return the wall time of one forward pass and the largest sum of a leaf module's input and output bytes in it.

    Counting them takes some microseconds per leaf, which the time includes.
    """
    largest = 0

    def note(_module: torch.nn.Module, args: Any, output: Any) -> None:
        nonlocal largest
        largest = max(largest, sum(t.numel() * t.element_size() for t in tensors_in((args, output))))

    leaves = [m for m in model.modules() if next(m.children(), None) is None]
    handles = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        return forward_seconds(model, inputs), largest
    finally:
        for handle in handles:
            handle.remove()


def model_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of parameters, buffers and packed weights, from shapes and dtypes; a shared one counts once."""
    seen: dict[int, int] = {}
    inside = [vars(module).get("quantized") for module in model.modules() if isinstance(module, Lowered)]
    for module in (*model.modules(), *(part for one in inside if one is not None for part in one.modules())):
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if isinstance(module, Lowered):
            own += [value for value in vars(module).values() if isinstance(value, torch.Tensor)]
        packed = getattr(module, "_packed_params", None)
        if packed is not None and hasattr(module, "weight"):
            weight: Any = module.weight() if callable(module.weight) else module.weight
            seen[id(packed)] = weight.numel() * weight.element_size()
        for tensor in own:
            seen[id(tensor)] = tensor.numel() * tensor.element_size()
    return sum(seen.values())
