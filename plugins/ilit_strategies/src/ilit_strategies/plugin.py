"""Tells ilit which strategies this distribution offers."""

from __future__ import annotations

from typing import Any

from ilit.hookspecs import hookimpl
from ilit_strategies.basic import Basic
from ilit_strategies.exhaustive import Exhaustive
from ilit_strategies.mse import Mse
from ilit_strategies.random_order import Random


@hookimpl
def ilit_strategies() -> list[type[Any]]:
    """Return the four strategies."""
    return [Basic, Exhaustive, Random, Mse]
