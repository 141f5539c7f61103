"""The hooks of a trace: every activation that leaves a stub carries a mark through every function it goes into.

So what a stub's output reaches is seen, and not guessed from the order of modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.ao.nn.intrinsic as fused
import torch.ao.nn.quantized as torch_quantized
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils._pytree import tree_iter, tree_map

from ilit_pytorch.model.batch import tensors_in
from ilit_pytorch.model.computed_weights import watch_weights
from ilit_pytorch.module_parts.activation import LOOKING_ATTRIBUTES, LOOKING_METHODS
from ilit_pytorch.modules.conv import padding_before
from ilit_pytorch.modules.stub import QuantStub
from ilit_pytorch.tracing.islands import Marks
from ilit_pytorch.tracing.ops import has_hooks, inner_op, is_fused, op_kind, why_float
from ilit_pytorch.tracing.state import TraceState


class Marked(torch.Tensor):
    """A tensor that remembers which stubs it comes from, through every function applied to it."""

    marks: Marks
    state: TraceState

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` and mark what comes out with the marks of what went in."""
        kwargs = kwargs or {}
        marked = [leaf for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Marked)]
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - the documented way to run the plain function
            output = func(*args, **kwargs)
        state, name = marked[0].state, getattr(func, "__name__", "")
        attribute = getattr(getattr(func, "__self__", None), "__name__", "") if name == "__get__" else ""
        if name in LOOKING_METHODS or name == "__len__" or attribute in LOOKING_ATTRIBUTES:
            return output
        if not state.reading:
            state.escaping_stubs.update(mark for leaf in marked for mark in leaf.marks & state.shared)
        islands = frozenset().union(*(leaf.marks for leaf in marked)) - state.shared
        state.joined.join(islands)
        return tree_map(lambda leaf: mark(leaf, islands, state), output) if islands else tree_map(_plain, output)


def mark(value: Any, marks: Marks, state: TraceState) -> Any:
    """Return a tensor marked, anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    marked = value.as_subclass(Marked)
    marked.marks, marked.state = marks, state
    return marked


def _plain(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, Marked) else value


def add_trace_hooks(clone: torch.nn.Module, state: TraceState) -> None:
    """Put hooks on every stub, op, leaf and FloatFunctional of the clone."""
    inside_op: set[int] = set()
    for name, module in clone.named_modules():
        if id(module) in inside_op:
            continue
        if not is_fused(module) and (reason := why_float(module)):
            state.left[name] = reason
        if op_kind(module) is not None:
            inside_op.update(id(child) for child in module.modules())
            _watch_op(name, module, state)
        elif isinstance(module, QuantStub):
            state.shared.add(name)
            state.escaping_stubs |= {name} if has_hooks(module) else set()
            module.register_forward_hook(_mark_output(name, state))
        elif isinstance(module, TorchQuantStub):
            inside_op.update(id(child) for child in module.modules())
            state.stubs.append(name)
            module.register_forward_hook(_mark_output(name, state))
        elif isinstance(module, DeQuantStub):
            state.dequant_stubs.append(name)
            module.register_forward_hook(lambda _module, _args, output: tree_map(_plain, output))
        elif isinstance(module, torch_quantized.FloatFunctional):
            inside_op.update(id(child) for child in module.modules())
            module.activation_post_process.register_forward_pre_hook(_note(name, state.functionals))
            _note_scalar_calls(name, module, state)
        elif _is_leaf(module):
            inside_op.update(id(child) for child in module.modules())
            module.register_forward_pre_hook(_note(name, state.others))


def _is_leaf(module: torch.nn.Module) -> bool:
    """Whether a module's inside is of no interest; a scripted one takes no hooks."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return type(module) in (fused.BNReLU2d, fused.BNReLU3d) or next(module.children(), None) is None


def _watch_op(name: str, module: torch.nn.Module, state: TraceState) -> None:
    kind = str(op_kind(module))
    if isinstance(inner_op(module), NonDynamicallyQuantizableLinear):  # torch's own code reads its weight
        state.never.add(name)
    else:
        state.ops.append(name)
    if kind.startswith("conv") and padding_before(inner_op(module)) is not None:
        state.padded.add(name)
    state.watches[name] = watch_weights(inner_op(module))
    if has_hooks(module):
        state.hooked.add(name)
    module.register_forward_pre_hook(_note_op(name, kind, is_fused(module), state), with_kwargs=True)
    module.register_forward_hook(_note_end(state), always_call=True)


def _note_op(name: str, kind: str, relu: bool, state: TraceState) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        state.reading += 1
        if all(tensor.numel() for tensor in tensors_in((args, kwargs))):  # else no row was sent to it
            state.kinds[name] = (kind, relu)
            state.marks.setdefault(name, []).append(marks_of((args, kwargs)))

    return hook


def _note_end(state: TraceState) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, _args: Any, _output: Any) -> None:
        state.reading -= 1

    return hook


def _note(name: str, found: dict[str, Marks]) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any) -> None:
        marks = marks_of(args)
        if marks:
            found[name] = found.get(name, frozenset()) | marks

    return hook


def _note_scalar_calls(name: str, module: Any, state: TraceState) -> None:
    """Note ``add_scalar`` and ``mul_scalar``, whose result torch does not hand to ``activation_post_process``."""
    note = _note(name, state.functionals)

    def noted(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*args: Any) -> torch.Tensor:
            note(module, args)
            return plain(*args)

        return call

    for method in ("add_scalar", "mul_scalar"):
        object.__setattr__(module, method, noted(getattr(module, method)))


def _mark_output(name: str, state: TraceState) -> Callable[..., Any]:
    def hook(_module: torch.nn.Module, _args: Any, output: Any) -> Any:
        return mark(_plain(output), frozenset({name}), state)

    return hook


def marks_of(value: Any) -> Marks:
    """Return the marks of all tensors in a value, at any depth."""
    return frozenset().union(*(leaf.marks for leaf in tree_iter(value) if isinstance(leaf, Marked)))
