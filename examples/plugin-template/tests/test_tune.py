"""The template's parts, named in a configuration, tune a model of the fake framework."""

from __future__ import annotations

from pathlib import Path

from ilit_template import plugin

import ilit
from ilit.testing import fake_data, fake_model, fake_plugins


def test_both_parts_are_found_by_name(tmp_path: Path) -> None:
    """The last op is sensitive, which the strategy suspects first: two evaluations beside float32's."""
    model = fake_model(ops=6, sensitive=["layer5"])
    conf = {
        "tuning": {"strategy": {"name": "ends_in_float", "ends": 1}, "metric": "balanced_accuracy"},
        "run": {"folder": str(tmp_path)},
    }
    tuner = ilit.Tuner(conf, plugins=fake_plugins(template=plugin))

    tuner.tune(model, fake_data(model, seed=2), fake_data(model))

    assert tuner.result is not None
    assert tuner.result.best is not None
    assert tuner.result.best.recipe.float_ops == ("layer5",)
