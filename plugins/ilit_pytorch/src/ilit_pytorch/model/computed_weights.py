"""Weights that a model computes before or in each forward: by torch's norms and pruning, or by code of its owner.

Such a weight is stale between two forwards, and reading it may move buffers of the user's model. So it is read from an
eval clone that has just run a forward, and the hooks that compute it have no place on an INT8 module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ilit_pytorch.model.batch import call
from ilit_pytorch.model.clone import structural_clone, writes

_NAMES = ("weight", "bias")


@dataclass
class Watch:
    """What a forward did to the weights of one op.

    Attributes:
        op: the op, of a clone.
        before: its weight and bias before, each with what tells of writes.
        computing: which of its forward pre-hooks changed them, in the order they run.
        also_input: one of those changed the op's input too.
    """

    op: Any
    before: tuple[Any, ...]
    computing: set[int] = field(default_factory=set)
    also_input: bool = False

    @property
    def computed(self) -> bool:
        """Whether the weight or bias is another than before, or one that torch computes when it is read."""
        return hasattr(self.op, "parametrizations") or bool(self.computing) or not _same(self.before, _held(self.op))

    def values(self) -> tuple[torch.Tensor, ...]:
        """Copies of the weight and bias as they are now."""
        held = [getattr(self.op, name, None) for name in _NAMES]
        return tuple(value.detach().clone() for value in held if value is not None)


def watch_weights(op: Any) -> Watch:
    """Watch an op of a clone through the forwards to come."""
    watch = Watch(op, _held(op))
    for place, (key, hook) in enumerate(op._forward_pre_hooks.items()):  # noqa: SLF001 - no public way to the hooks
        op._forward_pre_hooks[key] = _watched(place, hook, watch)  # noqa: SLF001 - the clone's own
    return watch


def _watched(place: int, hook: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        before = _held(watch.op)
        result = hook(*args)
        if not _same(before, _held(watch.op)):
            watch.computing.add(place)
            watch.also_input |= result is not None
        return result

    return run


def _held(op: Any) -> tuple[Any, ...]:
    """Return weight and bias as the op holds them, each with its count of writes; nothing is computed for this."""
    held = [op._parameters.get(name, vars(op).get(name)) for name in _NAMES]  # noqa: SLF001 - reading might compute
    return tuple((tensor, *writes(tensor)) if isinstance(tensor, torch.Tensor) else None for tensor in held)


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a is b or (a and b and a[0] is b[0] and a[1:] == b[1:]) for a, b in zip(one, other, strict=True))


@dataclass
class SettledClone:
    """An eval clone of a model after a forward, made again once a parameter or buffer of the model has changed."""

    of: tuple[tuple[int, int], ...] = ()
    clone: Any = None

    def clone_of(self, model: torch.nn.Module, inputs: Any) -> torch.nn.Module:
        """Return the clone, whose computed weights are those of a forward with ``inputs``."""
        state = tuple((id(t), writes(t)[0]) for t in (*model.parameters(), *model.buffers()))
        if self.clone is None or state != self.of:
            self.clone, self.of = structural_clone(model), state
            with torch.no_grad():
                call(self.clone, inputs)
        clone: torch.nn.Module = self.clone
        return clone
