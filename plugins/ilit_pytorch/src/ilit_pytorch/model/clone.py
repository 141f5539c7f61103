"""A structural clone: the user's model again, with its own modules, buffers and config.

Every forward pass of ours runs on one, because a forward may write: transformers' models write into ``config`` and
leave hooks, and others count their calls. Parameters share the model's memory until one of the two is written to.
"""

from __future__ import annotations

import copy
import functools
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from ilit.errors import ModelError


def structural_clone(
    model: torch.nn.Module, replaced: Mapping[str, torch.nn.Module] | None = None, own: bool = False
) -> torch.nn.Module:
    """Return a clone in eval mode that answers as the model does, or is another one where ``replaced`` says so.

    What two modules share, be it a parameter, a dict or an object of any kind, their clones share too. A compiled
    model or module comes back as the eager one it was compiled from.

    Args:
        model: any module.
        replaced: path -> what stands in the clone in place of the module there, and wherever else that one stands.
            What the model's owner hung on that module, such as hooks, is handed on to its method ``adopt``, if any.
        own: memory that cannot be shared until written to (numpy's, a file's, another process's) is copied, so that
            whatever is done to the clone is done to it alone. Without it such memory is shared. Parameters of such a
            clone with replaced modules are frozen, since not all of it could be trained.

    Raises:
        ModelError: the model holds something that cannot be copied, such as a lock or an open file.
    """
    model = uncompiled(model)
    modules = _all_modules(model)
    memo = _Memo(modules, own, frozen=own and bool(replaced))
    memo.update((id(tensor), tensor) for tensor in _computed_tensors(modules))
    originals = {path: submodule(model, path) for path in replaced or {}}
    for path, new in (replaced or {}).items():
        memo[id(originals[path])] = _in_eval_mode(new)
    try:
        for path, new in (replaced or {}).items():
            if hasattr(new, "adopt"):  # ``isinstance`` of a protocol takes as long as copying a layer
                adopting: Any = new
                adopting.adopt(originals[path], functools.partial(_copied, memo=memo))
        clone: torch.nn.Module = _copied(model, memo)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "keep what is not tensors, modules or plain values out of the model"
        ) from error
    if replaced and not all(_is_plain(type(module)) for module in modules):  # type: ignore[arg-type]  # a class is hashable
        _check_replaced(clone, replaced)
    # ``eval`` takes a millisecond for a large model, and mostly does what copying has done.
    kinds: set[Any] = {type(module) for module in modules if module.training}
    if any(_must_be_called(kind) for kind in kinds):
        return clone.eval()
    if kinds:
        _end_training(memo)
    return clone


def _check_replaced(clone: torch.nn.Module, replaced: Mapping[str, torch.nn.Module]) -> None:
    """Refuse a copy that a class has made in a way of its own, with other modules than those that were to replace."""
    held = {id(module) for module in _all_modules(clone)}
    lost = next((path for path, new in replaced.items() if id(new) not in held), None)
    if lost is not None:
        raise ModelError(
            f"a class makes copies of its own, so nothing can stand in place of {lost}; remove its __deepcopy__"
        )


def _end_training(memo: dict[int, Any]) -> None:
    """Put the modules into eval mode that were copied as part of something else, such as a hook's partial."""
    for value in memo.values():
        if isinstance(value, torch.nn.Module) and value.training:
            value.training = False


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
        if type(model).__name__ == "OptimizedModule":
            model = uncompiled(model)
    return model


def uncompiled(model: torch.nn.Module) -> torch.nn.Module:
    """Return the eager module that ``torch.compile`` wrapped, or the module itself."""
    # By its name, since importing torch._dynamo takes seconds.
    eager = model._modules.get("_orig_mod") if type(model).__name__ == "OptimizedModule" else None  # noqa: SLF001 - it has no other
    return model if eager is None else eager


