"""The candidates that limits leave to one op, in the order in which they are searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from ilit.config import OpLimits, TensorLimits
from ilit.narrowing.transforms import Candidates, is_per_token
from ilit.recipe import FLOAT32, Approach, OpConfig, QuantSpec

TENSORS = ("weight", "activation")
_FLOAT_DTYPES = ("bfloat16", "float32")
_LEAVES = tuple(leaf.name for leaf in fields(TensorLimits))
# What is searched where the user says nothing, preferred first. Algorithms cost a search no evaluation, since each op's
# own output error decides among them; one scale per output channel costs the kernels nothing.
_DEFAULTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("weight", "granularity"): ("per_channel",),
    ("weight", "algorithm"): ("minmax", "mse"),
    ("activation", "algorithm"): ("minmax", "percentile", "mse", "kl"),
}
_PREFERRED = {**_DEFAULTS, ("activation", "scheme"): ("asym", "sym")}


def allowed_candidates(candidates: Candidates, limits: OpLimits) -> Candidates:
    """Return the candidates that the limits allow, and the defaults where these say nothing.

    They come in the user's order where a list was given, then in the adapter's, those with one scale per token after
    the rest, and within an approach the smoothed ones last; bfloat16 and float32 are at the end.
    """
    offered = tuple(dict.fromkeys(config.approach for config in candidates if config.quantized))
    found: list[OpConfig] = []
    for approach in _approaches(offered, limits):
        group = [c for c in candidates if c.quantized and c.approach == approach and _allowed(c, limits)]
        found += _widest(_by_default(group, limits), limits)
    strengths = tuple(dict.fromkeys(config.smoothing for config in candidates))
    found.sort(key=lambda config: _rank(config, limits, offered, strengths))
    return (*found, *_floats(candidates, limits))


def given_leaves(limits: TensorLimits) -> dict[str, Any]:
    """Return the values that the limits of a tensor allow, by leaf, without the leaves they leave open."""
    return {leaf: getattr(limits, leaf) for leaf in _LEAVES if getattr(limits, leaf)}


def leaf_value(config: OpConfig, tensor: str, leaf: str) -> str | int | None:
    """Return the value of one leaf of a candidate's tensor; None where no limit can apply to it."""
    spec: QuantSpec | None = getattr(config, tensor)
    # A dynamic op takes the activation's range at run time, whatever calibration says.
    if spec is None or (config.approach == "dynamic" and (tensor, leaf) == ("activation", "algorithm")):
        return None
    value: str | int = getattr(spec, leaf)
    return value


def _floats(candidates: Candidates, limits: OpLimits) -> list[OpConfig]:
    """Return the float candidates that an op may fall back to, float32 last.

    Where the user names floats among the dtypes of weights or activations, those are meant and bfloat16 only if it is
    one of them; float32 is there in any case.
    """
    named = {dtype for tensor in TENSORS for dtype in getattr(limits, tensor).dtype} & set(_FLOAT_DTYPES)
    wanted = set(limits.dtype) or {"float32", *(named or _FLOAT_DTYPES)}
    return sorted((c for c in candidates if c.dtype in wanted and not c.quantized), key=lambda c: c == FLOAT32)


def _approaches(offered: Sequence[Approach | None], limits: OpLimits) -> list[Approach | None]:
    """Return the approaches that are allowed; of an op that knows only ``weight_only``, that one in any case."""
    allowed = [approach for approach in offered if not limits.approach or approach in limits.approach]
    return allowed or [approach for approach in offered if set(offered) == {"weight_only"}]


def _allowed(config: OpConfig, limits: OpLimits) -> bool:
    if limits.dtype and "int8" not in limits.dtype:
        return False
    return all(
        leaf_value(config, tensor, leaf) in (None, *values)
        for tensor in TENSORS
        for leaf, values in given_leaves(getattr(limits, tensor)).items()
    )


def _by_default(group: list[OpConfig], limits: OpLimits) -> list[OpConfig]:
    """Narrow each leaf the user left open to its default values, where the op offers one of them."""
    for (tensor, leaf), wanted in _DEFAULTS.items():
        if leaf not in given_leaves(getattr(limits, tensor)):
            preferred = [config for config in group if leaf_value(config, tensor, leaf) in (None, *wanted)]
            group = preferred or group
    return group


def _widest(group: list[OpConfig], limits: OpLimits) -> list[OpConfig]:
    """Drop a candidate where another, otherwise equal, uses more bits on one side and no fewer on the other.

    Only sides whose bits the user left open are compared.
    """
    open_sides = [tensor for tensor in TENSORS if not getattr(limits, tensor).bits]

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
    """Return the sort key: the user's lists, then the adapter's order of approaches, then the defaults' preference.

    One scale per token loses the fused operations that may follow, so it comes after all that has not; smoothing costs
    little, and comes after the same approach without.
    """
    by_user = [
        _place(leaf_value(config, tensor, leaf), values)
        for tensor in TENSORS
        for leaf, values in given_leaves(getattr(limits, tensor)).items()
    ]
    by_default = [_place(leaf_value(config, tensor, leaf), wanted) for (tensor, leaf), wanted in _PREFERRED.items()]
    approach = (is_per_token(config), offered.index(config.approach), config.smoothing > 0)
    return (*by_user, *approach, *by_default, strengths.index(config.smoothing))


def _place(value: str | int | None, order: Sequence[str | int]) -> int:
    return order.index(value) if value in order else len(order) if value is not None else 0
