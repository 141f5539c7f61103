"""Narrows a search space to what the configuration allows, and to sound defaults where it says nothing."""

from __future__ import annotations

import difflib
import fnmatch
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from ilit.config import Config, OpLimits, TensorLimits
from ilit.errors import ConfigError
from ilit.narrowing.transforms import Candidates, allow_transforms, is_per_token, log_unused, remembered
from ilit.recipe import FLOAT32, Approach, OpConfig, QuantSpec
from ilit.space import CalibrationSize, Op, SearchSpace

logger = logging.getLogger("ilit")

_FLOAT_DTYPES = ("bfloat16", "float32")
_TENSORS = ("weight", "activation")
_LEAVES = tuple(leaf.name for leaf in fields(TensorLimits))
# What is searched where the user says nothing, preferred first. Algorithms cost a search no evaluation, since each op's
# own output error decides among them; one scale per output channel costs the kernels nothing.
_DEFAULTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("weight", "granularity"): ("per_channel",),
    ("weight", "algorithm"): ("minmax", "mse"),
    ("activation", "algorithm"): ("minmax", "percentile", "mse", "kl"),
}
_PREFERRED = {**_DEFAULTS, ("activation", "scheme"): ("asym", "sym")}


def narrow(space: SearchSpace, config: Config) -> SearchSpace:
    """Return ``space`` with the configuration's limits, its calibration sizes, and defaults for what it leaves open.

    An op's candidates come in the user's order where a list was given, then in the adapter's, what costs one scale per
    token after the rest, and within an approach what is smoothed after what is not; bfloat16 and float32 stay last.
    Limits on weights or activations never take float32 away, ``dtype: int8`` for an op does.

    Raises:
        ConfigError: a pattern matches no op, an op or pattern has nothing left that is allowed and offered, the whole
            model would stay in float32, or a transform is asked for that nothing offers.
    """
    space = allow_transforms(space, config)
    governing = governing_limits(space, config.op_limits)
    merged = {name: _merged(config.model_limits, governing.get(name)) for name in space.ops}
    narrowers = {limits: remembered(partial(_candidates, limits=limits)) for limits in dict.fromkeys(merged.values())}
    ops = {name: replace(op, candidates=narrowers[merged[name]](op.candidates)) for name, op in space.ops.items()}
    narrowed = replace(space, ops=ops, calibrations=_calibrations(ops.values(), config))
    _check(space, narrowed, merged, governing)
    log_unused(narrowed, config.transforms)
    return narrowed


def governing_limits(space: SearchSpace, op_limits: Sequence[OpLimits]) -> dict[str, OpLimits]:
    """Return op name -> the entry that counts for it: its exact name, else the last glob that matches (logged).

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
        logger.info("%s gives way to %s for %s", loses, wins, _few(names))
    return governing


def _nearest(pattern: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"the model's ops: {_few(names)}" if names else "the model has no op that can be quantized"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _merged(model: OpLimits, entry: OpLimits | None) -> OpLimits:
    """Return the limits of one op: leaf by leaf what its entry says, else what is said of the whole model."""
    if entry is None:
        return model
    weight, activation = (replace(getattr(model, tensor), **_given(getattr(entry, tensor))) for tensor in _TENSORS)
    return replace(
        entry,
        dtype=entry.dtype or model.dtype,
        approach=entry.approach or model.approach,
        weight=weight,
        activation=activation,
    )


def _given(limits: TensorLimits) -> dict[str, Any]:
    return {leaf: getattr(limits, leaf) for leaf in _LEAVES if getattr(limits, leaf)}


def _candidates(candidates: Candidates, limits: OpLimits) -> Candidates:
    """Return what is both offered and allowed, narrowed by the defaults, in order."""
    offered = tuple(dict.fromkeys(config.approach for config in candidates if config.quantized))
    kept = []
    for approach in _approaches(offered, limits):
        group = [c for c in candidates if c.quantized and c.approach == approach and _allowed(c, limits)]
        kept += _widest(_by_default(group, limits), limits)
    strengths = tuple(dict.fromkeys(config.smoothing for config in candidates))
    kept.sort(key=lambda config: _rank(config, limits, offered, strengths))
    return (*kept, *_floats(candidates, limits))


def _floats(candidates: Candidates, limits: OpLimits) -> list[OpConfig]:
    """Return what an op may fall back to, float32 last.

    Where the user names floats among the dtypes of weights or activations, those are meant and bfloat16 only if it is
    one of them; float32 is there in any case.
    """
    named = {dtype for tensor in _TENSORS for dtype in getattr(limits, tensor).dtype} & set(_FLOAT_DTYPES)
    wanted = set(limits.dtype) or {"float32", *(named or _FLOAT_DTYPES)}
    return sorted((c for c in candidates if c.dtype in wanted and not c.quantized), key=lambda c: c == FLOAT32)


def _approaches(offered: Sequence[Approach | None], limits: OpLimits) -> list[Approach | None]:
    """Return which of an op's approaches are allowed; one that knows weights only has no other to choose."""
    allowed = [approach for approach in offered if not limits.approach or approach in limits.approach]
    return allowed or [approach for approach in offered if set(offered) == {"weight_only"}]


