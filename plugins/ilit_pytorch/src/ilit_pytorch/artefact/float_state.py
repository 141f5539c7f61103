"""The float state of a lowered model, which its artefact has to hold beside codes: tensors and modules' extra state."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
import torch

from ilit.errors import ModelError
from ilit_pytorch.module_parts.lowered import Lowered

EXTRA = "extra_state"


@dataclass(frozen=True)
class FloatState:
    """What lowering has not made.

    Attributes:
        tensors: name in the float model -> parameter, buffer (those that ``state_dict`` leaves out too) or tensor that
            is a plain attribute of a module.
        attributes: names of those that are plain attributes.
        extra: module path -> what its ``get_extra_state`` gives, as JSON; its tensors stand in ``tensors``.
    """

    tensors: dict[str, torch.Tensor]
    attributes: frozenset[str] = frozenset()
    extra: dict[str, Any] = field(default_factory=dict)


def float_state(model: torch.nn.Module, paths: Mapping[str, str]) -> FloatState:
    """Return the float state of a lowered model.

    Args:
        model: the lowered model.
        paths: where lowering put a module -> its kind.

    Raises:
        ModelError: a module's state holds something that neither safetensors nor JSON can; it is named.
    """
    tensors: dict[str, torch.Tensor] = {}
    attributes: set[str] = set()
    extra: dict[str, Any] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        name = _float_path(model, path, paths)
        if name is None:
            continue
        prefix = f"{name}." if name else ""
        made = module.made if isinstance(module, Lowered) else frozenset()
        for place in (module._parameters, module._buffers, vars(module)):  # noqa: SLF001 - state_dict leaves out some
            own = {
                f"{prefix}{leaf}": t for leaf, t in place.items() if isinstance(t, torch.Tensor) and leaf not in made
            }
            tensors.update(own)
            attributes.update(own if place is vars(module) else ())
        if _has_extra_state(module):
            extra[name] = _encoded(_extra_state(module, name), f"{prefix}{EXTRA}", tensors)
        _check_entries(module, name)
    for name, tensor in tensors.items():
        _check_tensor(name, tensor)
    return FloatState(tensors, frozenset(attributes), extra)


def fill_extra(model: torch.nn.Module, extra: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Give the modules of a clone the extra state that ``float_state`` found."""
    for path, encoded in extra.items():
        model.get_submodule(path).set_extra_state(_decoded(encoded, tensors))


def extra_tensors(extra: Any) -> set[str]:
    """Return the names of the tensors that extra state refers to."""
    if isinstance(extra, Mapping):
        own = {extra["tensor"]} if isinstance(extra.get("tensor"), str) and len(extra) == 1 else set()
        return own.union(*map(extra_tensors, extra.values()))
    return set().union(*map(extra_tensors, extra)) if isinstance(extra, list) else set()


def _float_path(model: torch.nn.Module, path: str, paths: Mapping[str, str]) -> str | None:
    """Return a module's path in the float model; None for what lowering has made inside another module."""
    owner = next((p for p in paths if path.startswith(f"{p}.")), None)
    if owner is None:
        return path
    head, _, rest = path.removeprefix(f"{owner}.").partition(".")
    module = model.get_submodule(owner)
    if head != "original" or not (isinstance(module, Lowered) and module.wraps_original()):
        made = isinstance(module, Lowered) and head in module.made
        return None if made else path
    if isinstance(module._modules.get("original"), Lowered):  # noqa: SLF001 - the wrapper speaks for what is inside
        return None
    return f"{owner}.{rest}" if rest else owner


def _has_extra_state(module: torch.nn.Module) -> bool:
    return type(module).get_extra_state is not torch.nn.Module.get_extra_state


def _extra_state(module: torch.nn.Module, path: str) -> Any:
    if type(module).set_extra_state is torch.nn.Module.set_extra_state:
        raise ModelError(f"{_named(module, path)} has get_extra_state but no set_extra_state; write one")
    return module.get_extra_state()


def _named(module: torch.nn.Module, path: str) -> str:
    return f"{path or 'the model'} ({type(module).__name__})"


def _check_entries(module: torch.nn.Module, path: str) -> None:
    """Refuse what a module of its own making puts into the state dict, such as packed weights of torch's modules."""
    if isinstance(module, Lowered) or type(module)._save_to_state_dict is torch.nn.Module._save_to_state_dict:  # noqa: SLF001 - no public way
        return
    entries: dict[str, Any] = {}
    module._save_to_state_dict(entries, "", False)  # noqa: SLF001 - as above
    own = {*module._parameters, *module._buffers, torch.nn.modules.module._EXTRA_STATE_KEY_SUFFIX}  # noqa: SLF001 - as above
    for name, value in entries.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"{_named(module, path)} holds {name!r} as a {type(value).__name__}, which an artefact without pickle "
                "cannot hold; quantize the float model, or hold tensors in buffers"
            )
        if name.partition(".")[0] not in own | module._modules.keys():  # noqa: SLF001 - as above
            raise ModelError(
                f"{_named(module, path)} has {name!r} in its state dict only, where no artefact looks; save it by "
                "register_buffer"
            )


def _check_tensor(name: str, tensor: torch.Tensor) -> None:
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    kind = str(tensor.layout if tensor.layout != torch.strided else tensor.dtype).removeprefix("torch.")
    if not plain or not _can_be_written(tensor.dtype):
        raise ModelError(f"{name} is a {kind} tensor, which safetensors cannot hold; store it as a plain dense tensor")


@functools.cache
def _can_be_written(dtype: torch.dtype) -> bool:
    try:
        safetensors.torch.save({"of this dtype": torch.empty(0, dtype=dtype)})
    except (KeyError, ValueError, safetensors.SafetensorError):
        return False
    return True


def _encoded(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return extra state as JSON; tensors are put into ``tensors`` under names that begin with ``name``."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name}
    if type(value) is list:
        return [_encoded(item, f"{name}.{number}", tensors) for number, item in enumerate(value)]
    if type(value) is tuple:
        return {"tuple": _encoded(list(value), name, tensors)}
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {"dict": [[key, _encoded(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    raise ModelError(
        f"{name.removesuffix(EXTRA).rstrip('.') or 'the model'}: its get_extra_state gives a {type(value).__name__}, "
        "which an artefact without pickle cannot hold; give tensors, numbers, text, and lists and dicts of these"
    )


def _decoded(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, tensors) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]].clone()
    if "tuple" in value:
        return tuple(_decoded(value["tuple"], tensors))
    return {key: _decoded(item, tensors) for key, item in value["dict"]}
