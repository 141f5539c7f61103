"""The laws of what an adapter need not be able to do; each is skipped where the adapter lacks the ability."""

# ruff: noqa: S101 - part of a pytest suite; its asserts are its purpose
from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ilit.adapter import (
    ABILITIES,
    Adapter,
    BlanksModel,
    ChecksSavable,
    DescribesAll,
    DigestsModel,
    FindsFirstDifference,
    ProfilesKernels,
    RegroupsRows,
    RunsOwnModel,
    SetsThreads,
    TimesOps,
)
from ilit.evaluation.outputs import identical
from ilit.plugins.validation import incomplete, methods_of
from ilit.space import CalibrationSize
from ilit.testing.adapter_case import AdapterCase, OnlyIter, Prepared

ALMOST = 0.9  # difflib's likeness of two names from which one is taken for a slip


class AbilityLaws:
    """The part of ``AdapterContract`` on abilities; it needs the fixtures ``case`` and ``prepared``."""

    def test_what_it_can_do_it_can_do_wholly(self, case: AdapterCase) -> None:
        """No ability is there by half, with a signature that cannot take the call, or under a misspelt name."""
        part = type(case.adapter)
        assert [problem for ability in ABILITIES if (problem := incomplete(part, ability))] == []
        assert _misspelt(part) == {}, "these are not called; rename them, or start their names with an underscore"

    def test_threads_are_those_that_were_set(self, case: AdapterCase) -> None:
        """The CPU tells the number that was set last."""
        if not isinstance(case.adapter, SetsThreads):
            _lacks(SetsThreads)
        before = case.adapter.cpu().threads
        try:
            for count in (1, 2):
                case.adapter.set_threads(count)
                assert case.adapter.cpu().threads == count
        finally:
            case.adapter.set_threads(before)

    def test_models_are_told_apart_by_their_digests(self, case: AdapterCase) -> None:
        """A model has the same 64 hex digits each time, and a zeroed one has others."""
        if not isinstance(case.adapter, DigestsModel):
            _lacks(DigestsModel)
        digest = case.adapter.model_digest(case.model)
        assert len(bytes.fromhex(digest)) == 32
        assert case.adapter.model_digest(case.model) == digest
        assert case.adapter.model_digest(case.adapter.zeroed(case.model)) != digest

    def test_more_batches_never_lose_an_op(self, case: AdapterCase) -> None:
        """All that the first batch reaches is there, and beyond the longest size one more batch at most is taken."""
        if not isinstance(case.adapter, DescribesAll):
            _lacks(DescribesAll)
        first, loader = case.adapter.describe(case.model, case.batches[0]), _Counting([*case.batches] * 3)
        space = case.adapter.describe_all(case.model, loader, (CalibrationSize(1), CalibrationSize(1, "batches")))
        assert 1 <= loader.taken <= 2
        assert {name: space.ops.get(name) for name in first.ops} == dict(first.ops)
        assert space.calibrations == ()

    def test_the_models_own_outputs_are_those_of_all_float(self, prepared: Prepared) -> None:
        """The model itself, run as it stands, answers what its copy does, and is left as it was."""
        case = prepared.case
        if not isinstance(case.adapter, RunsOwnModel):
            _lacks(RunsOwnModel)
        before = case.state(case.model)
        lowered = case.adapter.lower(case.model, prepared.space.float_recipe(), prepared.calibration)
        assert identical(case.adapter.own_outputs(case.model, case.batches[0]), prepared.outputs(lowered))
        assert case.state(case.model) == before

    def test_a_copy_differs_nowhere(self, prepared: Prepared) -> None:
        """No module is named where two models are the same function; a damaged one is not the same."""
        case, adapter = prepared.case, prepared.case.adapter
        if not isinstance(adapter, FindsFirstDifference):
            _lacks(FindsFirstDifference)
        lowered = adapter.lower(case.model, prepared.space.float_recipe(), prepared.calibration)
        assert adapter.first_difference(case.model, lowered, case.batches[0]) == ""
        assert isinstance(adapter.first_difference(case.model, adapter.zeroed(case.model), case.batches[0]), str)

    def test_timed_ops_have_a_ratio(self, prepared: Prepared) -> None:
        """None but INT8 ops are timed, and seconds divided by seconds are finite and above 0."""
        case = prepared.case
        if not isinstance(case.adapter, TimesOps):
            _lacks(TimesOps)
        found = case.adapter.time_ops(case.model, prepared.recipe, prepared.calibration)
        assert set(found) <= set(prepared.recipe.quantized_ops)
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in found.values())

    def test_regrouped_rows_keep_their_values(self, prepared: Prepared) -> None:
        """Rows taken out of their batches, one by one or two together in any order, are the same to the last bit."""
        case = prepared.case
        adapter, shapes = _regrouping(case)
        places = [(batch, row) for batch, rows in enumerate(shapes) for row in range(len(rows))]
        digests = [digest for batch in case.batches for digest in case.adapter.row_digests(batch)]
        assert len(places) == len(digests)
        for group in [[place] for place in places] + _pairs(places, shapes):
            (made,) = adapter.regroup(case.batches, [group])
            assert case.adapter.row_digests(made) == [digests[places.index(place)] for place in group]

    def test_batches_regrouped_as_they_were_are_the_same(self, prepared: Prepared) -> None:
        """All rows in their own order give the batches themselves: bit-equal outputs, labels in their places."""
        case = prepared.case
        adapter, shapes = _regrouping(case)
        made = adapter.regroup(
            case.batches, [[(number, row) for row in range(len(rows))] for number, rows in enumerate(shapes)]
        )
        assert len(made) == len(case.batches)
        for ours, theirs in zip(made, case.batches, strict=True):
            assert identical(case.adapter.outputs(case.model, ours), case.adapter.outputs(case.model, theirs))
        score = case.adapter.evaluate(case.model, case.batches, case.metric())
        assert case.adapter.evaluate(case.model, made, case.metric()) == score

    def test_a_blank_model_is_filled_from_the_files(self, prepared: Prepared, tmp_path: Path) -> None:
        """Values read into an architecture without any of the model's give the same outputs."""
        case, lowered = prepared.case, prepared.lowered()
        if not isinstance(case.adapter, BlanksModel):
            _lacks(BlanksModel)
        empty = case.adapter.blank(case.model)
        assert not identical(prepared.outputs(empty), prepared.outputs(case.model))
        case.adapter.save(lowered, tmp_path)
        assert identical(prepared.outputs(case.adapter.load(tmp_path, model=empty)), prepared.outputs(lowered))

    def test_a_model_that_can_be_saved_is_not_refused(self, prepared: Prepared) -> None:
        """The check before the search objects to nothing that saving takes."""
        case, adapter = prepared.case, prepared.case.adapter
        if not isinstance(adapter, ChecksSavable):
            _lacks(ChecksSavable)
        lowered = adapter.lower(case.model, prepared.space.float_recipe(), prepared.calibration)
        adapter.check_savable(case.model, lowered, case.batches[0], adapter.outputs(lowered, case.batches[0]))

    def test_kernels_that_ran_are_those_of_the_recipe(self, prepared: Prepared) -> None:
        """INT8 kernels ran for a recipe's INT8 ops and no others, and none for the all-float one."""
        case, adapter = prepared.case, prepared.case.adapter
        if not isinstance(adapter, ProfilesKernels):
            _lacks(ProfilesKernels)
        plain = adapter.lower(case.model, prepared.space.float_recipe(), prepared.calibration)
        assert adapter.profile_kernels(plain, case.batches[0]).int8 == ()
        found = adapter.profile_kernels(prepared.lowered(), case.batches[0])
        rows = (*found.int8, *found.others)
        assert found.int8_calls > 0
        assert {op for row in found.int8 for op in row.ops} <= set(prepared.recipe.quantized_ops)
        assert set(found.ops_without) <= set(prepared.recipe.quantized_ops)
        assert all(row.calls > 0 and math.isfinite(row.seconds) and row.seconds >= 0 and row.bytes >= 0 for row in rows)


