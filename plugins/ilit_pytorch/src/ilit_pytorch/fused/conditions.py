"""When one INT8 kernel may stand for several calls: nothing watches or changes them, and nobody needs what is between.

All else takes the plain calls, so each condition here may be too strict, and none too lax.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules import module as _every

from ilit_pytorch.module_parts.activation import DynamicQuantizer, SharedActivation, StaticQuantizer
from ilit_pytorch.modules.linear import Int8Linear
from ilit_pytorch.modules.stub import FloatReader, QuantStub, SharedSource

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_EVERYWHERE = tuple(f"_global{name}" for name in _HOOKS)
_PATCHES = frozenset({"forward", "_call_impl", "_wrapped_call_impl", "_slow_forward", "_compiled_call_impl"})
_PLAIN_CALL = torch.nn.Module.__call__
_GELU, _RELU = torch.nn.functional.gelu, (torch.relu, torch.nn.functional.relu)


def unobserved(*modules: torch.nn.Module) -> bool:
    """Return whether running what is inside these modules, past their calls, is the same to everybody.

    It is not where hooks stand on one of them or on all modules of the process, where somebody has replaced its
    ``forward`` or call, or has compiled it. Its class is the caller's to compare. While the model is traced, compiled
    or exported, or autocast is on, the answer is no.
    """
    return _is_eager() and not _watched_everywhere() and all(map(_is_plain, modules))


def _is_eager() -> bool:
    """Return whether operations run as they are written: not traced, compiled, exported or cast by autocast."""
    tracing = torch.compiler.is_compiling() or torch.compiler.is_exporting() or torch._C._get_tracing_state()  # noqa: SLF001 - what torch.jit.is_tracing asks, typed
    return not tracing and not torch.is_autocast_enabled("cpu")


def _watched_everywhere() -> bool:
    everywhere = _every.__dict__
    return any([everywhere[name] for name in _EVERYWHERE])  # noqa: C419 - a list is quicker, and this runs at every call


def _is_plain(module: torch.nn.Module) -> bool:
    own = module.__dict__
    watched = any([own.get(name) for name in _HOOKS])  # noqa: C419 - as above
    return not watched and not (_PATCHES & own.keys()) and type(module).__call__ is _PLAIN_CALL


def rowwise(*linears: torch.nn.Module) -> bool:
    """Return whether Linears, at least one of them in INT8, give each row of their input its output by itself.

    So rows whose output nobody reads may be left out. One scale for a whole dynamic activation depends on all of them.
    """
    kinds = set(map(type, linears))
    dynamic = any(type(linear) is Int8Linear and type(linear.quantizer) is DynamicQuantizer for linear in linears)
    return Int8Linear in kinds and kinds <= {Int8Linear, FloatReader, torch.nn.Linear} and not dynamic


def post_op_of(activation: Any) -> str | None:
    """Return the post-op that equals an activation function: ``gelu`` (the exact one) or ``relu``; None for another.

    The function may be a module of torch or transformers, or ``torch.nn.functional.gelu`` and the like themselves.
    """
    if not isinstance(activation, torch.nn.Module):
        return "gelu" if activation is _GELU else "relu" if activation in _RELU else None
    if not unobserved(activation):
        return None
    kind = type(activation)
    if kind is torch.nn.ReLU:
        return "relu"
    if kind is torch.nn.GELU:
        return "gelu" if activation.approximate == "none" else None
    transformers_own = kind.__name__ == "GELUActivation" and kind.__module__ == "transformers.activations"
    return "gelu" if transformers_own and vars(activation).get("act") is _GELU else None


def is_identity(module: Any) -> bool:
    """Return whether a module between two fused calls gives what it is given: none, a dropout that is off, a stub."""
    if module is None:
        return True
    kind = type(module)
    if kind is torch.nn.Dropout:
        return (not module.training or module.p == 0.0) and unobserved(module)
    return kind in (torch.nn.Identity, QuantStub, SharedSource) and unobserved(module)


def is_static(linear: Any) -> bool:
    """Return whether an op is an INT8 Linear with static codes, and its call could be made in other words."""
    return (
        type(linear) is Int8Linear
        and type(linear.quantizer) is StaticQuantizer
        and linear.post_op == "none"
        and not (torch.is_grad_enabled() and any(own.requires_grad for own in linear.parameters(recurse=False)))
        and unobserved(linear)
    )


def is_plain_value(value: Any) -> bool:
    """Return whether a value, shared or not, is a float32 tensor with values and without a gradient to hand on."""
    tensor = value.tensor if isinstance(value, SharedActivation) else value
    return (
        type(tensor) is torch.Tensor
        and tensor.dtype == torch.float32
        and tensor.layout == torch.strided
        and tensor.numel() > 0
        and not (tensor.requires_grad and torch.is_grad_enabled())
    )
