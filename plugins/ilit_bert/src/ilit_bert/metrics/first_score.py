"""Lets a command look at a run's first full evaluation, which is the float32 model's, before a trial is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Listener:
    """Who is told, and how many rows a full evaluation has."""

    rows: int
    told: Callable[[Any, float], None]


_listener: ContextVar[_Listener | None] = ContextVar("first_score_listener", default=None)


@contextlib.contextmanager
def first_score(rows: int, told: Callable[[Any, float], None]) -> Iterator[None]:
    """Call ``told`` with metric and score of the first evaluation over all ``rows`` inside the block, and only then.

    Evaluations of fewer rows are passed over. What ``told`` raises comes out of the metric's ``result``, and so ends
    the run that asked for it.
    """
    token = _listener.set(_Listener(rows, told))
    try:
        yield
    finally:
        _listener.reset(token)


def tell(metric: Any, rows: int, score: float) -> float:
    """Tell whoever listens of a metric's score over ``rows``; return the score."""
    listener = _listener.get()
    if listener is not None and rows == listener.rows:
        _listener.set(None)
        listener.told(metric, score)
    return score
