"""The fake framework keeps the laws that it helps others to prove."""

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
    MetricCase,
    MetricContract,
    fake_data,
    fake_model,
)
from ilit.testing.tensors import read_tensors, write_tensors


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


class TestFakeAccuracy(MetricContract):
    @pytest.fixture
    def case(self) -> MetricCase:
        outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [1.0, 0.0]], np.float32)
        labels = np.array([0, 1, 1, 1, 0])
        return MetricCase(FakeAccuracy, outputs, labels, expected=0.8, misfit=(outputs, labels[:2]))


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


def test_only_ops_with_one_before_can_be_sensitive() -> None:
    """The outlier is planted through the op before, so the first op has none."""
    with pytest.raises(ValueError, match="'layer0' cannot be sensitive; choose among layer1, layer2, layer3"):
        fake_model(sensitive=("layer0",))


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


def test_tensors_are_read_back(tmp_path: Path) -> None:
    """The file is what the safetensors format says; values, shapes and order survive."""
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([np.pi], np.float32)}
    write_tensors(tmp_path / "t.safetensors", tensors)
    found = read_tensors(tmp_path / "t.safetensors")
    assert list(found) == ["b", "a"]
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_a_cut_off_tensor_file_is_refused(tmp_path: Path) -> None:
    """Half a tensor is never read."""
    file = tmp_path / "t.safetensors"
    write_tensors(file, {"a": np.ones(8, np.float32)})
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="tensor 'a' is cut off"):
        read_tensors(file)