def _allowed(config: OpConfig, limits: OpLimits) -> bool:
    if limits.dtype and "int8" not in limits.dtype:
        return False
    return all(
        _value(config, tensor, leaf) in (None, *values)
        for tensor in _TENSORS
        for leaf, values in _given(getattr(limits, tensor)).items()
    )


def _value(config: OpConfig, tensor: str, leaf: str) -> str | int | None:
    """Return one leaf of a candidate; None where no limit can apply to it."""
    spec: QuantSpec | None = getattr(config, tensor)
    # A dynamic op takes the activation's range at run time, whatever calibration says.
    if spec is None or (config.approach == "dynamic" and (tensor, leaf) == ("activation", "algorithm")):
        return None
    value: str | int = getattr(spec, leaf)
    return value


def _by_default(group: list[OpConfig], limits: OpLimits) -> list[OpConfig]:
    """Keep the default values of each leaf the user left open, where the op offers them at all."""
    for (tensor, leaf), wanted in _DEFAULTS.items():
        if leaf not in _given(getattr(limits, tensor)):
            preferred = [config for config in group if _value(config, tensor, leaf) in (None, *wanted)]
            group = preferred or group
    return group


def _widest(group: list[OpConfig], limits: OpLimits) -> list[OpConfig]:
    """Drop a candidate where another, otherwise equal, uses more bits on one side and no fewer on the other.

    Only sides whose bits the user left open are compared.
    """
    open_sides = [tensor for tensor in _TENSORS if not getattr(limits, tensor).bits]

    def bits(config: OpConfig) -> tuple[int, ...]:
        return tuple(spec.bits if (spec := getattr(config, tensor)) else 0 for tensor in open_sides)

    def rest(config: OpConfig) -> OpConfig:
        specs = {tensor: getattr(config, tensor) for tensor in open_sides}
        return replace(config, **{tensor: spec and replace(spec, bits=0) for tensor, spec in specs.items()})

    widths = defaultdict(set)
    for config in group:
        widths[rest(config)].add(bits(config))

    def dominated(config: OpConfig) -> bool:
        mine = bits(config)
        return any(
            other != mine and all(theirs >= ours for theirs, ours in zip(other, mine, strict=True))
            for other in widths[rest(config)]
        )

    return [config for config in group if not dominated(config)]


def _rank(
    config: OpConfig, limits: OpLimits, offered: Sequence[str | None], strengths: Sequence[float]
) -> tuple[int, ...]:
    """Sort key: the user's lists lead, then the adapter's order of approaches, then the defaults' preference.

    One scale per token loses the fused operations that may follow, so it comes after all that has not; smoothing costs
    little, and comes after the same approach without.
    """
    by_user = [
        _place(_value(config, tensor, leaf), values)
        for tensor in _TENSORS
        for leaf, values in _given(getattr(limits, tensor)).items()
    ]
    by_default = [_place(_value(config, tensor, leaf), wanted) for (tensor, leaf), wanted in _PREFERRED.items()]
    approach = (is_per_token(config), offered.index(config.approach), config.smoothing > 0)
    return (*by_user, *approach, *by_default, strengths.index(config.smoothing))


