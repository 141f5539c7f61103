"""A listener for a run's first full evaluation, which is the float32 model's, before the first trial."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Listener:
    """A callback, and the number of rows of a full evaluation."""

    rows: int
    callback: Callable[[Any, float], None]


_listener: ContextVar[_Listener | None] = ContextVar("first_score_listener", default=None)


@contextlib.contextmanager
def first_score(rows: int, callback: Callable[[Any, float], None]) -> Iterator[None]:
    """Call ``callback`` once, with metric and score of the first evaluation over all ``rows`` inside the block.

    Evaluations of fewer rows are passed over. What the callback raises comes out of the metric's ``result``, and
    so ends the run that asked for it.
    """
    token = _listener.set(_Listener(rows, callback))
    try:
        yield
    finally:
        _listener.reset(token)


def notify(metric: Any, rows: int, score: float) -> float:
    """Pass a metric's score over ``rows`` to the listener, if there is one; return the score."""
    listener = _listener.get()
    if listener is not None and rows == listener.rows:
        _listener.set(None)
        listener.callback(metric, score)
    return score
