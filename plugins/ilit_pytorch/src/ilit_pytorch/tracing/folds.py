"""Which convolutions can do a BatchNorm, and a ReLU behind that, along with their sums: what reads whose output.

One forward of a clone notes, for every output of a convolution and of a BatchNorm, which modules and functions are
given it. Only where the next module is its one reader may the output itself vanish.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from ilit_pytorch.model.batch import call, tensors_in
from ilit_pytorch.model.clone import leave_fast_path, structural_clone, submodule
from ilit_pytorch.model.structure import Fold, OpSite, Structure
from ilit_pytorch.module_parts.activation import LOOKING_ATTRIBUTES, LOOKING_METHODS
from ilit_pytorch.tracing.ops import has_hooks, why_irreplaceable

_log = logging.getLogger("ilit.pytorch")


def find_folds(model: torch.nn.Module, structure: Structure, inputs: Any) -> dict[str, Fold]:
    """Return the folds that data flow allows, by the convolutions' paths; the log says why others are none.

    Args:
        model: the user's.
        structure: of it.
        inputs: of a forward that the model takes.
    """
    convs = {name: site for name, site in structure.sites.items() if _may_fold(site)}
    if not convs or not any(map(_is_norm, model.modules())):
        return {}
    clone = structural_clone(model)
    leave_fast_path(clone)
    flow = _Flow()
    _watch(clone, convs, flow)
    with torch.no_grad(), flow:
        outputs = call(clone, inputs)
    flow.end(outputs)
    return {conv: fold for conv in convs if (fold := _fold(conv, model, structure, flow)) is not None}


def _may_fold(site: OpSite) -> bool:
    """Whether an op is a convolution that could be folded into; between torch's stubs torch has a way of its own."""
    return site.kind.startswith("conv") and site.island < 0 and not site.relu


def _is_norm(module: torch.nn.Module) -> bool:
    return not isinstance(module, torch.jit.ScriptModule) and type(module).forward is _BatchNorm.forward


def _is_relu(module: torch.nn.Module) -> bool:
    return not isinstance(module, torch.jit.ScriptModule) and type(module).forward is torch.nn.ReLU.forward


class _Flow(TorchFunctionMode):
    """Notes who reads the outputs of the modules that are watched.

    Attributes:
        made: ``id`` of an output -> the module that gave it and itself, which is held so that no other has its ``id``.
        readers: path of a module -> the modules and functions that its outputs are given to.
        sources: path of a BatchNorm or ReLU -> the modules whose outputs it is given, an empty path for any other.
        training: BatchNorms that were run in training mode.
        inside: the number of watched readers that are running; what they do with an activation is theirs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[str, torch.Tensor]] = {}
        self.readers: dict[str, set[str]] = {}
        self.sources: dict[str, set[str]] = {}
        self.training: set[str] = set()
        self.inside = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what a function is given, where it may read it, and run it."""
        name = getattr(func, "__name__", "")
        attribute = getattr(getattr(func, "__self__", None), "__name__", "") if name == "__get__" else ""
        looks = name in LOOKING_METHODS or name == "__len__" or attribute in LOOKING_ATTRIBUTES
        if not self.inside and not looks:
            for leaf in tree_iter((args, kwargs)):
                self.note(leaf, f"the function {attribute or name}")
        return func(*args, **(kwargs or {}))

    def note(self, value: Any, reader: str) -> str:
        """Note that a value is read, and return the path of the watched module that gave it."""
        maker, tensor = self.made.get(id(value), ("", None))
        if tensor is None:
            return ""
        self.readers.setdefault(maker, set()).add(reader)
        return maker

    def end(self, outputs: Any) -> None:
        """Note what of the model's outputs is one of these, and what somebody else still holds."""
        for tensor in tensors_in(outputs):
            self.note(tensor, "what the model returns")
        alone = torch.empty(0)
        self.made[0] = ("", alone)
        del alone
        held = {key: sys.getrefcount(tensor) for key, (_, tensor) in self.made.items()}
        for key, (maker, _) in self.made.items():
            if held[key] > held[0]:
                self.readers.setdefault(maker, set()).add("whatever holds it after the forward")


