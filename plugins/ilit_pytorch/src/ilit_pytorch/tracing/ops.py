"""Which modules are ops, and why a module of such a kind may have to stay in float."""

from __future__ import annotations

from typing import Any

import torch
import torch.ao.nn.intrinsic as fused

from ilit_pytorch.model.weights import has_transposed_forward, is_transposed

_BY_FORWARD: dict[Any, str] = {
    torch.nn.Linear.forward: "linear",
    torch.nn.Conv1d.forward: "conv1d",
    torch.nn.Conv2d.forward: "conv2d",
    torch.nn.Conv3d.forward: "conv3d",
    torch.nn.Embedding.forward: "embedding",
}
_CLASSES = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Embedding)
_PLAIN_CALL = torch.nn.Module.__call__
_STATE_METHODS = ("get_extra_state", "set_extra_state", "_save_to_state_dict", "_load_from_state_dict")
_STATE_HOOKS = (
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
RESERVED = frozenset({
    "axes", "biased", "channels_last", "codes", "computed", "computing", "dtype", "folded", "geometry", "input_first",
    "int8_bias", "int8_kernels", "kind", "made", "packed", "padded", "post_op", "quantized", "quantizer",
    "weight_scale",
})  # fmt: skip
"""What INT8 modules call their own parts."""
FUSED_RELU = (fused.LinearReLU, fused.ConvReLU1d, fused.ConvReLU2d, fused.ConvReLU3d)


def op_kind(module: torch.nn.Module) -> str | None:
    """Return the op's kind, or None where a kernel could not stand for this module."""
    if isinstance(module, torch.jit.ScriptModule):
        return None
    kind = _kind_of(inner_op(module))
    return kind if kind is not None and not why_float(module) else None


def _kind_of(inner: Any) -> str | None:
    return "linear" if has_transposed_forward(inner) else _BY_FORWARD.get(type(inner).forward)


def inner_op(module: torch.nn.Module) -> Any:
    """Return the Linear or convolution inside torch's fused form, or the module itself."""
    return module[0] if type(module) in FUSED_RELU else module  # type: ignore[index]  # fused forms are Sequential


def is_fused(module: torch.nn.Module) -> bool:
    """Return whether the module is torch's fused form of an op with ReLU."""
    return type(module) in FUSED_RELU


def has_hooks(module: torch.nn.Module) -> bool:
    """Return whether forward hooks or pre-hooks stand on a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001 - no public name


def why_float(module: torch.nn.Module) -> str:
    """Return the reason for which a module of a quantizable kind has to stay in float, else an empty string.

    A weight that torch computes when it is read is computed by this, so ask it of clones.
    """
    if isinstance(module, torch.jit.ScriptModule):
        scripted = getattr(module, "original_name", "") in {cls.__name__ for cls in _CLASSES}
        return "it is scripted or traced; put the eager module there" if scripted else ""
    inner = inner_op(module)
    if not isinstance(inner, _CLASSES) and not is_transposed(inner):
        return ""
    patched = next(filter(None, map(_patch, {module, inner})), "")
    if patched:
        return patched
    if _kind_of(inner) is None:
        return f"its class {type(inner).__name__} has a forward of its own"
    own = next(filter(None, map(_own_state, {module, inner})), "")
    if own:
        return own
    if is_fused(module) and any(map(has_hooks, module.children())):
        return "hooks stand on what is fused in it"
    if isinstance(inner, torch.nn.Embedding) and inner.max_norm is not None:
        return "its max_norm changes the weight when it is read"
    return _weight_problem(inner)


def why_irreplaceable(module: torch.nn.Module, kind: type[torch.nn.Module]) -> str:
    """Return the reason for which nothing can stand for a module of torch's class ``kind``, else an empty string."""
    if hasattr(module, "parametrizations"):
        return "its parameters are computed"
    return _patch(module) or _own_state(module, kind)


def _patch(module: torch.nn.Module) -> str:
    """Say that a module's owner has replaced its call, in the instance or in its class; else return an empty string."""
    if {"forward", "_call_impl", "_wrapped_call_impl", "_slow_forward"} & vars(module).keys():
        return "its forward is patched"
    if type(module).__call__ is not _PLAIN_CALL:
        return f"its class {type(module).__name__} has a __call__ of its own"
    return ""


def _own_state(module: torch.nn.Module, kind: type[torch.nn.Module] = torch.nn.Module) -> str:
    """Name a state or attribute of a module that an INT8 module could not take over; else return an empty string."""
    taken = RESERVED & {*vars(module), *module._parameters, *module._buffers, *module._modules}  # noqa: SLF001 - no public name
    if taken:
        return f"it has a {min(taken)!r} of its own, which is what an INT8 module calls one of its parts"
    if any(getattr(type(module), name) is not getattr(kind, name) for name in _STATE_METHODS):
        return f"its class {type(module).__name__} has a state dict of its own"
    if any(not _is_torchs(hook) for name in _STATE_HOOKS for hook in vars(module).get(name, {}).values()):
        return "hooks on its state dict speak of its float weight"
    return ""


def _is_torchs(hook: Any) -> bool:
    """Whether a state-dict hook is one by which torch saves the parts of a weight that it computes."""
    plain = getattr(hook, "hook", hook)  # torch wraps those of a user
    return str(getattr(plain, "__module__", "")).startswith("torch.")


def _weight_problem(inner: Any) -> str:
    weight = inner.weight
    if not isinstance(weight, torch.Tensor):
        return "it has no weight"
    if weight.dtype != torch.float32:
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}, not float32"
    return ""
