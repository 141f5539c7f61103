"""A structural clone: the user's model again, sharing parameters, with its own modules, buffers and config.

Every forward pass of ours runs on one, because a forward may write: transformers' models write into ``config`` and
leave hooks, and others count their calls.
"""

from __future__ import annotations

import copy
import functools
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ilit.errors import ModelError


def structural_clone(model: torch.nn.Module, replaced: Mapping[str, torch.nn.Module] | None = None) -> torch.nn.Module:
    """Return a clone in eval mode whose parameters are the model's own tensors and whose buffers are copies.

    Args:
        model: any module.
        replaced: path -> what stands in the clone in place of the module there, and wherever else that one stands.

    Raises:
        ModelError: the model holds something that cannot be copied, such as a lock or an open file.
    """
    modules = _all_modules(model)
    memo: dict[int, Any] = {id(tensor): tensor for tensor in _shared_tensors(modules)}
    for path, new in (replaced or {}).items():
        memo[id(submodule(model, path))] = _in_eval_mode(new)
    try:
        clone: torch.nn.Module = _copied(model, memo)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "keep what is not tensors, modules or plain values out of the model"
        ) from error
    # ``eval`` takes a millisecond for a large model, and mostly does what copying has done.
    kinds: set[Any] = {type(module) for module in modules if module.training}
    return clone.eval() if any(_must_be_called(kind) for kind in kinds) else clone


@functools.cache
def _must_be_called(kind: Any) -> bool:
    """Whether ``eval`` does more to an instance than copying has done."""
    return not _is_plain(kind) or kind.eval is not torch.nn.Module.eval or kind.train is not torch.nn.Module.train


def _in_eval_mode(model: torch.nn.Module) -> torch.nn.Module:
    modules = _all_modules(model) if model._modules else (model,)  # noqa: SLF001 - most of them are leaves
    return model.eval() if any(module.training for module in modules) else model


def submodule(model: torch.nn.Module, path: str) -> torch.nn.Module:
    """Return ``model.get_submodule(path)``, several times as fast, for paths that are known to exist."""
    for name in path.split(".") if path else ():
        model = model._modules[name]  # type: ignore[assignment]  # noqa: SLF001 - a path names modules only
    return model


def own_copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that shares the memory until one of the two is written to."""
    copied: torch.Tensor = torch._lazy_clone(tensor)  # noqa: SLF001 - copy-on-write has no public name
    return copied


_ATOMS = frozenset(
    {int, float, str, bytes, bool, type(None), type, torch.Size, torch.dtype, torch.device, types.FunctionType}
)

_CONTAINERS = frozenset({dict, OrderedDict, set, list})


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Return what ``copy.deepcopy(value, memo)`` would, for plain modules several times as fast and in eval mode.

    A search lowers one recipe after the other, so this is what each of them costs before anything is quantized.
    """
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    if not isinstance(value, torch.nn.Module) or not _is_plain(kind):
        return value if _is_computed(value) else copy.deepcopy(value, memo)
    clone = kind.__new__(kind)
    memo[id(value)] = clone
    attributes = vars(clone)
    attributes.update(vars(value), training=False)
    for name, attribute in vars(value).items():
        container: Any = type(attribute)
        if container in _ATOMS:
            continue
        if container in _CONTAINERS and not attribute:
            attributes[name] = container()
        elif container is dict or container is OrderedDict:
            attributes[name] = container([(key, _copied(item, memo)) for key, item in attribute.items()])
        else:
            attributes[name] = _copied(attribute, memo)
    return clone


@functools.cache
def _is_plain(kind: Any) -> bool:
    """Whether a class leaves it to ``torch.nn.Module`` how its instances are copied."""
    ways = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__")
    return all(getattr(kind, way, None) is getattr(torch.nn.Module, way, None) for way in ways) and not hasattr(
        kind, "__slots__"
    )


def replace_modules(model: torch.nn.Module, replacements: Mapping[str, torch.nn.Module]) -> torch.nn.Module:
    """Put each module in place of the one at its path, wherever else that one stands as well; return the model.

    The path ``""`` is the model itself.
    """
    if "" in replacements:
        return replacements[""]
    by_identity = {id(model.get_submodule(path)): new for path, new in replacements.items()}
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # noqa: SLF001 - named_children leaves repeated modules out
            if id(child) in by_identity:
                parent._modules[name] = by_identity[id(child)]  # noqa: SLF001 - setattr refuses names with dots
    return model


def leave_fast_path(model: torch.nn.Module) -> None:
    """Make torch's TransformerEncoderLayers call their Linears instead of handing the weights to one fused kernel."""
    for module in _all_modules(model):
        if isinstance(module, torch.nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, torch.nn.TransformerEncoder):
            module.use_nested_tensor = False


def _all_modules(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return what ``model.modules()`` yields, in another order and several times as fast."""
    found: dict[int, torch.nn.Module] = {}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if id(module) not in found:
            found[id(module)] = module
            waiting += [child for child in module._modules.values() if child is not None]  # noqa: SLF001 - see above
    return list(found.values())


def _shared_tensors(modules: list[torch.nn.Module]) -> Iterator[torch.Tensor]:
    for module in modules:
        kind: Any = type(module)
        yield from (p for p in module._parameters.values() if p is not None)  # noqa: SLF001 - parameters() is slow
        if not _is_plain(kind):
            yield from filter(_is_computed, vars(module).values())


def _is_computed(value: Any) -> bool:
    """Whether torch computed this from parameters, as by weight_norm's hook: then it refuses to copy it."""
    return type(value) is torch.Tensor and value.grad_fn is not None
