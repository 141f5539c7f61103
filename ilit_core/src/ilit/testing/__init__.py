"""For authors of plugins: contract suites to subclass, and a fake framework to try things on without torch.

| name | purpose |
|---|---|
| ``StrategyContract``, ``AdapterContract``, ``MetricContract`` | pytest suites of the laws; supply one fixture |
| ``AdapterCase``, ``MetricCase`` | what those fixtures return |
| ``simulate`` | runs a strategy without model and data |
| ``Answer``, ``planted`` | stand in for model and data: the outcome of each request |
| ``synthetic_space`` and ``STATIC``, ``DYNAMIC``, ... | a space for a strategy, and configs for its ops |
| ``SPACES``, ``ANSWERS``, ``BASELINE`` | the spaces, adversaries and baseline of ``StrategyContract`` |
| ``FakeModel``, ``fake_model``, ``fake_data``, ``FakeAdapter``, ``FakeAccuracy`` | a framework of numpy |
| ``fake`` | the same as a plugin |
| ``fake_plugins``, ``GivenPlugin`` | a registry with the fake framework and whatever else is given |

pytest is imported only where a suite is.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilit.testing import fake
    from ilit.testing.adapter_case import AdapterCase
    from ilit.testing.adapters import AdapterContract
    from ilit.testing.fake import FakeAccuracy, FakeAdapter, FakeModel, fake_data, fake_model
    from ilit.testing.metrics import MetricCase, MetricContract
    from ilit.testing.registry import GivenPlugin, fake_plugins
    from ilit.testing.simulation import (
        BASELINE,
        BFLOAT16,
        DYNAMIC,
        EVERY_KIND,
        PER_TOKEN,
        SMOOTHED,
        SMOOTHED_MORE,
        STATIC,
        STATIC_KL,
        WEIGHT_ONLY,
        Answer,
        EndlessError,
        planted,
        simulate,
        synthetic_space,
    )
    from ilit.testing.strategies import ANSWERS, SPACES, StrategyContract

__all__ = [
    "ANSWERS",
    "BASELINE",
    "BFLOAT16",
    "DYNAMIC",
    "EVERY_KIND",
    "PER_TOKEN",
    "SMOOTHED",
    "SMOOTHED_MORE",
    "SPACES",
    "STATIC",
    "STATIC_KL",
    "WEIGHT_ONLY",
    "AdapterCase",
    "AdapterContract",
    "Answer",
    "EndlessError",
    "FakeAccuracy",
    "FakeAdapter",
    "FakeModel",
    "GivenPlugin",
    "MetricCase",
    "MetricContract",
    "StrategyContract",
    "fake",
    "fake_data",
    "fake_model",
    "fake_plugins",
    "planted",
    "simulate",
    "synthetic_space",
]

_HOMES = {
    "adapter_case": ("AdapterCase",),
    "adapters": ("AdapterContract",),
    "fake": ("FakeAccuracy", "FakeAdapter", "FakeModel", "fake_data", "fake_model"),
    "metrics": ("MetricCase", "MetricContract"),
    "registry": ("GivenPlugin", "fake_plugins"),
    "strategies": ("ANSWERS", "SPACES", "StrategyContract"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_SUITES = ("abilities", "adapters", "metrics", "strategies")


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'ilit.testing' has no attribute {name!r}")
    if name == "fake":
        return importlib.import_module("ilit.testing.fake")
    home = _HOME.get(name, "simulation")
    if home in _SUITES:
        _show_values_of_asserts()
    value = getattr(importlib.import_module(f"ilit.testing.{home}"), name)
    globals()[name] = value
    return value


def _show_values_of_asserts() -> None:
    """Have pytest rewrite the suites not yet imported, so that a failing assert of theirs shows its values."""
    suites = (f"ilit.testing.{suite}" for suite in _SUITES)
    importlib.import_module("pytest").register_assert_rewrite(*(name for name in suites if name not in sys.modules))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
