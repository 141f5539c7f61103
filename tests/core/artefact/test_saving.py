"""Saving tuned models: what is read back is compared with what was written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ilit
from ilit.adapter import KernelProfile
from ilit.artefact.saving import SavedModel, save_and_verify
from ilit.errors import ArtefactError, IlitWarning
from ilit.evaluation.fidelity import SAMPLE_ROWS, Sample
from ilit.evaluation.outputs import identical
from ilit.plugins.registry import Registry
from ilit.report.receipt import read_receipt
from ilit.space import CalibrationSize
from ilit.testing import FakeAdapter, fake, fake_data, fake_model
from ilit.tuner import Tuner

MODEL = fake_model()
DATA = fake_data(MODEL)


def only_first(space: Any, baseline: Any) -> Any:
    """Ask for the space's first choices."""
    yield ilit.Trial(space.recipe({}))


class Watching(FakeAdapter):
    """Notes the rows of each forward pass; on fewer rows than ``least`` every model raises."""

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self.least, self.rows = least, list[int]()

    def outputs(self, model: Any, batch: Any) -> Any:
        self.rows.append(len(batch[1]))
        if len(batch[1]) < self.least:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return super().outputs(model, batch)


def saved(adapter: Any, folder: Path, sample: Sample) -> SavedModel:
    """Lower the fake model by the first choices and save it."""
    space = replace(adapter.describe(MODEL, DATA[0]), calibrations=(CalibrationSize(1, "batches"),))
    lowered = adapter.lower(MODEL, space.recipe({}), adapter.calibrate(MODEL, DATA, space))
    return save_and_verify(adapter, lowered, MODEL, folder / "best", sample, lambda _: None)


FEW, ALL = (DATA[0][0][:SAMPLE_ROWS], DATA[0][1][:SAMPLE_ROWS]), DATA[0]


@pytest.mark.parametrize(
    ("sample", "least", "rows"),
    [
        pytest.param(Sample(FEW, ALL), 0, [8, 8], id="a few rows"),
        pytest.param(Sample(FEW, ALL), 9, [8, 32, 32], id="a few rows that do not run"),
        pytest.param(Sample(ALL, ALL), 0, [32, 32], id="a whole batch"),
        pytest.param(Sample(FEW, ALL, repeats=False), 0, [], id="random"),
    ],
)
def test_the_model_read_back_is_run_beside_the_one_written(
    tmp_path: Path, sample: Sample, least: int, rows: list[int]
) -> None:
    """On a few rows where these run alone; not at all where a model answers otherwise each time."""
    adapter = Watching(least)
    found = saved(adapter, tmp_path, sample)
    assert (adapter.rows, found.doubt) == (rows, "")
    assert (tmp_path / "best" / "recipe.json").exists()


def test_the_architecture_is_blank(tmp_path: Path) -> None:
    """An adapter reads into a skeleton that holds none of the model's values, so that they come from the files."""

    class Lazy(FakeAdapter):
        def load(self, folder: Path, model: Any = None) -> Any:
            return replace(super().load(folder), weights=model.weights)

    found = saved(Lazy(), tmp_path, Sample(FEW, ALL))
    assert "the model read back gives another output" in found.doubt


def test_what_cannot_be_compared_is_saved_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the leaf; the others are compared."""

    class WithCache(FakeAdapter):
        def outputs(self, model: Any, batch: Any) -> Any:
            return {"logits": super().outputs(model, batch), "cache": object()}

    with caplog.at_level(logging.INFO, logger="ilit"):
        assert saved(WithCache(), tmp_path, Sample(FEW, ALL)).doubt == ""
    assert "best: saved without a comparison of output['cache'] (a object)" in caplog.text


def test_an_int8_model_that_alone_is_random_is_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Before anything is said against its files, it is run a second time itself."""

    class Wavering(FakeAdapter):
        calls = 0

        def outputs(self, model: Any, batch: Any) -> Any:
            self.calls += 1
            return super().outputs(model, batch) + np.float32(self.calls)

    assert saved(Wavering(), tmp_path, Sample(FEW, ALL)).doubt == ""
    assert "the INT8 model's outputs differ from call to call" in caplog.text