def own_copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that shares the memory until one of the two is written to."""
    copied: torch.Tensor = torch._lazy_clone(tensor)  # noqa: SLF001 - copy-on-write has no public name
    return copied


def writes(tensor: torch.Tensor) -> tuple[int, bool]:
    """Return a state that changes with every write to a tensor, also by way of ``data``, which torch does not count."""
    core: Any = torch._C  # noqa: SLF001 - no public name, and no types
    version = -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 - no public name
    return version, core._is_cow_tensor(tensor)  # noqa: SLF001 - as above


class _Memo(dict[int, Any]):
    """``copy.deepcopy``'s memo, in which parameters are found as the clone's own, made when they are first asked for.

    A replaced module's parameters never are, and they are most of a model.
    """

    def __init__(self, modules: list[torch.nn.Module], own: bool, frozen: bool) -> None:
        super().__init__()
        self.modules = {id(module) for module in modules}
        self._parameters = {id(tensor): tensor for tensor in _parameters_of(modules)}
        self._own, self._frozen = own, frozen

    def get(self, key: int, default: Any = None) -> Any:
        """Return the copy known under the ``id`` of an original."""
        if key in self:
            return self[key]
        parameter = self._parameters.get(key)
        if parameter is None:
            return default
        self[key] = _own_parameter(parameter, self._own, self._frozen)
        return self[key]


def _own_parameter(parameter: torch.nn.Parameter, own: bool, frozen: bool) -> torch.Tensor:
    """Return the clone's parameter: what is done to it, such as ``requires_grad_``, is not done to the model's."""
    if type(parameter) is not torch.nn.Parameter:
        return copy.deepcopy(parameter) if own else parameter
    plain = parameter.detach()
    try:
        plain = own_copy(plain)
    except RuntimeError:  # memory that is not torch's own
        plain = plain.clone() if own else plain
    new = torch.nn.Parameter(plain, requires_grad=parameter.requires_grad and not frozen)
    if vars(parameter):
        vars(new).update(vars(parameter))
    return new


_ATOMS = frozenset({int, float, str, bytes, bool, type(None), type, torch.Size, torch.dtype, torch.device})
_CONTAINERS = frozenset({dict, OrderedDict, set, list})
MODULE_STATE = frozenset(vars(torch.nn.Module()))
"""Names of the attributes that ``torch.nn.Module`` itself gives an instance."""


def _copied(value: Any, memo: _Memo) -> Any:
    """Return ``copy.deepcopy(value, memo)``, for plain modules several times as fast and in eval mode.

    A search lowers one recipe after the other, so this is what each of them costs before anything is quantized.
    """
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    if kind in _CONTAINERS:
        return _copied_container(value, memo)
    if kind is types.MethodType:
        return types.MethodType(value.__func__, _copied(value.__self__, memo))
    if kind is types.FunctionType:
        return _copied_function(value, memo)
    if kind is RemovableHandle:
        return RemovableHandle(OrderedDict())  # a hook that removes itself removes none of the model's
    if not isinstance(value, torch.nn.Module):
        return value if _is_computed(value) else copy.deepcopy(value, memo)
    if uncompiled(value) is not value:
        return memo.setdefault(id(value), _copied(uncompiled(value), memo))
    return _copied_module(value, memo) if _is_plain(kind) else copy.deepcopy(value, memo)


def _copied_container(value: Any, memo: _Memo) -> Any:
    new = memo[id(value)] = type(value)()
    if isinstance(value, dict):
        new.update((_copied(key, memo), _copied(item, memo)) for key, item in value.items())
    elif isinstance(value, list):
        new.extend(_copied(item, memo) for item in value)
    else:
        new.update(_copied(item, memo) for item in value)
    return new


def _copied_function(value: types.FunctionType, memo: _Memo) -> Any:
    """Return a function that speaks of the clone's modules where its closure holds the model's, else itself."""
    eager = getattr(value, "_torchdynamo_orig_callable", None)
    if eager is not None:
        return _copied(eager, memo)
    memo[id(value)] = value  # so that a function which holds itself ends here
    cells = [_content(cell) for cell in value.__closure__ or ()]
    new = [_copied(content, memo) if _speaks_of(content, memo) else content for content in cells]
    if all(one is other for one, other in zip(cells, new, strict=True)):
        return value
    closure = tuple(types.CellType() if content is _EMPTY else types.CellType(content) for content in new)
    copied = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
    copied.__kwdefaults__ = value.__kwdefaults__
    copied.__dict__.update(value.__dict__)
    memo[id(value)] = copied
    return copied


_EMPTY = object()


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return _EMPTY


def _speaks_of(content: Any, memo: _Memo) -> bool:
    """Whether a variable of a function is one of the model's modules, or a method or function that holds one."""
    owner = content.__self__ if isinstance(content, types.MethodType) else content
    return isinstance(content, types.FunctionType | RemovableHandle) or id(owner) in memo.modules


def _copied_module(value: torch.nn.Module, memo: _Memo) -> torch.nn.Module:
    kind: Any = type(value)
    clone: torch.nn.Module = kind.__new__(kind)
    memo[id(value)] = clone
    attributes = vars(clone)
    attributes.update(vars(value), training=False)
    attributes.pop("_compiled_call_impl", None)
    for name, attribute in vars(value).items():
        container: Any = type(attribute)
        if container in _ATOMS or name == "_compiled_call_impl":
            continue
        if name not in MODULE_STATE:
            attributes[name] = _copied(attribute, memo)
        elif container in _CONTAINERS and not attribute:
            attributes[name] = container()
        elif container is dict or container is OrderedDict:  # no other module has these, so no memo is needed
            attributes[name] = container([(key, _copied(item, memo)) for key, item in attribute.items()])
        elif container in _CONTAINERS:
            attributes[name] = container(attribute)
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


def leave_fast_path(model: torch.nn.Module) -> None:
    """Make torch's TransformerEncoderLayers call their Linears instead of handing the weights to one fused kernel."""
    for module in _all_modules(model):
        if isinstance(module, torch.nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, torch.nn.TransformerEncoder):
            module.use_nested_tensor = False


def _all_modules(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the modules of ``model.modules()``, in another order and several times as fast."""
    found: dict[int, torch.nn.Module] = {}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if id(module) not in found:
            found[id(module)] = module
            waiting += [child for child in module._modules.values() if child is not None]  # noqa: SLF001 - see above
    return list(found.values())


def _parameters_of(modules: list[torch.nn.Module]) -> Iterator[Any]:
    for module in modules:
        yield from (p for p in module._parameters.values() if p is not None)  # noqa: SLF001 - parameters() is slow


def _computed_tensors(modules: list[torch.nn.Module]) -> Iterator[torch.Tensor]:
    for module in modules:
        if not _is_plain(type(module)):  # type: ignore[arg-type]  # a class is hashable
            yield from filter(_is_computed, vars(module).values())


def _is_computed(value: Any) -> bool:
    """Whether torch computed this from parameters, as by weight_norm's hook: then it refuses to copy it."""
    return type(value) is torch.Tensor and value.grad_fn is not None
