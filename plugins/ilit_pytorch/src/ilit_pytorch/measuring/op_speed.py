"""Which ops are slower in INT8 than in float32 on this CPU, from one timing per distinct op shape."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable
from typing import Any

import torch

from ilit.recipe import OpConfig, Recipe
from ilit_pytorch.lowering.op import build_op
from ilit_pytorch.lowering.session import LoweringSession
from ilit_pytorch.model.clone import structural_clone, submodule

PAIRS = 7


def op_speedups(session: LoweringSession, recipe: Recipe) -> dict[str, float]:
    """Return each INT8 op's seconds in float32 divided by its seconds in INT8, on as many rows as calibration saw.

    Linears outside islands and embeddings are timed; other ops have no entry, since what they cost depends on what is
    beside them. Ops of one shape and one kind of config share one timing: medians of interleaved calls.
    """
    known: dict[Hashable, float] = {}
    found: dict[str, float] = {}
    for name in recipe.quantized_ops:
        inputs = _inputs(session, name, recipe)
        if inputs is None:
            continue
        weight = session.float_op(name).weight
        key = (session.structure.sites[name].kind, *weight.shape, *inputs.shape, _kind(recipe.ops[name]))
        if key not in known:
            known[key] = _ratio(
                structural_clone(submodule(session.model, name)), build_op(session, name, recipe), inputs
            )
        found[name] = known[key]
    return found


def _kind(config: OpConfig) -> tuple[Hashable, ...]:
    """Return the part of a config that decides how long it takes."""
    activation = config.activation
    return config.approach, activation and activation.granularity, config.smoothing > 0


def _inputs(session: LoweringSession, name: str, recipe: Recipe) -> torch.Tensor | None:
    """Return an input of the usual size, float32 (rows, in) or indices; None where it is not known."""
    site, seen = session.structure.sites[name], session.calibration.seen.get(recipe.calibration)
    if seen is None or site.island >= 0:
        return None
    if site.kind == "embedding":
        return seen.indices.get(name)
    channels = seen.channels.get(session.structure.input_of(name))
    if site.kind != "linear" or channels is None or not channels.filled:
        return None
    sample, rows = channels.sample, max(1, round(channels.rows / channels.batches))
    return sample.repeat(-(-rows // len(sample)), 1)[:rows]


def _ratio(float32: Callable[..., Any], int8: Callable[..., Any], inputs: torch.Tensor) -> float:
    """Return the quotient of the medians; the two take turns, so that what else the machine does hits both."""
    seconds: dict[str, list[float]] = {"float32": [], "int8": []}
    with torch.no_grad():
        for _ in range(PAIRS + 1):
            for kind, run in (("float32", float32), ("int8", int8)):
                begun = time.perf_counter()
                run(inputs)
                seconds[kind].append(time.perf_counter() - begun)
    ours, theirs = (statistics.median(times[1:]) for times in (seconds["int8"], seconds["float32"]))
    return theirs / ours if ours else float("inf")
