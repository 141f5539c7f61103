"""The adapter suite finds adapters that break a law: each break here is one that some test of the suite must see."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilit.adapter import (
    ABILITIES,
    BlanksModel,
    ChecksSavable,
    DescribesAll,
    DigestsModel,
    FindsFirstDifference,
    RegroupsRows,
    RunsOwnModel,
    SetsThreads,
    TimesOps,
)
from ilit.plugins.validation import methods_of
from ilit.recipe import FLOAT32
from ilit.testing import AdapterCase, AdapterContract, FakeAccuracy, FakeAdapter, fake_data, fake_model
from ilit.testing.adapters import Prepared

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


class RoundsRows(FakeAdapter):
    def regroup(self, batches: Any, groups: Any) -> Any:
        return [(inputs.astype(np.float16), labels) for inputs, labels in super().regroup(batches, groups)]


class MixesLabels(FakeAdapter):
    def regroup(self, batches: Any, groups: Any) -> Any:
        return [(inputs, labels[::-1]) for inputs, labels in super().regroup(batches, groups)]


class LeavesOutOps(FakeAdapter):
    def describe(self, model: Any, example: Any) -> Any:
        return replace(super().describe(model, example), left_in_float={"layer0": "it is an op all the same"})


class GivesNoReason(FakeAdapter):
    def describe(self, model: Any, example: Any) -> Any:
        return replace(super().describe(model, example), left_in_float={"other": ""})


class TakesAllBatches(FakeAdapter):
    def describe_all(self, model: Any, batches: Any, sizes: Any) -> Any:
        return self.describe(model, [*batches][-1])


class LosesOps(FakeAdapter):
    def describe_all(self, model: Any, batches: Any, sizes: Any) -> Any:
        space = super().describe_all(model, batches, sizes)
        return replace(space, ops={"layer0": space.ops["layer0"]})


class OwnIsAnother(FakeAdapter):
    def own_outputs(self, model: Any, batch: Any) -> Any:
        return super().own_outputs(model, batch) + np.float32(1)


class OwnChangesTheModel(FakeAdapter):
    def own_outputs(self, model: Any, batch: Any) -> Any:
        object.__setattr__(model, "training", not model.training)
        return super().own_outputs(model, batch)


class SeesDifferences(FakeAdapter):
    def first_difference(self, model: Any, other: Any, batch: Any) -> str:
        return "layer0"


class RefusesAll(FakeAdapter):
    def check_savable(self, model: Any, float_model: Any, batch: Any, answers: Any) -> None:
        raise AssertionError("no")


class NotBlank(FakeAdapter):
    def blank(self, model: Any) -> Any:
        return model


class ReadsTheSkeleton(FakeAdapter):
    def load(self, folder: Path, model: Any = None) -> Any:
        return replace(super().load(folder), weights=model.weights)


class HalfAble(FakeAdapter):
    row_shapes = None  # type: ignore[assignment]  # gives up one half of an ability


class Misspelt(FakeAdapter):
    def time_op(self, model: Any, recipe: Any, calibration: Any) -> Mapping[str, float]:
        return {}


class IgnoresThreads(FakeAdapter):
    def set_threads(self, count: int) -> None:
        del count


class SameDigest(FakeAdapter):
    def model_digest(self, model: Any) -> str:
        return "0" * 64


class Timing(FakeAdapter):
    """Sound: the fake adapter times no ops."""

    def time_ops(self, model: Any, recipe: Any, calibration: Any) -> Mapping[str, float]:
        return dict.fromkeys(recipe.quantized_ops, 2.0)


class TimesOthers(Timing):
    def time_ops(self, model: Any, recipe: Any, calibration: Any) -> Mapping[str, float]:
        return {**super().time_ops(model, recipe, calibration), "other": 2.0}


class TimesNothing(Timing):
    def time_ops(self, model: Any, recipe: Any, calibration: Any) -> Mapping[str, float]:
        return dict.fromkeys(recipe.quantized_ops, float("inf"))


class TimingChangesTheModel(Timing):
    def time_ops(self, model: Any, recipe: Any, calibration: Any) -> Mapping[str, float]:
        object.__setattr__(model, "training", not model.training)
        return super().time_ops(model, recipe, calibration)


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
    "rounds rows": (RoundsRows, "test_regrouped_rows_keep_their_values"),
    "mixes labels": (MixesLabels, "test_batches_regrouped_as_they_were_are_the_same"),
    "left in float and an op": (LeavesOutOps, "test_what_stays_in_float_is_no_op_and_has_a_reason"),
    "left in float without a reason": (GivesNoReason, "test_what_stays_in_float_is_no_op_and_has_a_reason"),
    "takes all batches": (TakesAllBatches, "test_more_batches_never_lose_an_op"),
    "loses ops": (LosesOps, "test_more_batches_never_lose_an_op"),
    "own outputs are others": (OwnIsAnother, "test_the_models_own_outputs_are_those_of_all_float"),
    "own outputs change the model": (OwnChangesTheModel, "test_the_models_own_outputs_are_those_of_all_float"),
    "own outputs change it, all calls": (OwnChangesTheModel, "test_the_given_model_stays_as_it_was"),
    "sees differences": (SeesDifferences, "test_a_copy_differs_nowhere"),
    "refuses what can be saved": (RefusesAll, "test_a_model_that_can_be_saved_is_not_refused"),
    "not blank": (NotBlank, "test_a_blank_model_is_filled_from_the_files"),
    "reads the skeleton": (ReadsTheSkeleton, "test_a_blank_model_is_filled_from_the_files"),
    "no damage": (NoDamage, "test_damage_shows"),
    "half able": (HalfAble, "test_what_it_can_do_it_can_do_wholly"),
    "misspelt": (Misspelt, "test_what_it_can_do_it_can_do_wholly"),
    "ignores threads": (IgnoresThreads, "test_threads_are_those_that_were_set"),
    "same digest": (SameDigest, "test_models_are_told_apart_by_their_digests"),
    "times other ops": (TimesOthers, "test_timed_ops_have_a_ratio"),
    "times nothing": (TimesNothing, "test_timed_ops_have_a_ratio"),
    "timing changes the model": (TimingChangesTheModel, "test_the_given_model_stays_as_it_was"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_law_is_found(broken: str, tmp_path: Path) -> None:
    """The test of that law fails for the adapter that breaks it, and passes for the fake adapter itself."""
    adapter, law = BREAKS[broken]
    sound = Timing if issubclass(adapter, Timing) else FakeAdapter
    _check(sound(), law, tmp_path / "sound")
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        _check(adapter(), law, tmp_path / "broken")


def _check(adapter: FakeAdapter, law: str, folder: Path) -> None:
    folder.mkdir()
    case = AdapterCase(adapter, replace(MODEL), BATCHES, FakeAccuracy, state=lambda model: model.training)
    suite = AdapterContract()
    prepare = AdapterContract.prepared
    prepared: Prepared = getattr(prepare, "__wrapped__", None) or prepare  # type: ignore[assignment]
    given: dict[str, Any] = {"case": case, "tmp_path": folder}
    test = getattr(AdapterContract, law)
    wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    if "prepared" in wanted:
        given["prepared"] = prepared(suite, case)  # type: ignore[operator]
    test(suite, **{name: given[name] for name in wanted})


@pytest.mark.parametrize(
    ("ability", "law"),
    [
        (SetsThreads, "test_threads_are_those_that_were_set"),
        (DigestsModel, "test_models_are_told_apart_by_their_digests"),
        (RegroupsRows, "test_regrouped_rows_keep_their_values"),
        (RegroupsRows, "test_batches_regrouped_as_they_were_are_the_same"),
        (TimesOps, "test_timed_ops_have_a_ratio"),
        (DescribesAll, "test_more_batches_never_lose_an_op"),
        (RunsOwnModel, "test_the_models_own_outputs_are_those_of_all_float"),
        (FindsFirstDifference, "test_a_copy_differs_nowhere"),
        (ChecksSavable, "test_a_model_that_can_be_saved_is_not_refused"),
        (BlanksModel, "test_a_blank_model_is_filled_from_the_files"),
    ],
)
def test_an_ability_that_is_not_there_is_not_tested(ability: type, law: str, tmp_path: Path) -> None:
    """Its laws are skipped, by the names of its methods, and the other laws hold."""
    able_of_nothing = type("Plain", (FakeAdapter,), {name: None for one in ABILITIES for name in methods_of(one)})
    with pytest.raises(pytest.skip.Exception, match=rf"no {methods_of(ability)[0]} .*ilit.{ability.__name__}"):
        _check(able_of_nothing(), law, tmp_path / "plain")
    for number, other in enumerate(("test_what_it_can_do_it_can_do_wholly", "test_the_given_model_stays_as_it_was")):
        _check(able_of_nothing(), other, tmp_path / str(number))


def test_a_case_has_to_be_supplied() -> None:
    """A subclass without the fixture is told which one it lacks."""
    fixture: Any = AdapterContract.case
    with pytest.raises(NotImplementedError, match="give your subclass of AdapterContract a fixture 'case'"):
        getattr(fixture, "__wrapped__", fixture)(AdapterContract())
