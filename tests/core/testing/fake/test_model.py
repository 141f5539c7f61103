"""The fake framework's models and data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilit.recipe import FLOAT32
from ilit.space import CalibrationSize
from ilit.testing import (
    FakeAccuracy,
    FakeAdapter,
    fake_data,
    fake_model,
)


def test_a_sensitive_op_ruins_int8_and_float_repairs_it() -> None:
    """The planted op leaves the float model as it is, costs accuracy in INT8, and alone in float gives it back."""
    plain, planted = fake_model(), fake_model(sensitive=("layer2",))
    adapter, data = FakeAdapter(), fake_data(planted)
    inputs = data[0][0]
    assert np.allclose(plain(inputs), planted(inputs), rtol=1e-3, atol=1e-4)
    space = replace(adapter.describe(planted, data[0]), calibrations=(CalibrationSize(128),))
    calibration = adapter.calibrate(planted, fake_data(planted, 128, seed=2), space)

    def score(*in_float: str) -> float:
        recipe = space.recipe(dict.fromkeys(in_float, FLOAT32))
        return adapter.evaluate(adapter.lower(planted, recipe, calibration), data, FakeAccuracy())

    baseline = adapter.evaluate(planted, data, FakeAccuracy())
    assert score() < 0.9 * baseline
    assert score("layer1") < 0.9 * baseline
    assert score("layer2") > 0.99 * baseline
    errors = adapter.probe_ops(planted, space.recipe({}), calibration)
    assert max(errors, key=lambda name: errors[name]) == "layer2"


def test_the_same_arguments_make_the_same_model_and_data() -> None:
    """Nothing is drawn from a global generator."""
    one, other = fake_data(fake_model(seed=3), seed=4), fake_data(fake_model(seed=3), seed=4)
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0][0], fake_data(fake_model(seed=3), seed=5)[0][0])


def test_only_ops_with_one_before_can_be_sensitive() -> None:
    """The outlier is planted through the op before, so the first op has none."""
    with pytest.raises(ValueError, match="'layer0' cannot be sensitive; choose among layer1, layer2, layer3"):
        fake_model(sensitive=("layer0",))
