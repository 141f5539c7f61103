"""Whether a model that ilit runs or reads back is the user's own: what is compared before anything is searched."""

from __future__ import annotations

import contextlib
import copy
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from ilit.errors import ModelError, one_line, warn
from ilit.evaluation import ROUNDING, apart
from ilit_pytorch.artefact.content import content_of
from ilit_pytorch.artefact.restore import restored
from ilit_pytorch.model.batch import as_numpy, call, model_input, predictions
from ilit_pytorch.model.blank import blank
from ilit_pytorch.model.clone import MODULE_STATE, own_copy, uncompiled, writes


def own_outputs(model: torch.nn.Module, batch: Any) -> Any:
    """Return the predictions of the very model that the user gave, in eval mode; it is left as it was.

    What a forward writes into modules, tensors, plain containers at any depth and ``config`` is taken back.
    """
    with _put_back(uncompiled(model)) as eager, torch.no_grad(), torch.random.fork_rng(devices=[]):
        return predictions(call(eager, model_input(batch)))


def first_difference(model: torch.nn.Module, other: torch.nn.Module, batch: Any) -> str:
    """Return the path of the first module, in the order they end, whose output in ``other`` is not ``model``'s.

    Args:
        model: the user's own; left as it was.
        other: a copy of it that is ours.
        batch: what both are run on.

    Returns:
        The path, or an empty string where no module's output differs.
    """
    with _put_back(uncompiled(model)) as eager:
        wanted = _outputs_by_module(eager, batch)
    found = _outputs_by_module(other, batch)
    for (path, one), (other_path, two) in zip(wanted, found, strict=False):
        if path != other_path or apart(two, one) > ROUNDING:
            return path
    return ""


def check_savable(model: torch.nn.Module, float_model: torch.nn.Module, batch: Any, answers: Any) -> None:
    """Try in memory, on the all-float recipe, whether an artefact holds all that the answers depend on.

    Warns of modules and tensors that only a function of the owner's holds, such as a patched forward: these are not
    saved, so whoever loads the model has to give an architecture with them.

    Args:
        model: the user's own, the architecture.
        float_model: what ``lower`` made of the all-float recipe.
        batch: a few rows.
        answers: what ``float_model`` answers on them, as ``Adapter.outputs`` gives it.

    Raises:
        ModelError: something cannot be held, or the model read back answers differently; says what.
    """
    held = list(_held_by_functions(float_model))
    for path, name, _ in held:
        message = (
            f"{path or 'the model'}: a function hung on it holds {name}, which is no part of the model and is not "
            "saved with it; register it as a submodule, parameter or buffer"
        )
        warn(message)
    kind = type(uncompiled(model)).__name__
    _refuse_strangers(kind, float_model, batch, [value for _, _, value in held])
    try:
        back = restored(content_of(float_model), blank(model), Path("a copy in memory"))
        found = _answers(back, batch)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{kind} cannot be saved and read back into an architecture without values ({one_line(error)}); put what "
            "its forward depends on into parameters and buffers"
        ) from error
    # Torch sums in another order where a weight asks for a gradient, which those read back do not.
    if apart(found, answers) <= ROUNDING or apart(_answers(float_model, batch), answers) > ROUNDING:
        return
    where = next((p for (p, a), (_, b) in _pairs(float_model, back, batch) if apart(b, a) > ROUNDING), "")
    raise ModelError(
        f"{kind}: an artefact cannot hold all that its answers depend on{f', first seen at {where}' if where else ''}: "
        "state that is neither parameter nor buffer; save it by register_buffer, or by get_extra_state and "
        "set_extra_state"
    )


