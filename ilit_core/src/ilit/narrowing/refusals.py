"""Refusal of a space that limits have narrowed to something else than the user asked for, in one line."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ilit.config import OpLimits
from ilit.errors import ConfigError
from ilit.narrowing.candidates import TENSORS, given_leaves, leaf_value
from ilit.space import Op, SearchSpace

_log = logging.getLogger(__name__)


def refuse_lost_ops(
    space: SearchSpace, narrowed: SearchSpace, merged: Mapping[str, OpLimits], governing: Mapping[str, OpLimits]
) -> None:
    """Refuse a narrowed space that is not what the user asked for, and log the ops that limits leave in float32.

    Args:
        space: as the adapter offers it.
        narrowed: the same, narrowed by the limits.
        merged: op name -> all limits on it.
        governing: op name -> the entry of ``tuning.ops`` that governs it, where there is one.

    Raises:
        ConfigError: an op, or all ops of an entry, have nothing left, or the whole model would stay in float32.
    """
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
            and (given_leaves(entry.weight) or given_leaves(entry.activation) or entry.approach)
        ):
            raise ConfigError(f"{entry.where}: {loss.sentence()}")
    if len(lost) == len(space.ops):
        raise ConfigError(_nothing_left([loss for loss in lost if loss.op.quantizable]))
    if unasked:
        _log.info("stays in float32, since limits leave no INT8 candidate: %s", few([x.op.name for x in unasked]))


def few(names: Sequence[str]) -> str:
    """Return the first four names, and the number of the others, in words."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


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
    leaves = {f"{t}.{leaf}": values for t in TENSORS for leaf, values in given_leaves(getattr(limits, t)).items()}
    return {"dtype": limits.dtype, "approach": limits.approach, **leaves}


def _offer(op: Op, key: str) -> list[str]:
    """Return the values that the op's candidates have for a key of ``_wishes``."""
    if key == "dtype":
        values: list[str | int | None] = [config.dtype for config in op.candidates]
    elif key == "approach":
        values = [config.approach for config in op.candidates]
    else:
        tensor, _, leaf = key.partition(".")
        values = [leaf_value(config, tensor, leaf) for config in op.candidates]
    return [str(value) for value in dict.fromkeys(values) if value is not None]


def _nothing_left(lost: Sequence[_Loss]) -> str:
    if not lost:
        return "the model has no op that can be quantized; give a model with linear, convolution or embedding ops"
    unasked = [loss for loss in lost if not _accepts_float(loss)]
    if unasked:
        return f"{unasked[0].limits.where}: the whole model would stay in float32: {unasked[0].sentence()}"
    return f"{lost[0].limits.where}: every op stays in float32, so there is nothing to tune; leave some op to INT8"


def _accepts_float(loss: _Loss) -> bool:
    """Return whether the user named, for the op or one of its tensors, a float that the op offers."""
    offered = {config.dtype for config in loss.op.candidates if not config.quantized}
    limits = loss.limits
    return any(offered & set(dtypes) for dtypes in (limits.dtype, limits.weight.dtype, limits.activation.dtype))
