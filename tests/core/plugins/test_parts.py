"""Names in a configuration become parts, and options that a part does not take are told by place."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar

import pydantic
import pytest

from ilit.config import Config, PartSpec, read_config
from ilit.errors import ConfigError, UnsupportedError
from ilit.executor import SerialExecutor
from ilit.hookspecs import hookimpl
from ilit.objective import MODEL_SIZE, OBJECTIVES
from ilit.plugins.parts import check_names, find_objective, make_executor, make_metric, make_strategy

OBJECTIVE_NAMES = ", ".join(sorted(one.name for one in OBJECTIVES))


class Options(pydantic.BaseModel, extra="forbid"):
    """The options of ``Basic``."""

    depth: int = pydantic.Field(default=1, ge=1)
    order: str = "probe"


class Needy(pydantic.BaseModel, extra="forbid"):
    """An option without a default."""

    path: str


class Basic:
    """A strategy with two options."""

    name: ClassVar[str] = "basic"
    Options: ClassVar[type] = Options

    def __init__(self, options: Any) -> None:
        self.options = options

    def search(self, *_: Any) -> Any:
        """Ask for nothing."""
        yield from ()


class Filed(Basic):
    """A strategy that cannot do without its option."""

    name: ClassVar[str] = "filed"
    Options: ClassVar[type] = Needy


class TopK:
    """A metric with one option."""

    name: ClassVar[str] = "topk"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, k: int = 1) -> None:
        if k < 1:
            raise ValueError(f"k is {k}, and counts\nfrom 1")
        self.k = k

    def update(self, outputs: Any, labels: Any) -> None:
        """Take nothing."""

    def result(self) -> float:
        """Return a constant."""
        return 1.0


class Free(TopK):
    """A metric that takes any option."""

    name: ClassVar[str] = "free"

    def __init__(self, **options: Any) -> None:
        self.options = options


class Torchy(Basic):
    """The names an adapter needs."""

    name = "pytorch"
    describe = calibrate = lower = evaluate = save = load = None


@pytest.fixture
def plugins(load):
    """Return a registry with an adapter, strategies and metrics."""
    module = ModuleType("parts")
    module.ilit_strategies = hookimpl(lambda: [Basic, Filed])
    module.ilit_metrics = hookimpl(lambda: [TopK, Free])
    module.ilit_adapters = hookimpl(lambda: [Torchy])
    return load(parts=module)


def test_options_reach_their_part(plugins):
    """A strategy gets its options model, a metric its keywords or its one plain value."""
    config = read_config(tuning={"strategy": {"name": "basic", "depth": 3}, "metric": {"topk": 5}})
    assert make_strategy(config, plugins).options == Options(depth=3)
    assert make_metric(config.metric, plugins).k == 5
    keywords = read_config(tuning={"metric": {"free": {"a": 1, "b": [2]}}})
    assert make_metric(keywords.metric, plugins).options == {"a": 1, "b": [2]}


def test_the_defaults_are_there(plugins):
    """A configuration that says nothing has a strategy, an objective and an executor."""
    config = read_config(tuning={"objective": "modelsize"})
    assert make_strategy(config, plugins).options == Options()
    assert find_objective(config, plugins) is MODEL_SIZE
    assert make_executor(config, plugins).name == "serial"
    assert check_names(config, plugins) == ()


def test_another_executor_is_refused_by_name_though_a_plugin_offers_it(load):
    """No run uses one yet: neither a file nor a configuration made in Python may name it."""

    class Ray(SerialExecutor):
        name: ClassVar[str] = "ray"

    plugin = ModuleType("ray")
    plugin.ilit_executors = hookimpl(lambda: [Ray])
    found = load(ray=plugin)
    refused = "run.executor: executor 'ray' is not used yet, installed or not; write 'serial', or remove it"
    assert found.executor("ray") is Ray
    with pytest.raises(UnsupportedError) as caught:
        make_executor(Config(executor=PartSpec("ray")), found)
    assert str(caught.value) == refused
    with pytest.raises(UnsupportedError) as caught:
        read_config(run={"executor": "ray"})
    assert str(caught.value) == f"Tuner(...): {refused}"


WRONG: dict[str, tuple[str, str]] = {
    "strategy": (
        "tuning:\n  strategy: bsic\n",
        (
            "conf.yaml:2: tuning.strategy: no strategy 'bsic'; installed: basic, filed; "
            "more come with pip install ilit-strategies; did you mean 'basic'?"
        ),
    ),
    "strategy's option": (
        "tuning:\n  strategy: {name: basic, dept: 2}\n",
        (
            "conf.yaml:2: tuning.strategy: strategy 'basic' has no option 'dept'; it takes depth, order; "
            "did you mean 'depth'?"
        ),
    ),
    "strategy's value": (
        "tuning:\n  strategy: {name: basic, depth: 0}\n",
        (
            "conf.yaml:2: tuning.strategy: option 'depth' of strategy 'basic': "
            "input should be greater than or equal to 1; got 0"
        ),
    ),
    "strategy's missing option": (
        "tuning:\n  strategy: filed\n",
        "conf.yaml:2: tuning.strategy: strategy 'filed' needs the option 'path'; write it beside the name",
    ),
    "metric": (
        "tuning:\n  metric: topk5\n",
        (
            "conf.yaml:2: tuning.metric: no metric 'topk5'; installed: free, topk; "
            "more come with pip install ilit-pytorch; did you mean 'topk'?"
        ),
    ),
    "metric's option": (
        "tuning:\n  metric: {topk: {kk: 1}}\n",
        "conf.yaml:2: tuning.metric: metric 'topk' has no option 'kk'; it takes k; did you mean 'k'?",
    ),
    "metric's value": (
        "tuning:\n  metric: {topk: 0}\n",
        "conf.yaml:2: tuning.metric: metric 'topk': k is 0, and counts from 1; correct its options",
    ),
    "metric's value where it takes none": (
        "tuning:\n  metric: {free: 1}\n",
        "conf.yaml:2: tuning.metric: metric 'free': too many positional arguments; it takes none",
    ),
    "objective": (
        "tuning:\n  objective: none_such\n",
        f"conf.yaml:2: tuning.objective: no objective 'none_such'; installed: {OBJECTIVE_NAMES}",
    ),
    "objective's option": (
        "tuning:\n  objective: {name: footprint, batch: 2}\n",
        "conf.yaml:2: tuning.objective: objective 'footprint' has no option 'batch'; remove it",
    ),
    "executor's option": (
        "run:\n  executor: {name: serial, workers: 2}\n",
        "conf.yaml:2: run.executor: executor 'serial' has no option 'workers'; it takes none",
    ),
    "framework": (
        "framework: {name: pytroch}\n",
        (
            "conf.yaml: framework.name: no adapter 'pytroch'; installed: pytorch; "
            "more come with pip install ilit-pytorch; did you mean 'pytorch'?"
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_name_or_option_is_told_by_its_place(conf, plugins, text, message):
    """What only the installed plugins can judge has file, line, key, fact and cure like every mistake."""
    with pytest.raises(ConfigError) as caught:
        check_names(read_config(conf(text)), plugins)
    assert str(caught.value) == message


def test_without_a_framework_its_names_are_left_unchecked_and_said_so(load):
    """On a machine with strategies alone, adapter and metric are noted, not refused."""
    module = ModuleType("strategies")
    module.ilit_strategies = hookimpl(lambda: [Basic])
    config = read_config(framework={"name": "pytorch"}, tuning={"metric": "f1"})
    assert check_names(config, load(strategies=module)) == (
        "no adapter 'pytorch': none is installed; pip install ilit-pytorch; so framework 'pytorch' is unchecked",
        "no metric 'f1': none is installed; pip install ilit-pytorch; so metric 'f1' is unchecked",
    )