def _watch(clone: torch.nn.Module, convs: Mapping[str, OpSite], flow: _Flow) -> None:
    for conv, site in convs.items():
        submodule(clone, conv).register_forward_hook(_made_by_conv(conv, site, flow))
    for name, module in clone.named_modules():
        if _is_norm(module) or _is_relu(module):
            module.register_forward_pre_hook(_begin(name, flow), with_kwargs=True)
            module.register_forward_hook(_end(name, flow), with_kwargs=True)


def _made_by_conv(conv: str, site: OpSite, flow: _Flow) -> Any:
    axes = 2 + int(site.kind[len("conv")])

    def hook(_module: torch.nn.Module, _args: Any, output: torch.Tensor) -> None:
        flow.made[id(output)] = (conv, output)
        if output.dim() != axes:  # BatchNorm1d would take a single row's channels for rows
            flow.note(output, "a BatchNorm that takes its channels for rows")

    return hook


def _begin(name: str, flow: _Flow) -> Any:
    def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        value = next(iter((*args, *kwargs.values())), None)
        flow.sources.setdefault(name, set()).add(flow.note(value, name))
        flow.training |= {name} if module.training else set()
        flow.inside += 1

    return hook


def _end(name: str, flow: _Flow) -> Any:
    def hook(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        flow.inside -= 1
        value = next(iter((*args, *kwargs.values())), None)
        if output is value:  # in place: from now on it is this module's output, and its readers are that one's
            flow.made.pop(id(value), None)
        if _is_norm(module) and isinstance(output, torch.Tensor):
            flow.made[id(output)] = (name, output)

    return hook


def _fold(conv: str, model: torch.nn.Module, structure: Structure, flow: _Flow) -> Fold | None:
    """Return the fold of a convolution, or None; say why not where a BatchNorm reads its output."""
    readers = flow.readers.get(conv, set())
    norm = next((name for name in sorted(readers) if name and name in flow.sources), None)
    if norm is None or not _is_norm(submodule(model, norm)):
        return None
    reason = _why_not(conv, norm, model, structure, flow)
    if reason:
        _log.info("%s is not folded into %s: %s", norm, conv, reason)
        return None
    relu = next(iter(flow.readers.get(norm, set()))) if len(flow.readers.get(norm, set())) == 1 else ""
    return Fold(norm, relu if _folds_relu(relu, norm, model, flow) else "")


def _why_not(conv: str, norm: str, model: torch.nn.Module, structure: Structure, flow: _Flow) -> str:
    module: Any = submodule(model, norm)
    others = sorted(flow.readers[conv] - {norm})
    if others:
        return f"the convolution's output also goes to {others[0]}"
    if flow.sources[norm] != {conv}:
        other = next(iter(sorted(flow.sources[norm] - {conv})))
        return f"it also normalizes what {other or 'another module'} gives"
    if has_hooks(submodule(model, conv)) or has_hooks(module):
        return "hooks stand on one of the two"
    if structure.sites[conv].computed:
        return "the convolution's weight is computed"
    if module.running_mean is None or module.running_var is None:
        return "it has no running statistics"
    if norm in flow.training:
        return "it runs in training mode"
    held = [t for t in (module.weight, module.bias, module.running_mean, module.running_var) if t is not None]
    if any(tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()) for tensor in held):
        return "its numbers are not all finite and float32"
    return why_irreplaceable(module, _BatchNorm)


def _folds_relu(relu: str, norm: str, model: torch.nn.Module, flow: _Flow) -> bool:
    """Whether the one reader of a BatchNorm's output is a ReLU that reads nothing else."""
    if flow.sources.get(relu) != {norm}:
        return False
    module = submodule(model, relu)
    return _is_relu(module) and not has_hooks(module) and not why_irreplaceable(module, torch.nn.ReLU)
