"""A clone of a model without its values, to see whether an artefact brings all of them back."""

from __future__ import annotations

import contextlib
import types
from collections import deque
from typing import Any

import numpy as np
import torch

from ilit_pytorch.model.clone import MODULE_STATE, structural_clone

_PLAIN = (int, float, complex, str, bytes, type(None), type, types.FunctionType, types.MethodType, types.ModuleType)


def blank(model: torch.nn.Module) -> torch.nn.Module:
    """Return a clone of a float model in which no tensor has its value: NaN, or 0 where there is none.

    Nor has any array, wherever a module holds them: in containers, in objects and in modules that are none of its own.
    """
    clone = structural_clone(model, own=True)
    seen: set[int] = set()
    for module in clone.modules():
        _blank_module(module, seen)
    return clone


def _blank_module(module: torch.nn.Module, seen: set[int]) -> None:
    if id(module) in seen:
        return
    seen.add(id(module))
    for place in (module._parameters, module._buffers, vars(module)):  # noqa: SLF001 - the clone's own
        for name, value in list(place.items()):
            if name not in MODULE_STATE:
                place[name] = _blanked(value, seen)
    for child in module._modules.values():  # noqa: SLF001 - as above
        if child is not None:
            _blank_module(child, seen)


def _blanked(value: Any, seen: set[int]) -> Any:
    """Return the same with every tensor and array overwritten, at any depth."""
    if isinstance(value, torch.Tensor):
        return _blank_tensor(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fciub":
        return np.full_like(value, np.nan if value.dtype.kind in "fc" else 0)
    if isinstance(value, torch.nn.Module):
        _blank_module(value, seen)
        return value
    if isinstance(value, tuple):
        parts = [_blanked(item, seen) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if id(value) in seen or isinstance(value, _PLAIN):
        return value
    seen.add(id(value))
    if isinstance(value, dict):
        value.update((key, _blanked(item, seen)) for key, item in list(value.items()))
    elif isinstance(value, list | deque):
        for place, item in enumerate(list(value)):
            value[place] = _blanked(item, seen)
    else:
        _blank_object(value, seen)
    return value


def _blank_object(value: Any, seen: set[int]) -> None:
    """Overwrite what a plain object holds in its attributes or slots."""
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ()) if isinstance(name, str)]
    for name in (*list(getattr(value, "__dict__", {})), *slots):
        with contextlib.suppress(AttributeError, TypeError):  # an empty slot, or a frozen object
            object.__setattr__(value, name, _blanked(getattr(value, name), seen))


def _blank_tensor(tensor: torch.Tensor) -> torch.Tensor:
    fill: Any = float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0
    if isinstance(tensor, torch.nn.Parameter):
        empty = torch.full((), fill, dtype=tensor.dtype).expand(tensor.shape)  # takes no memory
        return torch.nn.Parameter(empty, requires_grad=False)
    return torch.full(tensor.shape, fill, dtype=tensor.dtype)
