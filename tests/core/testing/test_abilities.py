"""The laws of abilities find adapters that break them, and are skipped where the ability is lacking."""

from __future__ import annotations

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
    KernelProfile,
    ProfilesKernels,
    RegroupsRows,
    RunsOwnModel,
    SetsThreads,
    TimesOps,
)
from ilit.plugins.validation import methods_of
from ilit.testing import FakeAdapter


class RoundsRows(FakeAdapter):
    def regroup(self, batches: Any, groups: Any) -> Any:
        return [(inputs.astype(np.float16), labels) for inputs, labels in super().regroup(batches, groups)]


class MixesLabels(FakeAdapter):
    def regroup(self, batches: Any, groups: Any) -> Any:
        return [(inputs, labels[::-1]) for inputs, labels in super().regroup(batches, groups)]


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


class RunsNothing(FakeAdapter):
    def profile_kernels(self, model: Any, batch: Any) -> KernelProfile:
        return KernelProfile((), ())


class RunsFloatOps(FakeAdapter):
    def profile_kernels(self, model: Any, batch: Any) -> KernelProfile:
        found = super().profile_kernels(model, batch)
        return KernelProfile((*found.int8, *found.others), ())


class RunsOthers(FakeAdapter):
    def profile_kernels(self, model: Any, batch: Any) -> KernelProfile:
        found = super().profile_kernels(model, batch)
        return KernelProfile(tuple(replace(row, ops=("other",)) for row in found.int8), ())


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
    "rounds rows": (RoundsRows, "test_regrouped_rows_keep_their_values"),
    "mixes labels": (MixesLabels, "test_batches_regrouped_as_they_were_are_the_same"),
    "takes all batches": (TakesAllBatches, "test_more_batches_never_lose_an_op"),
    "loses ops": (LosesOps, "test_more_batches_never_lose_an_op"),
    "own outputs are others": (OwnIsAnother, "test_the_models_own_outputs_are_those_of_all_float"),
    "own outputs change the model": (OwnChangesTheModel, "test_the_models_own_outputs_are_those_of_all_float"),
    "own outputs change it, all calls": (OwnChangesTheModel, "test_the_given_model_stays_as_it_was"),
    "sees differences": (SeesDifferences, "test_a_copy_differs_nowhere"),
    "refuses what can be saved": (RefusesAll, "test_a_model_that_can_be_saved_is_not_refused"),
    "not blank": (NotBlank, "test_a_blank_model_is_filled_from_the_files"),
    "reads the skeleton": (ReadsTheSkeleton, "test_a_blank_model_is_filled_from_the_files"),
    "runs nothing": (RunsNothing, "test_kernels_that_ran_are_those_of_the_recipe"),
    "runs float ops in INT8": (RunsFloatOps, "test_kernels_that_ran_are_those_of_the_recipe"),
    "runs others": (RunsOthers, "test_kernels_that_ran_are_those_of_the_recipe"),
    "half able": (HalfAble, "test_what_it_can_do_it_can_do_wholly"),
    "misspelt": (Misspelt, "test_what_it_can_do_it_can_do_wholly"),
    "ignores threads": (IgnoresThreads, "test_threads_are_those_that_were_set"),
    "same digest": (SameDigest, "test_models_are_told_apart_by_their_digests"),
    "times other ops": (TimesOthers, "test_timed_ops_have_a_ratio"),
    "times nothing": (TimesNothing, "test_timed_ops_have_a_ratio"),
    "timing changes the model": (TimingChangesTheModel, "test_the_given_model_stays_as_it_was"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_law_is_found(broken: str, check_law: Callable[..., None]) -> None:
    """The test of that law fails for the adapter that breaks it, and passes for the fake adapter itself."""
    adapter, law = BREAKS[broken]
    sound = Timing if issubclass(adapter, Timing) else FakeAdapter
    check_law(sound(), law)
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        check_law(adapter(), law)


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
        (ProfilesKernels, "test_kernels_that_ran_are_those_of_the_recipe"),
    ],
)
def test_an_ability_that_is_not_there_is_not_tested(ability: type, law: str, check_law: Callable[..., None]) -> None:
    """Its laws are skipped, by the names of its methods, and the other laws hold."""
    able_of_nothing = type("Plain", (FakeAdapter,), {name: None for one in ABILITIES for name in methods_of(one)})
    with pytest.raises(pytest.skip.Exception, match=rf"no {methods_of(ability)[0]} .*ilit.{ability.__name__}"):
        check_law(able_of_nothing(), law)
    for other in ("test_what_it_can_do_it_can_do_wholly", "test_the_given_model_stays_as_it_was"):
        check_law(able_of_nothing(), other)
