"""What every module put into a lowered model can do: say what it is made of, and be made again from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch


@runtime_checkable
class Lowered(Protocol):
    """A module that stands in a lowered model where a float one stood.

    Attributes:
        kind: its name in ``recipe.json``; ``restore`` is found by it.
        int8_kernels: INT8 kernels one forward call runs, 0 for stubs and for what stays float.
    """

    kind: ClassVar[str]
    int8_kernels: int

    def meta(self) -> dict[str, Any]:
        """Return what is needed beside tensors, as a JSON object."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what it is made of as plain tensors: int8 weights, float32 scales and biases."""


Restore = Callable[[Mapping[str, Any], Mapping[str, torch.Tensor], torch.nn.Module], torch.nn.Module]
LoweredClass = TypeVar("LoweredClass", bound=type)

RESTORE: dict[str, Restore] = {}
"""Kind -> how to build it from meta, tensors and the float module it replaces. Loading builds nothing else."""


def restorable(cls: LoweredClass) -> LoweredClass:
    """Enter a class with ``kind`` and ``restore`` into ``RESTORE``."""
    RESTORE[cls.kind] = cls.restore  # type: ignore[attr-defined]  # both are asked for by the docstring
    return cls


def rebuild(kind: str, meta: dict[str, Any], tensors: dict[str, torch.Tensor], original: Any) -> torch.nn.Module:
    """Build a lowered module again; the target of ``__reduce_ex__``, so that owners can copy and pickle a model."""
    return RESTORE[kind](meta, tensors, original)


class Rebuilt:
    """Copies and pickles a module by what it is made of, since packed weights are opaque to both."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        original = getattr(self, "original", None)
        own: Any = self
        return rebuild, (own.kind, own.meta(), dict(own.tensors()), original)
