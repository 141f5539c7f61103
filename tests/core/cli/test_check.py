"""``ilit check``: a configuration as a run would read it."""

from __future__ import annotations

import json
import logging
from types import ModuleType
from typing import Any, ClassVar

import pydantic
import pytest
import yaml

from ilit.cli import main
from ilit.config import read_config
from ilit.hookspecs import hookimpl


class Options(pydantic.BaseModel, extra="forbid"):
    """No options."""


class Basic:
    """The least a strategy has."""

    name: ClassVar[str] = "basic"
    Options: ClassVar[type] = Options

    def __init__(self, options: Any) -> None: ...

    def search(self, *_: Any) -> Any:
        """Ask for nothing."""
        yield from ()


@pytest.fixture(autouse=True)
def _strategies_alone(installed):
    """Install one strategy and no framework."""
    module = ModuleType("strategies")
    module.ilit_strategies = hookimpl(lambda: [Basic])
    installed(strategies=module)


OLDER = """
framework: {name: pytorch}
quantization:
  approach: post_training_static_quant
  weight: {scheme: [sym, asym]}
  bits: {activation: [7, 8]}
  transforms: {smooth: [0.7, 0.9], per_token: false}
evaluation: {holdout: 20%}
tuning:
  metrics: {topk: 1}
  timeout: 60
  ops: {"*.fc": {dtype: float32}}
"""


def test_the_resolved_configuration_and_the_search_are_shown(conf, capsys):
    """A reader sees every default filled in, what a run would do, and present names of older keys."""
    assert main(["check", conf(OLDER)]) == 0
    shown, said = capsys.readouterr().out.split("\n\n", 1)
    assert read_config(yaml.safe_load(shown)) == read_config("conf.yaml")
    assert said.splitlines() == [
        "strategy: basic of ilit-strategies 1.0",
        "metric: topk (1)",
        "criterion: at most 1 % of the float32 model's score may be lost; the metric says which way is better",
        "stop: after 100 trials or 60 s, with the best by performance",
        "calibration: 128 rows",
        "model: static; weight sym/asym; activation 7/8 bits",
        "transforms: smoothing of 0.7/0.9; bias correction as offered; activations per token forbidden",
        "verdict: with 95 % confidence, on the 20 % of the rows held out",
        "op *.fc: float32",
        "note: conf.yaml:10: tuning.metrics: the present name is tuning.metric",
        (
            "note: no adapter 'pytorch': none is installed; pip install ilit-pytorch; "
            "so framework 'pytorch' is unchecked"
        ),
        "note: no metric 'topk': none is installed; pip install ilit-pytorch; so metric 'topk' is unchecked",
    ]


def test_json_has_the_same_facts(conf, capsys):
    """One object holds configuration, search and notes; the file may be read back from it."""
    assert main(["check", conf(OLDER), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert read_config(data["config"]) == read_config("conf.yaml")
    assert data["source"] == "conf.yaml"
    assert data["search"]["stop"] == "after 100 trials or 60 s, with the best by performance"
    assert len(data["notes"]) == 3


MISTAKES = {
    "value": ("tuning: {timeout: -1}", "error: conf.yaml:1: tuning.timeout: -1 is out of range; give 0 or more\n"),
    "name": (
        "tuning: {strategy: bsic}",
        "error: conf.yaml:1: tuning.strategy: no strategy 'bsic'; installed: basic; did you mean 'basic'?\n",
    ),
    "older key and a mistake": (
        "snapshot: {path: x}\nrun: {threads: 0}\n",
        "error: conf.yaml:2: run.threads: 0 is out of range; give 1 or more\n",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(conf, capsys, text, message):
    """Nothing but the line is printed."""
    assert main(["check", conf(text)]) == 2
    assert capsys.readouterr() == ("", message)


def test_the_logger_is_left_as_it_was(conf, monkeypatch):
    """Listening for notes changes neither level nor handlers of the logger ilit."""
    logger = logging.getLogger("ilit")
    monkeypatch.setattr(logger, "level", logging.ERROR)
    before = logging.ERROR, list(logger.handlers)
    main(["check", conf("tuning: {timeout: -1}")])
    assert (logger.level, logger.handlers) == before
