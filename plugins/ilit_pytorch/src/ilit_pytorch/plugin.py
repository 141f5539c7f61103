"""What this distribution registers. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ilit.hookspecs import hookimpl
from ilit.plugins import parts_in
from ilit_pytorch import hookspecs

if TYPE_CHECKING:
    from ilit.adapter import Adapter
    from ilit.metric import Metric

__all__ = ["hookspecs", "ilit_adapters", "ilit_metrics", "ilit_select_adapter"]


@hookimpl
def ilit_adapters() -> list[type[Adapter]]:
    """Offer the adapter ``pytorch``."""
    from ilit_pytorch.adapter import PyTorchAdapter

    return [PyTorchAdapter]


@hookimpl
def ilit_metrics() -> list[type[Metric]]:
    """Offer every metric of ``ilit_pytorch.metrics``."""
    from ilit_pytorch import metrics

    return parts_in(metrics, "metric")


@hookimpl
def ilit_select_adapter(model: Any) -> str | None:
    """Take every ``torch.nn.Module``."""
    import torch

    return "pytorch" if isinstance(model, torch.nn.Module) else None
