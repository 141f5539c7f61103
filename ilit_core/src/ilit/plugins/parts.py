"""The parts that a configuration names, made with their options checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ilit.config import Config, PartSpec
from ilit.config.options import check_executor
from ilit.errors import ConfigError, PluginError
from ilit.executor import Executor
from ilit.metric import Metric
from ilit.objective import Objective
from ilit.plugins.options import constructed, filled
from ilit.plugins.registry import Registry
from ilit.strategy import Strategy


def check_names(config: Config, registry: Registry) -> tuple[str, ...]:
    """Check every name in the configuration, and the options beside it, against the installed plugins.

    Returns:
        One line for each name that cannot be checked here, since no adapter or no metric at all is installed: a
        configuration may be checked on a machine without the framework.

    Raises:
        ConfigError: a name that no plugin offers or two plugins do, or options that its part does not take.
    """
    make_strategy(config, registry)
    find_objective(config, registry)
    make_executor(config, registry)
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


def _where(named: PartSpec, key: str) -> str:
    return named.where or key


def make_strategy(config: Config, registry: Registry) -> Strategy:
    """Return the strategy with its options.

    Raises:
        ConfigError: no such strategy, or options it does not take.
    """
    named, where = config.strategy, _where(config.strategy, "tuning.strategy")
    factory = _found(lambda: registry.strategy(named.name), where)
    options = _at(where, lambda: filled(factory.Options, named.options, f"strategy '{named.name}'"))
    strategy: Strategy = factory(options)
    return strategy


def _at(where: str, make: Callable[[], Any]) -> Any:
    """Make a part, and say where in the configuration its options are if they are wrong."""
    try:
        return make()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error.__cause__


def make_metric(named: PartSpec, registry: Registry) -> Metric:
    """Return a new metric for one evaluation, with its options.

    Raises:
        ConfigError: no such metric, or options it does not take.
    """
    where = _where(named, "tuning.metric")
    factory = _found(lambda: registry.metric(named.name), where)
    arguments = () if named.value is None else (named.value,)
    part = f"metric '{named.name}'"
    metric: Metric = _at(where, lambda: constructed(factory, part, arguments, named.options))
    return metric


def make_executor(config: Config, registry: Registry) -> Executor:
    """Return the executor with its options.

    Raises:
        UnsupportedError: as ``check_executor``.
        ConfigError: options it does not take.
    """
    named, where = config.executor, _where(config.executor, "run.executor")
    check_executor(named)
    factory = _found(lambda: registry.executor(named.name), where)
    part = f"executor '{named.name}'"
    executor: Executor = _at(where, lambda: constructed(factory, part, (), named.options))
    return executor


def find_objective(config: Config, registry: Registry) -> Objective:
    """Return the objective.

    Raises:
        ConfigError: no such objective, or options, of which an objective takes none.
    """
    named, where = config.objective, _where(config.objective, "tuning.objective")
    objective: Objective = _found(lambda: registry.objective(named.name), where)
    if named.options:
        raise ConfigError(f"{where}: objective '{named.name}' has no option '{next(iter(named.options))}'; remove it")
    return objective
