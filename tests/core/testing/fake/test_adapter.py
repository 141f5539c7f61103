"""The fake framework's adapter keeps the laws that it helps others to prove."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilit.errors import ArtefactError, LoweringError, ModelError
from ilit.recipe import FLOAT32
from ilit.space import CalibrationSize
from ilit.testing import (
    AdapterCase,
    AdapterContract,
    FakeAccuracy,
    FakeAdapter,
    FakeModel,
    fake_data,
    fake_model,
)


class TestFakeAdapter(AdapterContract):
    @pytest.fixture
    def case(self) -> AdapterCase:
        model = fake_model(sensitive=("layer2",))
        return AdapterCase(FakeAdapter(), model, fake_data(model, 64), FakeAccuracy, state=_state)


def _state(model: FakeModel) -> object:
    return {name: array.tobytes() for name, array in model.weights.items()}, model.training, model.recipe


class TestPatched(AdapterContract):
    """A model of which one op cannot be quantized."""

    @pytest.fixture
    def case(self) -> AdapterCase:
        model = fake_model(patched=("layer1",))
        return AdapterCase(FakeAdapter(), model, fake_data(model, 64), FakeAccuracy, state=_state)


@pytest.mark.parametrize("batch", [{"x": 0}, (0,), [0]], ids=["dict", "tuple", "list"])
def test_inputs_come_in_any_structure(batch: dict[str, object] | tuple[object] | list[object]) -> None:
    """A mapping goes in by name, a tuple or list by place, an array as it is."""
    model = fake_model()
    x, labels = fake_data(model)[0]
    given = {"x": x} if isinstance(batch, dict) else type(batch)([x])
    assert np.array_equal(FakeAdapter().outputs(model, (given, labels)), model(x))


def test_a_rejected_op_is_a_lowering_error() -> None:
    """The engine that refuses names the op."""
    model = fake_model(rejects=("layer1",))
    data = fake_data(model)
    space = replace(FakeAdapter().describe(model, data[0]), calibrations=(CalibrationSize(32),))
    calibration = FakeAdapter().calibrate(model, data, space)
    with pytest.raises(LoweringError, match="op 'layer1': the fake engine has no INT8 kernel for it"):
        FakeAdapter().lower(model, space.recipe({}), calibration)
    FakeAdapter().lower(model, space.recipe({"layer1": FLOAT32}), calibration)


def test_the_first_difference_is_named() -> None:
    """In running order, though all that follows differs as well."""
    model = fake_model()
    other = replace(model, weights={**model.weights, "layer2": model.weights["layer2"] * 2})
    assert FakeAdapter().first_difference(model, other, fake_data(model)[0]) == "layer2"


def test_what_a_file_cannot_hold_is_named() -> None:
    """Weights of another dtype would be rounded in silence."""
    model = fake_model()
    wide = replace(model, weights={**model.weights, "layer2": model.weights["layer2"].astype(np.float64)})
    with pytest.raises(ModelError, match="op 'layer2': an artefact holds float32, its weight is float64; convert it"):
        FakeAdapter().check_savable(wide, wide, fake_data(model)[0], None)


def test_other_models_are_refused() -> None:
    """What is no fake model is named with its class."""
    with pytest.raises(ModelError, match="a dict is no FakeModel; make one with"):
        FakeAdapter().describe({}, None)


def test_a_damaged_folder_is_an_artefact_error(tmp_path: Path) -> None:
    """What cannot be read back is said with the folder."""
    with pytest.raises(ArtefactError, match="is no saved fake model"):
        FakeAdapter().load(tmp_path)
