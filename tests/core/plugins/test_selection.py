"""The parts a run uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ilit.config import read_config
from ilit.errors import ConfigError
from ilit.objective import PERFORMANCE
from ilit.plugins.registry import Registry
from ilit.plugins.selection import ByFunction, ByMetric, choose_scoring, select_adapter, select_parts
from ilit.testing import FakeAccuracy, FakeAdapter, fake_model, fake_plugins


@pytest.fixture
def plugins(plugin: Callable[..., Any], strategy_of: Callable[..., Any]) -> Registry:
    """Return a registry with the fake framework and a strategy ``scripted``."""
    return fake_plugins(more=plugin(ilit_strategies=lambda: [strategy_of(lambda space, baseline: iter(()))]))


def test_the_parts_are_those_the_configuration_names(plugins: Registry) -> None:
    """Strategy, objective and executor by name, the adapter by the model."""
    parts = select_parts(read_config(tuning={"strategy": "scripted"}), fake_model(), plugins)
    assert isinstance(parts.adapter, FakeAdapter)
    assert parts.strategy.name == "scripted"
    assert parts.objective is PERFORMANCE
    assert type(parts.executor).name == "serial"


def test_a_named_framework_wins(plugins: Registry) -> None:
    """``framework.name`` needs no plugin to know the model."""
    assert isinstance(select_adapter(read_config(framework={"name": "fake"}), object(), plugins), FakeAdapter)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        pytest.param(
            {}, r"^framework.name: no plugin knows what to do with a object; .*\(installed: fake\)", id="none"
        ),
        pytest.param(
            {"framework": {"name": "fakr"}}, r"framework.name: no adapter 'fakr'; .*did you mean 'fake'", id="misspelt"
        ),
    ],
)
def test_no_adapter_is_an_error_with_what_is_installed(plugins: Registry, config: dict[str, Any], text: str) -> None:
    """Neither a guess nor a default."""
    with pytest.raises(ConfigError, match=text):
        select_adapter(read_config(**config), object(), plugins)


@pytest.mark.parametrize(
    ("said", "by_metric", "by_function"),
    [(None, True, True), (False, False, False), (True, True, True)],
    ids=["nothing", "lower", "higher"],
)
def test_the_direction_is_the_configurations(
    plugins: Registry, said: bool | None, by_metric: bool, by_function: bool
) -> None:
    """Else the metric's own; more is better of an ``eval_func``'s."""
    criterion = {} if said is None else {"accuracy_criterion": {"higher_is_better": said}}
    metric = choose_scoring(read_config(tuning={"metric": "fake_accuracy", **criterion}), [], None, plugins)
    function = choose_scoring(read_config(tuning=criterion), None, len, plugins)
    assert isinstance(metric, ByMetric)
    assert isinstance(metric.make(), FakeAccuracy)
    assert (metric.name, metric.higher_is_better) == ("fake_accuracy", by_metric)
    assert function == ByFunction(len, by_function)
    assert function.name == "eval_func"
