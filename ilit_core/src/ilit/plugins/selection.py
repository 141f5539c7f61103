"""The parts one run uses: those the configuration names, the adapter that the model asks for, and what scores it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from ilit.adapter import Adapter
from ilit.config import Config
from ilit.errors import ConfigError, PluginError, warn
from ilit.executor import Executor
from ilit.metric import Metric
from ilit.objective import Objective
from ilit.plugins.parts import find_objective, make_executor, make_metric, make_strategy
from ilit.plugins.registry import Registry
from ilit.strategy import Strategy


@dataclass(frozen=True)
class Parts:
    """The parts of one run, constructed."""

    adapter: Adapter
    strategy: Strategy
    objective: Objective
    executor: Executor


def select_parts(config: Config, model: Any, plugins: Registry) -> Parts:
    """Return the parts of a run.

    Raises:
        ConfigError: a name that nothing installed has, options a part does not take, or no framework named and no
            plugin that knows the model.
    """
    return Parts(
        adapter=select_adapter(config, model, plugins),
        strategy=make_strategy(config, plugins),
        objective=find_objective(config, plugins),
        executor=make_executor(config, plugins),
    )


def select_adapter(config: Config, model: Any, plugins: Registry) -> Adapter:
    """Return the adapter that ``framework.name`` says, or the one a plugin chooses for the model.

    Raises:
        ConfigError: no such adapter, or no name given and no plugin that knows the model.
    """
    name = config.framework or plugins.hook.ilit_select_adapter(model=model)
    if not name:
        installed = ", ".join(plugins.names("adapter")) or "none; pip install ilit-pytorch"
        raise ConfigError(
            f"framework.name: no plugin knows what to do with a {type(model).__name__}; give a model of an installed "
            f"framework, or name an adapter (installed: {installed})"
        )
    try:
        return plugins.adapter(name)()
    except PluginError as error:
        raise ConfigError(f"framework.name: {error}") from error


@dataclass(frozen=True)
class ByMetric:
    """A metric over evaluation data scores the run.

    Attributes:
        name: the metric's.
        higher_is_better: its direction, unless the configuration says otherwise.
        make: makes a fresh metric.
    """

    name: str
    higher_is_better: bool
    make: Callable[[], Metric]


@dataclass(frozen=True)
class ByFunction:
    """The user's ``eval_func`` scores the run.

    Attributes:
        function: gives the score of a model.
        higher_is_better: True, unless the configuration says otherwise.
    """

    function: Callable[[Any], Any]
    higher_is_better: bool
    name: ClassVar[str] = "eval_func"


Scoring = ByMetric | ByFunction


def choose_scoring(config: Config, eval_dataloader: Any, eval_func: Any, plugins: Registry) -> Scoring:
    """Return the way a run is scored. Warns where a configured metric is not used.

    Raises:
        ConfigError: both or neither of ``eval_dataloader`` and ``eval_func`` given, data without a metric, or
            no such metric.
    """
    if (eval_dataloader is None) == (eval_func is None):
        given = "both" if eval_func is not None else "neither"
        raise ConfigError(
            f"tune: {given} of eval_dataloader and eval_func given; give eval_dataloader and a tuning.metric, or "
            "eval_func alone"
        )
    return _by_metric(config, plugins) if eval_func is None else _by_function(config, eval_func)


def _by_metric(config: Config, plugins: Registry) -> ByMetric:
    if config.metric is None:
        installed = ", ".join(plugins.names("metric")) or "none; pip install ilit-pytorch"
        raise ConfigError(
            f"tuning.metric: none is named, and there is no default; name one (installed: {installed}), or give "
            "tune an eval_func"
        )
    make = partial(make_metric, config.metric, plugins)
    metric = make()
    direction = metric.higher_is_better if config.higher_is_better is None else config.higher_is_better
    return ByMetric(getattr(metric, "title", metric.name), direction, make)


def _by_function(config: Config, eval_func: Any) -> ByFunction:
    if config.holdout:
        raise ConfigError("evaluation.holdout: an eval_func shows no rows, so no rows can be held out; remove the key")
    if not callable(eval_func):
        raise ConfigError(f"tune: eval_func is a {type(eval_func).__name__}; give a function of the model")
    if config.metric is not None:
        where = config.metric.where or "tuning.metric"
        warn(f"{where}: metric '{config.metric.name}' is not used, since an eval_func was given")
    return ByFunction(eval_func, config.higher_is_better is not False)