def _misspelt(part: type) -> dict[str, str]:
    """Return the public names of an adapter class that are almost an optional method's, and which one's."""
    optional = {name for ability in ABILITIES for name in methods_of(ability)}
    others = [name for name in dir(part) if not name.startswith("_") and name not in optional.union(dir(Adapter))]
    near = {name: difflib.get_close_matches(name, optional, n=1, cutoff=ALMOST) for name in others}
    return {name: found[0] for name, found in near.items() if found}


def _lacks(ability: type) -> NoReturn:
    """Skip a test of what the adapter need not be able to do."""
    pytest.skip(f"the adapter has no {' and '.join(methods_of(ability))} (ilit.{ability.__name__}); it is optional")


def _regrouping(case: AdapterCase) -> tuple[RegroupsRows, list[list[Any]]]:
    """Return the adapter and each batch's row shapes; skips where it cannot regroup rows."""
    if not isinstance(case.adapter, RegroupsRows):
        _lacks(RegroupsRows)
    return case.adapter, [list(case.adapter.row_shapes(batch)) for batch in case.batches]


def _pairs(places: list[tuple[int, int]], shapes: list[list[Any]]) -> list[list[tuple[int, int]]]:
    """Return the last and the first row, the second last and the second, and so on, where their shapes are equal."""
    return [
        [one, other]
        for one, other in zip(reversed(places), places, strict=True)
        if one != other and shapes[one[0]][one[1]] == shapes[other[0]][other[1]]
    ]


def optional_calls(prepared: Prepared) -> dict[str, Callable[[], object]]:
    """Return a call of each optional method that the adapter has and that is given the model, or its batches."""
    case, adapter = prepared.case, prepared.case.adapter
    batch, plain = case.batches[0], adapter.lower(case.model, prepared.space.float_recipe(), prepared.calibration)
    calls: dict[str, Callable[[], object]] = {}
    if isinstance(adapter, DigestsModel):
        calls["model_digest"] = partial(adapter.model_digest, case.model)
    if isinstance(adapter, RegroupsRows):
        calls["regroup"] = partial(adapter.regroup, [batch], [[(0, 0)]])
    if isinstance(adapter, TimesOps):
        calls["time_ops"] = partial(adapter.time_ops, case.model, prepared.recipe, prepared.calibration)
    if isinstance(adapter, DescribesAll):
        calls["describe_all"] = partial(adapter.describe_all, case.model, case.batches, (CalibrationSize(1),))
    if isinstance(adapter, RunsOwnModel):
        calls["own_outputs"] = partial(adapter.own_outputs, case.model, batch)
    if isinstance(adapter, FindsFirstDifference):
        calls["first_difference"] = partial(adapter.first_difference, case.model, adapter.zeroed(case.model), batch)
    if isinstance(adapter, ChecksSavable):
        answers = adapter.outputs(plain, batch)
        calls["check_savable"] = partial(adapter.check_savable, case.model, plain, batch, answers)
    if isinstance(adapter, BlanksModel):
        calls["blank"] = partial(adapter.blank, case.model)
    if isinstance(adapter, ProfilesKernels):
        calls["profile_kernels"] = partial(adapter.profile_kernels, plain, batch)
    return calls


class _Counting(OnlyIter):
    """Counts the batches that were taken."""

    taken = 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self.taken += 1
            yield batch
