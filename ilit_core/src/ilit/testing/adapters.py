"""The laws of ``ilit.adapter`` as a pytest suite for authors of adapters.

A plugin's test file is a few lines::

    class TestMine(AdapterContract):
        @pytest.fixture
        def case(self):
            return AdapterCase(MyAdapter(), model, batches, Accuracy, state=lambda model: ...)
"""

# ruff: noqa: S101 - a pytest suite; its asserts are its purpose
from __future__ import annotations

import contextlib
import copy
import difflib
import itertools
import json
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ilit.adapter import (
    ABILITIES,
    Adapter,
    BlanksModel,
    Calibration,
    ChecksSavable,
    DescribesAll,
    DigestsModel,
    FindsFirstDifference,
    Measurement,
    RegroupsRows,
    RunsOwnModel,
    SetsThreads,
    TimesOps,
)
from ilit.errors import DataError, LoweringError
from ilit.evaluation.outputs import identical
from ilit.metric import Metric
from ilit.plugins.validation import incomplete, methods_of
from ilit.recipe import FLOAT32, Recipe
from ilit.space import CalibrationSize, SearchSpace

PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
PROBED_RECIPES = 8
ALMOST = 0.9  # difflib's likeness of two names from which one is taken for a slip


@dataclass(frozen=True)
class AdapterCase:
    """What an adapter is tried with.

    Attributes:
        adapter: the adapter, freshly constructed.
        model: a float model with at least one op to quantize, in train mode where the framework has modes.
        batches: at least two batches ``(input, label)``.
        metric: makes a metric that fits them.
        state: model -> everything of it that has to stay: parameters and buffers (as bytes), mode, hooks, config.
            Compared by ``==``.
        disturb: changes every parameter and buffer of a lowered model in place; None where models cannot be changed.
    """

    adapter: Adapter
    model: Any
    batches: Sequence[Any]
    metric: Callable[[], Metric]
    state: Callable[[Any], Any]
    disturb: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Prepared:
    """A case with its space described and its model calibrated, and the recipe the space prefers."""

    case: AdapterCase
    space: SearchSpace
    calibration: Calibration
    recipe: Recipe

    def lowered(self) -> Any:
        """Return the preferred recipe's model."""
        return self.case.adapter.lower(self.case.model, self.recipe, self.calibration)

    def outputs(self, model: Any) -> Any:
        """Return a model's outputs on the first batch."""
        return self.case.adapter.outputs(model, self.case.batches[0])


