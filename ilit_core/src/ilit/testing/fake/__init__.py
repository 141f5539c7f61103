"""A framework of forty lines of numpy with real quantization, and an adapter for it: the loop without torch.

``fake_model`` makes a small chain of matrices, ``fake_data`` rows it is right about, ``FakeAdapter`` quantizes it.
Quantizing an op really rounds its weights and its input. Ops named as ``sensitive`` get an input with one outlier
channel, which leaves the float model as it is and ruins the op in INT8, so that a search has something to find.
The package is also a plugin: register it, and ``framework: fake`` and ``metric: fake_accuracy`` work.
"""

from __future__ import annotations

from typing import Any

from ilit.hookspecs import hookimpl
from ilit.testing.fake.adapter import FakeAdapter
from ilit.testing.fake.metric import FakeAccuracy
from ilit.testing.fake.model import FakeModel, fake_data, fake_model

__all__ = ["FakeAccuracy", "FakeAdapter", "FakeModel", "fake_data", "fake_model"]


@hookimpl
def ilit_adapters() -> list[type[Any]]:
    """Offer ``fake``."""
    return [FakeAdapter]


@hookimpl
def ilit_metrics() -> list[type[Any]]:
    """Offer ``fake_accuracy``."""
    return [FakeAccuracy]


@hookimpl
def ilit_select_adapter(model: Any) -> str | None:
    """Take fake models."""
    return FakeAdapter.name if isinstance(model, FakeModel) else None
