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
import itertools
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ilit.adapter import Measurement
from ilit.errors import DataError, LoweringError
from ilit.evaluation.outputs import identical
from ilit.recipe import FLOAT32, Recipe
from ilit.space import CalibrationSize
from ilit.testing.abilities import AbilityLaws, optional_calls
from ilit.testing.adapter_case import AdapterCase, OnlyIter, Prepared

PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
PROBED_RECIPES = 8


class _EndedHere(Exception):  # noqa: N818 - it ends a pass and is no error
    """What a test raises from ``on_batch``."""


class AdapterContract(AbilityLaws):
    """The suite. Subclass it, name the subclass ``Test...`` and give it a fixture ``case``."""

    @pytest.fixture
    def case(self) -> AdapterCase:
        """Return the case to try; every subclass overrides this."""
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
        untouched, spoiled = prepared.lowered(), prepared.lowered()
        wanted = prepared.outputs(untouched)
        prepared.case.disturb(spoiled)
        assert identical(prepared.outputs(untouched), wanted)
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
            "zeroed": lambda: prepared.outputs(adapter.zeroed(case.model)),
            "measure": lambda: adapter.measure(case.model, batch),
            "outputs": lambda: adapter.outputs(case.model, batch),
        }
        for name, call in (calls | optional_calls(prepared)).items():
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

    def test_the_saved_recipe_names_adapter_and_recipe(self, prepared: Prepared, tmp_path: Path) -> None:
        """``recipe.json`` says under ``adapter`` who reads the folder, and under ``recipe`` what its ops run in."""
        prepared.case.adapter.save(prepared.lowered(), tmp_path)
        data = json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8"))
        assert data["adapter"] == type(prepared.case.adapter).name
        assert Recipe.from_json(data["recipe"]) == prepared.recipe