def test_what_cannot_be_renamed_is_said_to_be_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that keeps its name is told by it."""

    class Unreadable(FakeAdapter):
        def load(self, folder: Path, model: Any = None) -> Any:
            monkeypatch.setattr(Path, "rename", refuse)
            raise ArtefactError("damaged")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(13, "Permission denied")

    found = saved(Unreadable(), tmp_path, Sample(FEW, ALL))
    assert "cannot be read back (damaged); what was written is in " in found.doubt
    assert f"{tmp_path / 'best'}, and the model itself in memory" in found.doubt


# --- The receipt --------------------------------------------------------------------------------------------------


Make = Callable[..., Tuner]


def tuned_with(tuner: Make, monkeypatch: pytest.MonkeyPatch, adapter: type[FakeAdapter]) -> Tuner:
    """Tune the fake model with an adapter."""
    monkeypatch.setattr(fake, "FakeAdapter", adapter)
    made = tuner(only_first, metric="fake_accuracy")
    assert made.tune(MODEL, fake_data(MODEL, 64, seed=9), DATA) is not None
    return made


def folder_of(tuned: Tuner) -> Path:
    """Return the folder of the best model."""
    assert tuned.result is not None
    return tuned.result.folder / "best"


def test_the_receipt_stands_beside_the_model(tuner: Make, installed: Callable[..., Registry]) -> None:
    """All four ops ran in INT8; the card says so, and the model loads whatever becomes of the receipt."""
    installed(fake=fake)
    tuned = tuner(only_first, metric="fake_accuracy")
    model, folder = tuned.tune(MODEL, fake_data(MODEL, 64, seed=9), DATA), folder_of(tuned)
    receipt = read_receipt(folder)
    assert receipt is not None
    assert [row.ops for row in receipt.profile.int8] == [(name,) for name in MODEL.weights]
    assert f"| kernels | {receipt.sentence} |" in (folder / "README.md").read_text()
    (folder / "receipt.json").write_text("{")
    assert identical(ilit.load(folder)(DATA[0][0]), model(DATA[0][0]))


@pytest.mark.filterwarnings("error:.*kernel")
def test_an_adapter_that_cannot_tell_gives_none(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the ability, or where it fails, the model is saved without a receipt and without a warning."""

    class CannotTell(FakeAdapter):
        profile_kernels = None  # type: ignore[assignment]  # gives the ability up

    class Fails(FakeAdapter):
        def profile_kernels(self, model: Any, batch: Any) -> KernelProfile:
            raise RuntimeError("no profiler here")

    for adapter in (CannotTell, Fails):
        folder = folder_of(tuned_with(tuner, monkeypatch, adapter))
        assert (folder / "README.md").exists()
        assert read_receipt(folder) is None


def test_kernels_that_did_not_run_are_warned_of(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, after the model is saved, with the folder; the model is returned all the same."""

    class RunsFloat(FakeAdapter):
        def profile_kernels(self, model: Any, batch: Any) -> KernelProfile:
            return KernelProfile((), super().profile_kernels(model, batch).int8, ("layer0",))

    with pytest.warns(IlitWarning, match="best: no INT8 kernel ran in one batch, though 4 should") as caught:
        folder = folder_of(tuned_with(tuner, monkeypatch, RunsFloat))
    assert len([one for one in caught if one.category is IlitWarning and "INT8 kernel" in str(one.message)]) == 1
    assert "none for layer0" in (folder / "README.md").read_text()


def test_ops_that_the_search_has_timed_as_slower_are_named(tuner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt has them with their speed-ups; the search itself decides what to do about it."""

    class Timing(FakeAdapter):
        def time_ops(self, model: Any, recipe: Any, calibration: Any) -> dict[str, float]:
            return {"layer0": 0.5, "layer1": 2.0}

    def timed(space: Any, baseline: Any) -> Any:
        yield ilit.OpSpeedProbe(space.recipe({}))
        yield ilit.Trial(space.recipe({}))

    monkeypatch.setattr(fake, "FakeAdapter", Timing)
    made = tuner(timed, metric="fake_accuracy")
    made.tune(MODEL, fake_data(MODEL, 64, seed=9), DATA)
    receipt = read_receipt(folder_of(made))
    assert receipt is not None
    assert dict(receipt.slower) == {"layer0": 0.5}