class _Strangers(TorchFunctionMode):
    """Notes the parameters that functions are given and that are none of a model's own."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.own = {id(parameter) for parameter in model.parameters()}
        self.found: list[torch.nn.Parameter] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_iter((args, kwargs or {}))
        self.found += [one for one in leaves if isinstance(one, torch.nn.Parameter) and id(one) not in self.own]
        return func(*args, **(kwargs or {}))


def _refuse_strangers(kind: str, float_model: torch.nn.Module, batch: Any, known: list[Any]) -> None:
    """Refuse a model whose forward reaches for modules that are not in it: a copy of it runs the user's own.

    ``known`` is what functions hung on it hold, which is warned of: with these it works, they stay in float.
    """
    with _Strangers(float_model) as strangers:
        _answers(float_model, batch)
    modules = [value for value in known if isinstance(value, torch.nn.Module)]
    allowed = {id(value) for value in known} | {id(p) for module in modules for p in module.parameters()}
    shapes = [tuple(parameter.shape) for parameter in strangers.found if id(parameter) not in allowed]
    if shapes:
        raise ModelError(
            f"{kind}: its forward uses a parameter {shapes[0]} of a module that is none of its submodules (behind a "
            "weak reference, in a list, a global or a function); register that module as a submodule"
        )


def _answers(model: torch.nn.Module, batch: Any) -> Any:
    with torch.no_grad():
        return predictions(call(model, model_input(batch)))


def _pairs(one: torch.nn.Module, other: torch.nn.Module, batch: Any) -> Iterator[Any]:
    return zip(_outputs_by_module(one, batch), _outputs_by_module(other, batch), strict=False)


def _outputs_by_module(model: torch.nn.Module, batch: Any) -> list[tuple[str, Any]]:
    """Return (path, output) of each module in one forward, in the order they end."""
    found: list[tuple[str, Any]] = []

    def note(path: str) -> Any:
        # A copy, since what comes after may write into it.
        return lambda _module, _args, output: found.append((path, copy.deepcopy(as_numpy(output))))

    handles = [module.register_forward_hook(note(path)) for path, module in model.named_modules() if path]
    try:
        _answers(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


# --- The user's own model, run and put back ------------------------------------------------------------------------


@contextlib.contextmanager
def _put_back(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Give the model in eval mode, without compiled forwards, and put everything back that a forward may write."""
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    containers, tensors = _held_by(modules)
    try:
        for module in modules:
            vars(module)["training"] = False
            vars(module).pop("_compiled_call_impl", None)
        yield model
    finally:
        for module, before in zip(modules, attributes, strict=True):
            vars(module).clear()
            vars(module).update(before)
        for container, content in containers:
            _refill(container, content)
        for tensor, before_writes, value in tensors:
            if writes(tensor) != before_writes:
                tensor.data.copy_(value)


def _held_by(modules: list[torch.nn.Module]) -> tuple[list[tuple[Any, Any]], list[tuple[torch.Tensor, Any, Any]]]:
    """Return the dicts, lists and sets that modules hold, at any depth, and the tensors, each with what is in it.

    A tensor's value shares its memory until one of the two is written to; where that cannot be it is copied, but for
    parameters: hardly a forward writes into these, and a copy of all would take the model's size.
    """
    containers: dict[int, tuple[Any, Any]] = {}
    tensors: dict[int, tuple[torch.Tensor, Any, Any]] = {}
    waiting: list[Any] = [vars(module) for module in modules]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor) and id(value) not in tensors:
            saved = _value_of(value)
            if saved is not None:
                tensors[id(value)] = (value, writes(value), saved)
        held = getattr(value, "__dict__", None) if _is_plain_object(value) else value
        if isinstance(held, tuple):
            waiting.extend(held)
        elif isinstance(held, dict | list | set) and id(held) not in containers:
            containers[id(held)] = (held, held.copy())
            waiting.extend(held.values() if isinstance(held, dict) else held)
    return list(containers.values()), list(tensors.values())


def _is_plain_object(value: Any) -> bool:
    """Whether a value is an object of some class with its state in attributes, such as a config."""
    kinds = (torch.Tensor, torch.nn.Module, type, types.FunctionType, types.MethodType, types.ModuleType)
    return not isinstance(value, (*kinds, dict, list, set, tuple)) and isinstance(
        getattr(value, "__dict__", None), dict
    )


def _value_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return a tensor's value, to be put back; None where it would take a copy of a parameter."""
    try:
        return own_copy(tensor.detach())
    except RuntimeError:  # memory or a layout that cannot be shared so
        return None if isinstance(tensor, torch.nn.Parameter) else tensor.detach().clone()


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, list):
        container[:] = content
    else:
        container.clear()
        container.update(content)


# --- What a function holds -----------------------------------------------------------------------------------------


def _held_by_functions(model: torch.nn.Module) -> Iterator[tuple[str, str, Any]]:
    """Yield (module path, name, itself) of each module and tensor that functions hung on the model hold alone."""
    own = {id(module) for module in model.modules()} | {id(t) for t in (*model.parameters(), *model.buffers())}
    for path, module in model.named_modules():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())  # noqa: SLF001 - no public name
        hung = (value for name, value in vars(module).items() if name not in MODULE_STATE)
        for function in (*hooks, *hung):
            if isinstance(function, types.FunctionType):
                yield from ((path, name, value) for name, value in _strangers(function, own))


def _strangers(
    function: types.FunctionType, own: set[int], known: frozenset[int] = frozenset()
) -> Iterator[tuple[str, Any]]:
    """Yield by name what a function's variables hold, its own and the globals it reads, and ``own`` has not."""
    for name, value in _variables(function):
        held = value.__self__ if isinstance(value, types.MethodType) else value
        if isinstance(held, torch.Tensor | torch.nn.Module) and id(held) not in own:
            yield name, held
        elif isinstance(value, types.FunctionType) and value.__closure__ and id(value) not in known:
            yield from _strangers(value, own, known | {id(function), id(value)})


def _variables(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a variable without a value yet
            yield name, cell.cell_contents
    names = function.__code__.co_names
    yield from ((name, function.__globals__[name]) for name in names if name in function.__globals__)
