"""Which parts one run uses: those the configuration names, and the adapter that the model asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilit.adapter import Adapter
from ilit.config import Config
from ilit.errors import ConfigError, PluginError
from ilit.executor import Executor
from ilit.objective import Objective
from ilit.plugins.components import find_objective, make_executor, make_strategy
from ilit.plugins.registry import Registry
from ilit.strategy import Strategy


@dataclass(frozen=True)
class Components:
    """What the configuration names, constructed."""

    adapter: Adapter
    strategy: Strategy
    objective: Objective
    executor: Executor


def select_components(config: Config, model: Any, plugins: Registry) -> Components:
    """Return the parts of a run.

    Raises:
        ConfigError: a name that nothing installed has, options a part does not take, or no framework named and no
            plugin that knows the model.
    """
    return Components(
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
