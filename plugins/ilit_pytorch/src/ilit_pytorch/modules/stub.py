"""``QuantStub``: a mark in a model's code that says "quantize once here for everything that reads this"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ilit_pytorch.module_parts.activation import SharedActivation
from ilit_pytorch.module_parts.lowered import Lowered, restorable


class QuantStub(torch.nn.Module):
    """Mark an activation that several ops read. In the float model it is the identity, bit for bit.

    Where at least one of the ops behind it runs in INT8, lowering puts a ``SharedActivation`` source in its place: the
    codes are made once for each distinct activation config among the readers, and float readers get the float tensor.
    The output must go to quantizable ops only: an op in between, such as a reshape, belongs in front of the stub.
    """

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Return ``activation`` itself, of any shape."""
        return activation


@restorable
class SharedSource(Lowered):
    """A lowered ``QuantStub``: wraps the activation so that its readers share the codes."""

    kind: ClassVar[str] = "shared_source"

    def forward(self, activation: torch.Tensor) -> SharedActivation:
        """Return the activation with room for its codes."""
        return SharedActivation(activation)

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], ___: torch.nn.Module) -> SharedSource:
        """Build it again."""
        return SharedSource()


@restorable
class FloatReader(Lowered):
    """A float op behind a lowered ``QuantStub``: reads the float tensor that the shared activation carries."""

    kind: ClassVar[str] = "float_reader"
    made = frozenset({"original"})

    def __init__(self, original: torch.nn.Module) -> None:
        """Wrap the float op."""
        super().__init__()
        self.original = original

    def forward(self, input: torch.Tensor | SharedActivation) -> torch.Tensor:  # noqa: A002 - named as torch names it
        """Return the float op's output."""
        plain = input.tensor if isinstance(input, SharedActivation) else input
        output: torch.Tensor = self.original(plain)
        return output

    @staticmethod
    def restore(_: Mapping[str, Any], __: Mapping[str, torch.Tensor], original: torch.nn.Module) -> FloatReader:
        """Wrap the float op again."""
        return FloatReader(original)
