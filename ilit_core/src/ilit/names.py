"""Turns a name in a configuration into the part that a plugin offers, with its options checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

from ilit.config import Config, Named
from ilit.errors import ConfigError, IlitError, PluginError, did_you_mean
from ilit.executor import Executor
from ilit.metric import Metric
from ilit.objective import Objective
from ilit.plugins import Registry
from ilit.strategy import Strategy


def check_names(config: Config, registry: Registry) -> tuple[str, ...]:
    """Check every name in the configuration, and the options beside it, against the installed plugins.

    Returns:
        One line for each name that cannot be checked here, since no adapter or no metric at all is installed: a
        configuration may be checked on a machine without the framework.

    Raises:
        ConfigError: a name that no plugin offers or two plugins do, or options that its part does not take.
    """
    make_strategy(config.strategy, registry)
    find_objective(config.objective, registry)
    make_executor(config.executor, registry)
    notes = []
    if config.framework and not registry.names("adapter"):
        notes.append(_missing(registry, "adapter", config.framework, f"framework '{config.framework}' is unchecked"))
    elif config.framework:
        _found(lambda: registry.adapter(config.framework), f"{config.source}: framework.name")
    if config.metric and not registry.names("metric"):
        notes.append(_missing(registry, "metric", config.metric.name, f"metric '{config.metric.name}' is unchecked"))
    elif config.metric:
        make_metric(config.metric, registry)
    return tuple(notes)


def _missing(registry: Registry, kind: str, name: str, so: str) -> str:
    try:
        registry.find(kind, name)
    except PluginError as error:
        return f"{error}; so {so}"
    return so


def _found(look_up: Callable[[], Any], where: str) -> Any:
    """Look a part up, and say where in the configuration it was asked for if there is none."""
    try:
        return look_up()
    except PluginError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def make_strategy(named: Named, registry: Registry) -> Strategy:
    """Return the strategy with its options.

    Raises:
        ConfigError: no such strategy, or options it does not take.
    """
    where = named.where or "tuning.strategy"
    factory = _found(lambda: registry.strategy(named.name), where)
    try:
        options = factory.Options(**named.options)
    except pydantic.ValidationError as error:
        problem = _pydantic_problem(error, f"strategy '{named.name}'", list(factory.Options.model_fields))
        raise ConfigError(f"{where}: {problem}") from error
    strategy: Strategy = factory(options)
    return strategy


def _pydantic_problem(error: pydantic.ValidationError, part: str, known: list[str]) -> str:
    """Return the first of pydantic's complaints in our words."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{part} has no option '{name}'; {_taken(known)}{did_you_mean(name, known)}"
    if first["type"] == "missing":
        return f"{part} needs the option '{name}'; write it beside the name"
    message = first["msg"].removeprefix("Value error, ")
    return f"option '{name}' of {part}: {message[:1].lower()}{message[1:]}; got {first['input']!r}"


def _taken(known: list[str]) -> str:
    return f"it takes {', '.join(known)}" if known else "it takes none"


def make_metric(named: Named, registry: Registry) -> Metric:
    """Return a new metric for one evaluation, with its options.

    Raises:
        ConfigError: no such metric, or options it does not take.
    """
    where = named.where or "tuning.metric"
    factory = _found(lambda: registry.metric(named.name), where)
    arguments = () if named.value is None else (named.value,)
    metric: Metric = _constructed(factory, f"metric '{named.name}'", where, arguments, named.options)
    return metric


def make_executor(named: Named, registry: Registry) -> Executor:
    """Return the executor with its options.

    Raises:
        ConfigError: no such executor, or options it does not take.
    """
    where = named.where or "run.executor"
    factory = _found(lambda: registry.executor(named.name), where)
    executor: Executor = _constructed(factory, f"executor '{named.name}'", where, (), named.options)
    return executor


def find_objective(named: Named, registry: Registry) -> Objective:
    """Return the objective.

    Raises:
        ConfigError: no such objective, or options, of which an objective takes none.
    """
    where = named.where or "tuning.objective"
    objective: Objective = _found(lambda: registry.objective(named.name), where)
    if named.options:
        raise ConfigError(f"{where}: objective '{named.name}' has no option '{next(iter(named.options))}'; remove it")
    return objective


def _constructed(
    factory: Callable[..., Any], part: str, where: str, arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """Call ``factory``; arguments it does not take, or refuses, are the user's to correct."""
    signature = inspect.signature(factory)
    known = [name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    open_ended = len(known) < len(signature.parameters)
    unknown = [name for name in options if name not in known and not open_ended]
    if unknown:
        hint = did_you_mean(unknown[0], known)
        raise ConfigError(f"{where}: {part} has no option '{unknown[0]}'; {_taken(known)}{hint}")
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        raise ConfigError(f"{where}: {part}: {error}; {_taken(known)}") from error
    try:
        return factory(*arguments, **options)
    except (TypeError, ValueError, IlitError) as error:
        raise ConfigError(f"{where}: {part}: {' '.join(str(error).split())}; correct its options") from error
