"""Tells ilit which strategies this distribution offers: each class of its modules that has a strategy's shape."""

from __future__ import annotations

from typing import Any

import ilit_strategies as package
from ilit.hookspecs import hookimpl
from ilit.plugins import parts_in


@hookimpl
def ilit_strategies() -> list[type[Any]]:
    """Offer every strategy of this package."""
    return parts_in(package, "strategy")
