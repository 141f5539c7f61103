"""Which axis of a module's weight is its outputs': the first as in torch, the last in transformers' ``Conv1D``."""

from __future__ import annotations

from typing import Any

import torch

_MODULE, _CLASS = "transformers.pytorch_utils", "Conv1D"  # known by its name, so that transformers is not imported


def is_transposed(module: Any) -> bool:
    """Return whether a module is transformers' ``Conv1D``, a Linear with a weight (in, out), or of a class under it."""
    return any((kind.__module__, kind.__qualname__) == (_MODULE, _CLASS) for kind in type(module).__mro__)


def has_transposed_forward(module: Any) -> bool:
    """Return whether a module's class computes as ``Conv1D`` does, and not by a forward of its own."""
    forward = type(module).forward
    named = (getattr(forward, "__module__", ""), getattr(forward, "__qualname__", ""))
    return named == (_MODULE, f"{_CLASS}.forward")


def output_first(module: Any) -> torch.Tensor:
    """Return a module's weight as (out, ...), of a ``Conv1D`` a view of it."""
    weight: torch.Tensor = module.weight
    return weight.t() if is_transposed(module) else weight


def in_features(module: Any) -> int:
    """Return the width of a Linear's or ``Conv1D``'s input; a Linear's weight is not read, which may compute it."""
    return int(module.weight.shape[0] if is_transposed(module) else module.in_features)
