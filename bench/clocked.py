"""Where a run's seconds go: every method of the adapter, every forward pass of a model, the metric."""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

METHODS = (
    "describe", "calibrate", "lower", "probe", "probe_ops", "time_ops", "evaluate", "damaged", "measure", "outputs",
    "save", "load", "row_digests", "regroup", "row_shapes",
)  # fmt: skip
FORWARD_ROOMS = (
    "calibration.calibrate", "lowering.replay", "measuring.forward_cost", "measuring.probe", "model.batch",
    "tracing.trace",
)  # fmt: skip


@dataclass
class Seconds:
    """What was measured.

    Attributes:
        methods: adapter method -> seconds in it, methods called by it included.
        calls: adapter method -> how often it was called.
        forwards: adapter method -> seconds in the model's forward passes within it.
        metric: seconds in the metric.
        evaluations: seconds of each call of ``evaluate`` in order.
    """

    methods: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    forwards: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    metric: float = 0.0
    evaluations: list[float] = field(default_factory=list)


@contextlib.contextmanager
def clocked(metric_classes: tuple[type, ...]) -> Iterator[Seconds]:
    """Measure the PyTorch adapter of this process, and metrics of these classes, while the context lasts."""
    from ilit_pytorch.adapter import PyTorchAdapter

    seconds, stack = Seconds(), list[str]()
    undo: list[Callable[[], None]] = []

    def patch(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        plain = vars(owner).get(name)
        if plain is not None:
            setattr(owner, name, functools.wraps(plain)(wrap(plain)))
            undo.append(lambda: setattr(owner, name, plain))

    for method in METHODS:
        patch(PyTorchAdapter, method, functools.partial(_method, method, seconds, stack))
    for room in FORWARD_ROOMS:
        module = importlib.import_module(f"ilit_pytorch.{room}")
        patch(module, "call", functools.partial(_forward, seconds, stack))
    for cls in metric_classes:
        for name in ("update", "result", "reachable", "scores"):
            patch(cls, name, functools.partial(_metric, seconds))
    try:
        yield seconds
    finally:
        for step in reversed(undo):
            step()


def _method(name: str, seconds: Seconds, stack: list[str], plain: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        stack.append(name)
        begun = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            taken = time.perf_counter() - begun
            stack.pop()
            seconds.calls[name] += 1
            seconds.methods[name] += taken
            if name == "evaluate":
                seconds.evaluations.append(taken)

    return timed


def _forward(seconds: Seconds, stack: list[str], plain: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        if seconds.forwards.get("running"):
            return plain(*args, **kwargs)
        seconds.forwards["running"] = 1.0
        begun = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            seconds.forwards.pop("running")
            seconds.forwards[stack[-1] if stack else "elsewhere"] += time.perf_counter() - begun

    return timed


def _metric(seconds: Seconds, plain: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            seconds.metric += time.perf_counter() - begun

    return timed
