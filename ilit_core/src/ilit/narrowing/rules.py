"""The rules of plugins that leave candidates out: the answers to the hook ``ilit_space_rules``, intersected."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ilit.config import Config
from ilit.errors import IlitError, PluginError, one_line
from ilit.narrowing.limits import governing_limits
from ilit.plugins.registry import Registry
from ilit.recipe import OpConfig, Scalar
from ilit.space import Op, SearchSpace

_log = logging.getLogger(__name__)


def apply_rules(space: SearchSpace, model: Any, config: Config, plugins: Registry) -> SearchSpace:
    """Return ``space`` narrowed by the rules of every plugin; ops that ``tuning.ops`` names stay as they are.

    Raises:
        PluginError: a rule raised, widens the space, drops an op, or leaves one no candidate.
    """
    named = governing_limits(space, config.op_limits)
    narrowed = space
    for plugin in plugins.working:
        for answer in _answers(plugin, space, model, plugins):
            _check(answer, space, plugin)
            narrowed = _intersection(narrowed, answer, plugin)
    ops = {name: space.ops[name] if name in named else op for name, op in narrowed.ops.items()}
    changed = [name for name in ops if ops[name] != space.ops[name]]
    if changed:
        _log.info("rules of plugins narrow %d ops, the first is %s", len(changed), changed[0])
    return replace(narrowed, ops=ops)


def _answers(plugin: str, space: SearchSpace, model: Any, plugins: Registry) -> list[Any]:
    try:
        return plugins.ask(plugin, "ilit_space_rules", space=space, model=model)
    except IlitError:
        raise
    except Exception as error:
        raise PluginError(f"plugin {plugin}: ilit_space_rules raised {one_line(error)}; fix or uninstall it") from error


def _check(answer: Any, space: SearchSpace, plugin: str) -> None:
    if not isinstance(answer, SearchSpace):
        raise PluginError(f"plugin {plugin}: ilit_space_rules returned a {type(answer).__name__}, not a SearchSpace")
    for what, theirs, ours in (
        ("op", set(answer.ops), set(space.ops)),
        ("transform", set(answer.transforms), set(space.transforms)),
    ):
        for name in sorted(theirs ^ ours):
            verb = "adds" if name in theirs else "drops"
            raise PluginError(f"plugin {plugin}: ilit_space_rules {verb} {what} '{name}'; rules only leave out values")
    for name, op in answer.ops.items():
        if not _is_part(op.candidates, space.ops[name]):
            raise PluginError(f"plugin {plugin}: ilit_space_rules widens op '{name}'; rules only leave out values")
    for name, values in answer.transforms.items():
        if not set(values) <= set(space.transforms[name]):
            raise PluginError(
                f"plugin {plugin}: ilit_space_rules widens transform '{name}'; rules only leave out values"
            )


def _intersection(one: SearchSpace, other: SearchSpace, plugin: str) -> SearchSpace:
    """Return the intersection of two spaces, in the order of the later one, whose preference is the more particular."""
    ops: Mapping[str, Op] = {name: _common_candidates(op, other.ops[name]) for name, op in one.ops.items()}
    transforms: Mapping[str, tuple[Scalar, ...]] = {
        name: tuple(value for value in other.transforms[name] if value in values)
        for name, values in one.transforms.items()
    }
    for name, op in ops.items():
        if not op.candidates:
            raise PluginError(f"plugin {plugin}: ilit_space_rules leaves op '{name}' nothing that other rules allow")
    for name, values in transforms.items():
        if not values:
            raise PluginError(f"plugin {plugin}: ilit_space_rules leaves transform '{name}' no value")
    return replace(one, ops=ops, transforms=transforms)


# An op has hundreds of candidates, and rules leave most ops as they are: comparing is far quicker than looking up.


def _is_part(candidates: tuple[OpConfig, ...], op: Op) -> bool:
    return candidates == op.candidates or all(op.allows(config) for config in candidates)


def _common_candidates(one: Op, other: Op) -> Op:
    if one.candidates == other.candidates:
        return one
    return replace(one, candidates=tuple(config for config in other.candidates if one.allows(config)))
