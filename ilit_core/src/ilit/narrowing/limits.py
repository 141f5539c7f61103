"""The limits of a configuration: the entry that governs each op, and the search space narrowed by all of them."""

from __future__ import annotations

import difflib
import fnmatch
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from ilit.config import Config, OpLimits
from ilit.errors import ConfigError
from ilit.narrowing.candidates import TENSORS, allowed_candidates, given_leaves
from ilit.narrowing.refusals import few, refuse_lost_ops
from ilit.narrowing.transforms import allow_transforms, log_unused, memoized
from ilit.space import CalibrationSize, Op, SearchSpace

_log = logging.getLogger(__name__)


def narrow(space: SearchSpace, config: Config) -> SearchSpace:
    """Return ``space`` with the configuration's limits, its calibration sizes, and defaults for what it leaves open.

    Limits on weights or activations never take float32 away, ``dtype: int8`` for an op does.

    Raises:
        ConfigError: a pattern matches no op, an op or pattern has nothing left that is allowed and offered, the whole
            model would stay in float32, or a transform is asked for that nothing offers.
    """
    space = allow_transforms(space, config)
    governing = governing_limits(space, config.op_limits)
    merged = {name: _merged(config.model_limits, governing.get(name)) for name in space.ops}
    narrowers = {limits: memoized(partial(allowed_candidates, limits=limits)) for limits in set(merged.values())}
    ops = {name: replace(op, candidates=narrowers[merged[name]](op.candidates)) for name, op in space.ops.items()}
    narrowed = replace(space, ops=ops, calibrations=_calibrations(ops.values(), config))
    refuse_lost_ops(space, narrowed, merged, governing)
    log_unused(narrowed, config.transforms)
    return narrowed


def governing_limits(space: SearchSpace, op_limits: Sequence[OpLimits]) -> dict[str, OpLimits]:
    """Return op name -> the entry that governs it: the one of its exact name, else the last glob that matches (logged).

    Raises:
        ConfigError: a pattern matches no op; names the nearest ops.
    """
    governing: dict[str, OpLimits] = {}
    yields: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in op_limits:
        names = [entry.pattern] if entry.pattern in space.ops else fnmatch.filter(space.ops, entry.pattern)
        if not names:
            raise ConfigError(f"{entry.where}: matches no op; {_nearest(entry.pattern, list(space.ops))}")
        for name in names:
            before = governing.get(name)
            loser, winner = (entry, before) if before and before.pattern == name else (before, entry)
            if loser and winner:
                yields[loser.where, winner.where].append(name)
            governing[name] = winner or entry
    for (loses, wins), names in yields.items():
        _log.info("%s gives way to %s for %s", loses, wins, few(names))
    return governing


def _nearest(pattern: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"the model's ops: {few(names)}" if names else "the model has no op that can be quantized"


def _merged(model: OpLimits, entry: OpLimits | None) -> OpLimits:
    """Return the limits of one op: leaf by leaf those of its entry, else those of the whole model."""
    if entry is None:
        return model
    weight, activation = (replace(getattr(model, tensor), **given_leaves(getattr(entry, tensor))) for tensor in TENSORS)
    return replace(
        entry,
        dtype=entry.dtype or model.dtype,
        approach=entry.approach or model.approach,
        weight=weight,
        activation=activation,
    )


def _calibrations(ops: Iterable[Op], config: Config) -> tuple[CalibrationSize, ...]:
    """Return the calibration sizes that make a difference: without a static candidate one is as good as all."""
    if any(candidate.approach == "static" for op in ops for candidate in op.candidates):
        return config.calibrations
    if len(config.calibrations) > 1:
        _log.info("no op takes its range from calibration, so only %s are searched", config.calibrations[0])
    return config.calibrations[:1]
