"""The adapter suite finds adapters that break a law: each break here is one that some test of the suite must see."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilit.recipe import FLOAT32
from ilit.testing import AdapterContract, FakeAdapter, fake_data, fake_model

MODEL = fake_model()
BATCHES = fake_data(MODEL, 64)


class NotBitEqual(FakeAdapter):
    def lower(self, model: Any, recipe: Any, calibration: Any) -> Any:
        lowered = super().lower(model, recipe, calibration)
        return replace(lowered, weights={name: w * np.float32(1.0001) for name, w in lowered.weights.items()})


class NotDeterministic(FakeAdapter):
    calls = 0

    def lower(self, model: Any, recipe: Any, calibration: Any) -> Any:
        self.calls += 1
        lowered = super().lower(model, recipe, calibration)
        return replace(lowered, weights={name: w * np.float32(self.calls) for name, w in lowered.weights.items()})


class ChangesTheModel(FakeAdapter):
    def probe_ops(self, model: Any, recipe: Any, calibration: Any) -> Mapping[str, float]:
        object.__setattr__(model, "training", not model.training)
        return super().probe_ops(model, recipe, calibration)


class NothingInInt8(FakeAdapter):
    def int8_kernels(self, model: Any) -> int:
        return 0


class FloatFirst(FakeAdapter):
    def describe(self, model: Any, example: Any) -> Any:
        space = super().describe(model, example)
        ops = {name: replace(op, candidates=(FLOAT32, *op.candidates[:-1])) for name, op in space.ops.items()}
        return replace(space, ops=ops)


class ForgetsRows(FakeAdapter):
    def calibrate(self, model: Any, batches: Any, space: Any) -> Any:
        return replace(super().calibrate(model, batches, space), row_digests=frozenset())


class TakesLength(FakeAdapter):
    def evaluate(self, model: Any, loader: Any, metric: Any, on_batch: Callable[[int], None] | None = None) -> float:
        if len(loader) > 100:
            raise ValueError("too long")
        return super().evaluate(model, loader, metric, on_batch)


class SavesPickle(FakeAdapter):
    def save(self, model: Any, folder: Path) -> None:
        super().save(model, folder)
        (folder / "model.pt").write_bytes(b"")


class SavesAnother(FakeAdapter):
    def save(self, model: Any, folder: Path) -> None:
        super().save(replace(model, weights={name: w * np.float32(2) for name, w in model.weights.items()}), folder)


class NoDamage(FakeAdapter):
    def zeroed(self, model: Any) -> Any:
        return model


class SwallowsTheEnd(FakeAdapter):
    def evaluate(self, model: Any, loader: Any, metric: Any, on_batch: Callable[[int], None] | None = None) -> float:
        def heard(rows: int) -> None:
            with contextlib.suppress(Exception):
                on_batch(rows)  # type: ignore[misc]  # only called with one

        return super().evaluate(model, loader, metric, on_batch and heard)


class LeavesOutOps(FakeAdapter):
    def describe(self, model: Any, example: Any) -> Any:
        return replace(super().describe(model, example), left_in_float={"layer0": "it is an op all the same"})


class GivesNoReason(FakeAdapter):
    def describe(self, model: Any, example: Any) -> Any:
        return replace(super().describe(model, example), left_in_float={"other": ""})


BREAKS: dict[str, tuple[type[FakeAdapter], str]] = {
    "float is not bit-equal": (NotBitEqual, "test_all_float_is_bit_equal"),
    "not deterministic": (NotDeterministic, "test_lowering_is_deterministic"),
    "changes the model": (ChangesTheModel, "test_the_given_model_stays_as_it_was"),
    "nothing in INT8": (NothingInInt8, "test_int8_really_runs"),
    "float first": (FloatFirst, "test_the_space_offers_int8_and_no_calibration"),
    "forgets rows": (ForgetsRows, "test_calibration_knows_its_rows"),
    "takes a length": (TakesLength, "test_evaluation_sees_every_row_once"),
    "saves pickle": (SavesPickle, "test_what_is_saved_loads_bit_equal"),
    "saves another": (SavesAnother, "test_what_is_saved_loads_bit_equal"),
    "swallows the end": (SwallowsTheEnd, "test_what_on_batch_raises_comes_through"),
    "left in float and an op": (LeavesOutOps, "test_what_stays_in_float_is_no_op_and_has_a_reason"),
    "left in float without a reason": (GivesNoReason, "test_what_stays_in_float_is_no_op_and_has_a_reason"),
    "no damage": (NoDamage, "test_damage_shows"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_law_is_found(broken: str, check_law: Callable[..., None]) -> None:
    """The test of that law fails for the adapter that breaks it, and passes for the fake adapter itself."""
    adapter, law = BREAKS[broken]
    check_law(FakeAdapter(), law)
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        check_law(adapter(), law)


def test_a_case_has_to_be_supplied() -> None:
    """A subclass without the fixture is told which one it lacks."""
    fixture: Any = AdapterContract.case
    with pytest.raises(NotImplementedError, match="give your subclass of AdapterContract a fixture 'case'"):
        getattr(fixture, "__wrapped__", fixture)(AdapterContract())
