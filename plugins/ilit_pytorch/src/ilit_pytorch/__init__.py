"""The PyTorch adapter of ilit: eager INT8 on CPUs.

Public: ``QuantStub``, the mark for activations that several ops read. Everything else is reached through ``ilit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilit_pytorch.modules.stub import QuantStub

__all__ = ["QuantStub"]


def __getattr__(name: str) -> Any:
    """Import torch only when ``QuantStub`` is asked for: listing plugins does not need it."""
    if name == "QuantStub":
        from ilit_pytorch.modules.stub import QuantStub

        return QuantStub
    raise AttributeError(f"module 'ilit_pytorch' has no attribute {name!r}")
