"""The transforms that a configuration allows: smoothing strengths, bias correction, one scale per token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ilit.config import Config, TransformLimits
from ilit.errors import ConfigError
from ilit.recipe import OpConfig
from ilit.space import SearchSpace

_log = logging.getLogger(__name__)

Candidates = tuple[OpConfig, ...]
BIAS_CORRECTION = "bias_correction"
_PER_TOKEN = "per_token"  # noqa: S105 - a granularity


def allow_transforms(space: SearchSpace, config: Config) -> SearchSpace:
    """Return ``space`` with the transforms that ``quantization.transforms`` allows; those it does not name stay.

    The user's smoothing strengths replace the offered ones; no smoothing stays a candidate.

    Raises:
        ConfigError: strengths are given and no op offers smoothing, or one scale per token is forbidden, yet an op may
            have nothing else.
    """
    limits = config.transforms
    _check(space, config)
    allowed = memoized(lambda candidates: _allowed(candidates, limits))
    ops = {name: replace(op, candidates=allowed(op.candidates)) for name, op in space.ops.items()}
    transforms = dict(space.transforms)
    if limits.bias_correction is False and BIAS_CORRECTION in transforms:
        transforms[BIAS_CORRECTION] = (False,)
    return replace(space, ops=ops, transforms=transforms)


def memoized(narrow: Callable[[Candidates], Candidates]) -> Callable[[Candidates], Candidates]:
    """Return ``narrow``, memoized by comparison.

    Ops of a kind have equal candidates, hundreds of them: comparing is quick, hashing or narrowing is not.
    """
    known: list[tuple[Candidates, Candidates]] = []

    def find(candidates: Candidates) -> Candidates:
        for before, after in known:
            if before == candidates:
                return after
        known.append((candidates, narrow(candidates)))
        return known[-1][1]

    return find


def is_per_token(config: OpConfig) -> bool:
    """Return whether the op's activation has one scale per token."""
    return config.activation is not None and config.activation.granularity == _PER_TOKEN


def _allowed(candidates: Candidates, limits: TransformLimits) -> Candidates:
    if limits == TransformLimits():
        return candidates
    found: dict[OpConfig, None] = {}
    for config in candidates:
        if limits.per_token is False and is_per_token(config):
            continue
        given = config.smoothing and limits.smooth is not None
        found |= dict.fromkeys(
            [replace(config, smoothing=alpha) for alpha in limits.smooth or ()] if given else [config]
        )
    return tuple(found)


def _check(space: SearchSpace, config: Config) -> None:
    limits = config.transforms
    if limits.smooth and not _offers_smoothing(space):
        raise ConfigError(
            f"{limits.where}.smooth: adapter and CPU offer smoothing for no op of this model; write none, or remove it"
        )
    for entry in (config.model_limits, *config.op_limits):
        if limits.per_token is False and entry.activation.granularity == (_PER_TOKEN,):
            raise ConfigError(
                f"{entry.where}: activation.granularity {_PER_TOKEN} is forbidden by quantization.transforms; "
                "remove one of them"
            )


def log_unused(narrowed: SearchSpace, limits: TransformLimits) -> None:
    """Log the transforms that the user allows by name and that nothing in the narrowed space can have."""
    found = {
        "smooth": (limits.smooth, _offers_smoothing(narrowed)),
        BIAS_CORRECTION: (limits.bias_correction, True in narrowed.transforms.get(BIAS_CORRECTION, ())),
        _PER_TOKEN: (limits.per_token, any(is_per_token(c) for op in narrowed.ops.values() for c in op.candidates)),
    }
    unused = [name for name, (asked, there) in found.items() if asked and not there]
    if unused:
        _log.info("%s: nothing in the search space can have %s", limits.where, " or ".join(unused))


def _offers_smoothing(space: SearchSpace) -> bool:
    return any(config.smoothing for op in space.ops.values() for config in op.candidates)
