"""For authors of plugins: contract suites to subclass, and a fake framework to try things on without torch.

| name | what |
|---|---|
| ``StrategyContract``, ``AdapterContract``, ``MetricContract`` | pytest suites of the laws; supply one fixture |
| ``AdapterCase``, ``MetricCase`` | what those fixtures return |
| ``simulate`` | runs a strategy without model and data |
| ``FakeModel``, ``fake_model``, ``fake_data``, ``FakeAdapter``, ``FakeAccuracy`` | a framework of numpy |
| ``fake_plugins`` | a registry with the fake framework and whatever else is given |

pytest is imported only where a suite is.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilit.testing.adapters import AdapterCase, AdapterContract
    from ilit.testing.fake import FakeAdapter, FakeModel, fake_data, fake_model
    from ilit.testing.fake_metric import FakeAccuracy
    from ilit.testing.metrics import MetricCase, MetricContract
    from ilit.testing.registry import fake_plugins
    from ilit.testing.strategies import StrategyContract, simulate

__all__ = [
    "AdapterCase",
    "AdapterContract",
    "FakeAccuracy",
    "FakeAdapter",
    "FakeModel",
    "MetricCase",
    "MetricContract",
    "StrategyContract",
    "fake_data",
    "fake_model",
    "fake_plugins",
    "simulate",
]

_HOMES = {
    "adapters": ("AdapterCase", "AdapterContract"),
    "fake": ("FakeAdapter", "FakeModel", "fake_data", "fake_model"),
    "fake_metric": ("FakeAccuracy",),
    "metrics": ("MetricCase", "MetricContract"),
    "registry": ("fake_plugins",),
    "strategies": ("StrategyContract", "simulate"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'ilit.testing' has no attribute {name!r}")
    home = f"ilit.testing.{_HOME[name]}"
    suite = any(other.endswith("Contract") for other in _HOMES[_HOME[name]])
    if suite and home not in sys.modules:
        # Before its first import, so that a failing assert of a suite shows its values.
        importlib.import_module("pytest").register_assert_rewrite(home)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