class OnlyIter:
    """A loader on which nothing but ``iter`` may be called."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def __len__(self) -> int:
        raise TypeError("only iter() may be called on a loader, not len()")

    def __bool__(self) -> bool:
        raise TypeError("only iter() may be called on a loader, not bool()")


class _EndedHere(Exception):  # noqa: N818 - it ends a pass and is no error
    """What a test raises from ``on_batch``."""


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


def _optional_calls(prepared: Prepared) -> dict[str, Callable[[], object]]:
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
    return calls


class _Counting(OnlyIter):
    """Counts the batches that were taken."""

    taken = 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self.taken += 1
            yield batch


class AdapterContract:
    """The suite. Subclass it, name the subclass ``Test...`` and give it a fixture ``case``."""

    @pytest.fixture
    def case(self) -> AdapterCase:
        """Return what to try; every subclass overrides this."""
        raise NotImplementedError("give your subclass of AdapterContract a fixture 'case' that returns an AdapterCase")

    @pytest.fixture
    def prepared(self, case: AdapterCase) -> Prepared:
        """Describe and calibrate."""
        offered = case.adapter.describe(case.model, case.batches[0])
        space = replace(offered, calibrations=(CalibrationSize(len(case.batches), "batches"),))
        calibration = case.adapter.calibrate(case.model, OnlyIter(case.batches), space)
        return Prepared(case, space, calibration, space.recipe({}))

    # --- What it says of itself ------------------------------------------------------------------------------------

    def test_it_says_what_it_is(self, case: AdapterCase) -> None:
        """Name, versions and CPU are there for the journal's header."""
        cpu = case.adapter.cpu()
        assert type(case.adapter).name
        assert all(case.adapter.versions().values())
        assert cpu.model
        assert cpu.int8_class in ("A", "V")
        assert cpu.threads >= 1

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

    def test_the_space_offers_int8_and_no_calibration(self, case: AdapterCase) -> None:
        """Something can be quantized, float32 comes last, and amounts of data are left to the configuration."""
        space = case.adapter.describe(case.model, case.batches[0])
        assert any(op.quantizable for op in space.ops.values())
        assert space.calibrations == ()
        for op in space.ops.values():
            assert len(set(op.candidates)) == len(op.candidates)
            assert FLOAT32 not in op.candidates[:-1]

    def test_what_stays_in_float_is_no_op_and_has_a_reason(self, case: AdapterCase) -> None:
        """Each module that is left out is told once, in a few words of one line."""
        space = case.adapter.describe(case.model, case.batches[0])
        assert not set(space.left_in_float) & set(space.ops)
        assert all(reason and len(reason.splitlines()) == 1 for reason in space.left_in_float.values())

    def test_more_batches_never_lose_an_op(self, case: AdapterCase) -> None:
        """What the first batch reaches is there, and beyond the longest size one more batch at most is taken."""
        if not isinstance(case.adapter, DescribesAll):
            _lacks(DescribesAll)
        first, loader = case.adapter.describe(case.model, case.batches[0]), _Counting([*case.batches] * 3)
        space = case.adapter.describe_all(case.model, loader, (CalibrationSize(1), CalibrationSize(1, "batches")))
        assert 1 <= loader.taken <= 2
        assert {name: space.ops.get(name) for name in first.ops} == dict(first.ops)
        assert space.calibrations == ()

    # --- Calibration -----------------------------------------------------------------------------------------------

    def test_calibration_is_the_same_each_time(self, prepared: Prepared) -> None:
        """The same data give the same digest."""
        case = prepared.case
        again = case.adapter.calibrate(case.model, case.batches, prepared.space)
        assert again.digest == prepared.calibration.digest
        assert len(again.digest) == len("0123456789abcdef" * 4)

    def test_calibration_knows_its_rows(self, prepared: Prepared) -> None:
        """It counts the rows it saw, and recognizes them by the digests that evaluation rows get too."""
        digests = list(itertools.chain(*(prepared.case.adapter.row_digests(b) for b in prepared.case.batches)))
        assert prepared.calibration.rows == len(digests)
        assert prepared.calibration.row_digests == frozenset(digests)

    def test_calibration_is_written_without_pickle(self, prepared: Prepared, tmp_path: Path) -> None:
        """The statistics are a safetensors file: a length, then a JSON header."""
        file = tmp_path / "calibration.safetensors"
        prepared.calibration.save(file)
        data = file.read_bytes()
        assert isinstance(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), dict)

    @pytest.mark.parametrize("call", ["calibrate", "evaluate"])
    def test_a_loader_without_batches_is_refused(self, prepared: Prepared, call: str) -> None:
        """No batch is the data's mistake, said in one line."""
        case = prepared.case
        calls: dict[str, Callable[[], object]] = {
            "calibrate": lambda: case.adapter.calibrate(case.model, [], prepared.space),
            "evaluate": lambda: case.adapter.evaluate(case.model, [], case.metric()),
        }
        with pytest.raises(DataError) as caught:
            calls[call]()
        assert len(str(caught.value).splitlines()) == 1

    # --- Lowering --------------------------------------------------------------------------------------------------

    def test_all_float_is_bit_equal(self, prepared: Prepared) -> None:
        """The recipe that leaves every op in float gives the model itself, to the last bit."""
        case = prepared.case
        lowered = case.adapter.lower(case.model, prepared.space.float_recipe(), prepared.calibration)
        assert identical(prepared.outputs(lowered), prepared.outputs(case.model))
        assert case.adapter.int8_kernels(lowered) == 0

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

    def test_int8_really_runs(self, prepared: Prepared) -> None:
        """The preferred recipe runs INT8 kernels and takes fewer bytes."""
        adapter, batch = prepared.case.adapter, prepared.case.batches[0]
        lowered = prepared.lowered()
        assert adapter.int8_kernels(lowered) > 0
        assert adapter.measure(lowered, batch).bytes < adapter.measure(prepared.case.model, batch).bytes
        assert not identical(prepared.outputs(lowered), prepared.outputs(prepared.case.model))

    def test_lowering_is_deterministic(self, prepared: Prepared) -> None:
        """The same model, recipe and calibration give bit-equal outputs."""
        assert identical(prepared.outputs(prepared.lowered()), prepared.outputs(prepared.lowered()))

    def test_every_candidate_lowers_or_says_why_not(self, prepared: Prepared) -> None:
        """Each op in each of its candidates, all others in float, runs or is a LoweringError."""
        case, whole = prepared.case, prepared.space.float_recipe()
        for recipe in (whole.with_ops({op.name: c}) for op in prepared.space.ops.values() for c in op.candidates):
            with contextlib.suppress(LoweringError):
                prepared.outputs(case.adapter.lower(case.model, recipe, prepared.calibration))

    def test_lowered_models_are_their_owners(self, prepared: Prepared) -> None:
        """A lowered model can be copied and pickled by whoever has it, and gives the same outputs."""
        lowered = prepared.lowered()
        wanted = prepared.outputs(lowered)
        assert identical(prepared.outputs(copy.deepcopy(lowered)), wanted)
        assert identical(prepared.outputs(pickle.loads(pickle.dumps(lowered))), wanted)  # noqa: S301 - our own bytes

    def test_lowered_models_share_nothing(self, prepared: Prepared) -> None:
        """Whatever is done to one lowered model, the next one of the same recipe is as the first was."""
        if prepared.case.disturb is None:
            pytest.skip("the case has no disturb: models of this framework cannot be changed")
        kept, spoiled = prepared.lowered(), prepared.lowered()
        wanted = prepared.outputs(kept)
        prepared.case.disturb(spoiled)
        assert identical(prepared.outputs(kept), wanted)
        assert identical(prepared.outputs(prepared.lowered()), wanted)

    # --- The given model -------------------------------------------------------------------------------------------

    def test_the_given_model_stays_as_it_was(self, prepared: Prepared) -> None:
        """After every method of the protocol, parameters, buffers, mode, hooks and config are as before."""
        case, recipe, calibration = prepared.case, prepared.recipe, prepared.calibration
        adapter, batch = case.adapter, case.batches[0]
        before = case.state(case.model)
        calls: dict[str, Callable[[], object]] = {
            "describe": lambda: adapter.describe(case.model, batch),
            "calibrate": lambda: adapter.calibrate(case.model, case.batches, prepared.space),
            "lower": lambda: prepared.outputs(adapter.lower(case.model, recipe, calibration)),
            "probe": lambda: adapter.probe(case.model, [recipe], calibration),
            "probe_ops": lambda: adapter.probe_ops(case.model, recipe, calibration),
            "evaluate": lambda: adapter.evaluate(case.model, case.batches, case.metric()),
            "damaged": lambda: prepared.outputs(adapter.zeroed(case.model)),
            "measure": lambda: adapter.measure(case.model, batch),
            "outputs": lambda: adapter.outputs(case.model, batch),
        }
        for name, call in (calls | _optional_calls(prepared)).items():
            call()
            assert case.state(case.model) == before, f"{name} changed the given model"

    # --- Figures ---------------------------------------------------------------------------------------------------

    def test_probes_are_distances(self, prepared: Prepared) -> None:
        """One finite figure for each recipe in order, 0 for the float model, the same each time."""
        recipes = [*itertools.islice(prepared.space.model_wise(), PROBED_RECIPES), prepared.space.float_recipe()]
        case = prepared.case
        distances = case.adapter.probe(case.model, recipes, prepared.calibration)
        assert len(distances) == len(recipes)
        assert all(math.isfinite(distance) and distance >= 0 for distance in distances)
        assert distances[-1] == 0
        assert case.adapter.probe(case.model, recipes, prepared.calibration) == distances

    def test_ops_are_probed_one_by_one(self, prepared: Prepared) -> None:
        """Every INT8 op has its own finite error, and no other op has one."""
        found = prepared.case.adapter.probe_ops(prepared.case.model, prepared.recipe, prepared.calibration)
        assert set(found) == set(prepared.recipe.quantized_ops)
        assert all(math.isfinite(error) and error >= 0 for error in found.values())

    def test_timed_ops_have_a_ratio(self, prepared: Prepared) -> None:
        """None but INT8 ops are timed, and seconds divided by seconds are finite and above 0."""
        case = prepared.case
        if not isinstance(case.adapter, TimesOps):
            _lacks(TimesOps)
        found = case.adapter.time_ops(case.model, prepared.recipe, prepared.calibration)
        assert set(found) <= set(prepared.recipe.quantized_ops)
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in found.values())

    def test_evaluation_sees_every_row_once(self, prepared: Prepared) -> None:
        """The metric is over all rows, ``on_batch`` hears of each, and a second pass gives the same."""
        case, rows = prepared.case, list[int]()
        score = case.adapter.evaluate(case.model, OnlyIter(case.batches), case.metric(), rows.append)
        assert rows == [len(case.adapter.row_digests(batch)) for batch in case.batches]
        assert math.isfinite(score)
        assert case.adapter.evaluate(case.model, case.batches, case.metric()) == score

    def test_what_on_batch_raises_comes_through(self, prepared: Prepared) -> None:
        """An evaluation is ended by an exception from ``on_batch``, which arrives as it is, after that batch."""
        case, seen = prepared.case, list[int]()
        ended = _EndedHere()

        def on_batch(rows: int) -> None:
            seen.append(rows)
            raise ended

        with pytest.raises(_EndedHere) as caught:
            case.adapter.evaluate(case.model, OnlyIter(case.batches), case.metric(), on_batch)
        assert caught.value is ended
        assert seen == [len(case.adapter.row_digests(case.batches[0]))]

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

    def test_damage_shows(self, prepared: Prepared) -> None:
        """The zeroed copy answers otherwise than the model."""
        damaged = prepared.case.adapter.zeroed(prepared.case.model)
        assert not identical(prepared.outputs(damaged), prepared.outputs(prepared.case.model))

    def test_sizes_are_counted(self, prepared: Prepared) -> None:
        """Bytes come from shapes and dtypes, so they never vary; a pass takes some time."""
        first, second = (self._cost(prepared) for _ in range(2))
        assert (first.bytes, first.activation_bytes) == (second.bytes, second.activation_bytes)
        assert first.bytes > 0
        assert first.activation_bytes > 0
        assert first.seconds > 0

    def _cost(self, prepared: Prepared) -> Measurement:
        return prepared.case.adapter.measure(prepared.lowered(), prepared.case.batches[0])

    # --- On disk ---------------------------------------------------------------------------------------------------

    def test_what_is_saved_loads_bit_equal(self, prepared: Prepared, tmp_path: Path) -> None:
        """Save and load give the same outputs to the last bit, and the files are those every tool expects."""
        case, lowered = prepared.case, prepared.lowered()
        case.adapter.save(lowered, tmp_path)
        names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert {"config.json", "model.safetensors", "recipe.json"} <= names
        assert not {name for name in names if Path(name).suffix in PICKLES}
        loaded = case.adapter.load(tmp_path, model=case.model)
        assert identical(prepared.outputs(loaded), prepared.outputs(lowered))

    def test_a_blank_model_is_filled_from_the_files(self, prepared: Prepared, tmp_path: Path) -> None:
        """What is read into an architecture without a value of the model's gives the same outputs."""
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

    def test_the_saved_recipe_names_adapter_and_recipe(self, prepared: Prepared, tmp_path: Path) -> None:
        """``recipe.json`` says under ``adapter`` who reads the folder, and under ``recipe`` what its ops run in."""
        prepared.case.adapter.save(prepared.lowered(), tmp_path)
        data = json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8"))
        assert data["adapter"] == type(prepared.case.adapter).name
        assert Recipe.from_json(data["recipe"]) == prepared.recipe
