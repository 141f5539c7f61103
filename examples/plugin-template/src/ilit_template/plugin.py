"""Tells ilit which parts this distribution offers. Import nothing heavy here: it is loaded at every start."""

from __future__ import annotations

from typing import Any

from ilit.hookspecs import hookimpl
from ilit_template.metric import BalancedAccuracy
from ilit_template.strategy import EndsInFloat


@hookimpl
def ilit_strategies() -> list[type[Any]]:
    """Offer the strategy ``ends_in_float``."""
    return [EndsInFloat]


@hookimpl
def ilit_metrics() -> list[type[Any]]:
    """Offer the metric ``balanced_accuracy``."""
    return [BalancedAccuracy]