def _place(value: str | int | None, order: Sequence[str | int]) -> int:
    return order.index(value) if value in order else len(order) if value is not None else 0


def _calibrations(ops: Iterable[Op], config: Config) -> tuple[CalibrationSize, ...]:
    """Return the sizes that make a difference: without a static candidate one is as good as all."""
    if any(candidate.approach == "static" for op in ops for candidate in op.candidates):
        return config.calibrations
    if len(config.calibrations) > 1:
        logger.info("no op takes its range from calibration, so only %s are searched", config.calibrations[0])
    return config.calibrations[:1]


# --- What went wrong ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loss:
    """An op that offered INT8 candidates, or was asked to have one, and has none left."""

    op: Op
    limits: OpLimits

    def sentence(self) -> str:
        allowed = {key: values for key, values in _wishes(self.limits).items() if values}
        offered = ", ".join(f"{key} {'/'.join(_offer(self.op, key)) or 'nothing'}" for key in allowed)
        wished = ", ".join(f"{key} {'/'.join(map(str, values))}" for key, values in allowed.items())
        if not self.op.quantizable:
            offered = "only " + "/".join(config.dtype for config in self.op.candidates)
        return (
            f"nothing is left for op '{self.op.name}': allowed {wished}; adapter and CPU offer {offered}; "
            "allow more of it, or remove the limit"
        )


def _wishes(limits: OpLimits) -> dict[str, tuple[str | int, ...]]:
    leaves = {f"{t}.{leaf}": values for t in _TENSORS for leaf, values in _given(getattr(limits, t)).items()}
    return {"dtype": limits.dtype, "approach": limits.approach, **leaves}


def _offer(op: Op, key: str) -> list[str]:
    """Return the values the op's candidates have for a key of ``_wishes``."""
    if key == "dtype":
        values: list[str | int | None] = [config.dtype for config in op.candidates]
    elif key == "approach":
        values = [config.approach for config in op.candidates]
    else:
        tensor, _, leaf = key.partition(".")
        values = [_value(config, tensor, leaf) for config in op.candidates]
    return [str(value) for value in dict.fromkeys(values) if value is not None]


def _check(
    space: SearchSpace, narrowed: SearchSpace, merged: Mapping[str, OpLimits], governing: Mapping[str, OpLimits]
) -> None:
    """Refuse a space that is not what the user asked for, and log the ops that limits leave in float32."""
    lost = [_Loss(op, merged[name]) for name, op in space.ops.items() if not narrowed.ops[name].quantizable]
    for loss in lost:
        if not narrowed.ops[loss.op.name].candidates:
            raise ConfigError(f"{loss.limits.where}: {loss.sentence()}")
    alive = {governing[name].pattern for name in governing if narrowed.ops[name].quantizable}
    unasked = [loss for loss in lost if loss.op.quantizable and not _accepts_float(loss)]
    for loss in unasked:
        entry = governing.get(loss.op.name)
        if (
            entry
            and entry.pattern not in alive
            and (_given(entry.weight) or _given(entry.activation) or entry.approach)
        ):
            raise ConfigError(f"{entry.where}: {loss.sentence()}")
    if len(lost) == len(space.ops):
        raise ConfigError(_nothing_left([loss for loss in lost if loss.op.quantizable]))
    if unasked:
        logger.info("stays in float32, since limits leave no INT8 candidate: %s", _few([x.op.name for x in unasked]))


def _nothing_left(lost: Sequence[_Loss]) -> str:
    if not lost:
        return "the model has no op that can be quantized; give a model with linear, convolution or embedding ops"
    unasked = [loss for loss in lost if not _accepts_float(loss)]
    if unasked:
        return f"{unasked[0].limits.where}: the whole model would stay in float32: {unasked[0].sentence()}"
    return f"{lost[0].limits.where}: every op is kept in float32, so there is nothing to tune; leave some op to INT8"


def _accepts_float(loss: _Loss) -> bool:
    """Return whether the user named, for the op or one of its tensors, a float that the op offers."""
    offered = {config.dtype for config in loss.op.candidates if not config.quantized}
    limits = loss.limits
    return any(offered & set(dtypes) for dtypes in (limits.dtype, limits.weight.dtype, limits.activation.dtype))
